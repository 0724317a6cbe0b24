"""What a comparison of networks decides: which members are shipped, and whether layers are trained. Written into the
journal before the training begins, so that it stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.runs.tail_plan import TailPlan
from transferkit.selection.member import Voter, networks
from transferkit.selection.network_choice import NetworkAnswers, NetworkChoice
from transferkit.tuning.journal import Event
from transferkit.tuning.network_comparison import FINISH, TimeBudget


@dataclass(frozen=True)
class PortfolioDecision:
    """`members`: with their shares, which sum to 1; `single`: why what was better is not shipped, empty where it is;
    `unfreeze` and `seconds`: of the tail that is trained, "none" where none is, and `tail` why; `late`: for lack of
    time alone."""

    members: dict[Voter, float]
    single: str = ""
    unfreeze: str = "none"
    seconds: float = 0.0
    tail: str = ""
    late: bool = False

    @property
    def first(self) -> str:
        """The network that the run is named by: of the largest share."""
        return max(self.members, key=lambda member: self.members[member]).networks[0]

    @property
    def plain(self) -> bool:
        """Whether it is a run of one network like any other."""
        return len(self.members) == 1 and all(member.plain for member in self.members)

    def event(self) -> dict[str, Any]:
        """For the journal."""
        members = [{**member.as_json(), "share": share} for member, share in self.members.items()]
        return {
            "event": "chosen", "members": members, "single": self.single, "unfreeze": self.unfreeze,
            "seconds": self.seconds, "tail": self.tail, "late": self.late,
        }  # fmt: skip

    @classmethod
    def read(cls, event: Event) -> PortfolioDecision:
        """What `event` gave, or a version that averaged networks only."""
        if "members" not in event:
            shares = {Voter((str(name),)): float(share) for name, share in event["shares"].items()}
            return cls(shares, str(event["single"]))
        members = {Voter.read(one): float(one["share"]) for one in event["members"]}
        tail = str(event["unfreeze"]), float(event["seconds"]), str(event["tail"]), bool(event["late"])
        return cls(members, str(event["single"]), *tail)


@dataclass(kw_only=True)
class Decider:
    """`every`: the networks and what was made of them. `tail` plans the training of layers of a network within so many
    seconds."""

    every: Sequence[NetworkAnswers]
    chosen: NetworkChoice
    base: Settings
    budget: TimeBudget
    tail: Callable[[str, float], TailPlan]
    reporter: Reporter
    single: str = field(default="", init=False)

    def decide(self) -> PortfolioDecision:
        """Members by the rule of the comparison, as far as time goes; then the tail."""
        members = self._members()
        before = PortfolioDecision(members, self.single)
        left = self.budget.seconds * (1 - FINISH) - self.budget.spent - self._needed(list(members))
        if left <= 0:
            return PortfolioDecision(members, self.single, tail="no layers were trained: no time was left", late=True)
        plan = self.tail(before.first, left)
        self.reporter.say(plan.words)
        return PortfolioDecision(members, self.single, plan.policy, plan.seconds, plan.words, plan.late)

    def _members(self) -> dict[Voter, float]:
        several = self.chosen.ensemble
        if several is not None and several.taken:
            members = {self.every[place].member: share for place, share in several.weights.items()}
            self.single = self._unaffordable(members)
            if not self.single:
                return members
            self.reporter.say(f"the networks are not combined: {self.single}")
        winner = {self.every[self.chosen.winner].member: 1.0}
        if next(iter(winner)).plain or not self._unaffordable(winner):
            return winner
        self.single = self._unaffordable(winner)
        return {self.every[self.chosen.plain].member: 1.0}

    def _needed(self, members: Sequence[Voter]) -> float:
        """Seconds of choosing on each of them again, and on each network in them."""
        wanted = {*members, *(Voter((name,)) for name in networks(members))}
        return sum(one.choice for one in self.every if one.member in wanted)

    def _unaffordable(self, members: dict[Voter, float]) -> str:
        """Why these are not shipped, though they were better; empty where they may be."""
        if self.base.max_latency is not None or self.base.max_size is not None:
            return "--max-latency and --max-size bound one network"
        return "" if self.budget.allows(self._needed(list(members))) else "no time was left to train them all"
