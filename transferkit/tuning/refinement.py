"""What is made of the best networks of a comparison: answers to mirror images too, features of two side by side.

Each is tried only where time is left, on the folds of the comparison, and becomes a candidate like a network: kept in
the journal, judged by out-of-fold answers, taken by the same rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from transferkit import compute
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.splitting.split import Splits
from transferkit.quantities import duration, figure
from transferkit.runs import voices
from transferkit.runs.voices import Voice
from transferkit.selection.candidate_scores import Judge
from transferkit.selection.expectation import expected
from transferkit.selection.member import Voter
from transferkit.selection.network_choice import NetworkAnswers
from transferkit.text import shown
from transferkit.training.recipe import Recipe
from transferkit.tuning.kept_answers import KeptAnswers
from transferkit.tuning.network_comparison import DECODING, FINISH, TimeBudget

AGAIN = 1.5  # of what a choice on one network took, for one on the features of two


@dataclass(kw_only=True)
class Refinement:
    """One refinement of what `found` holds. `recipe` gives the recipe of a network; `speeds` are pictures a second of
    networks that were looked at. `settled`: what was decided stays. After `run`, `made` is what came of it, and
    `untried` what was not tried, in words, for lack of time where `late`."""

    found: Sequence[NetworkAnswers]
    splits: Splits
    base: Settings
    budget: TimeBudget
    judge: Judge
    recipe: Callable[[str], Recipe]
    speeds: dict[str, float]
    kept: KeptAnswers
    settled: bool
    reporter: Reporter
    made: list[NetworkAnswers] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)
    late: bool = False

    def run(self) -> None:
        """Do what is not done yet, on the best network and, where there is one of its size, the second best."""
        if self.base.max_latency is not None or self.base.max_size is not None:
            self.untried.append("mirror images and two networks: --max-latency and --max-size bound one network")
            return
        best, self._voices = self._best(), dict[str, Voice]()
        for one in best:
            member = Voter((one.network,), mirrored=True)
            self._try(member, [one], self._looking(one), f"{shown(one.network)} on mirror images")
        if len(best) == 2:
            names = " and ".join(shown(one.network) for one in best)
            member, needed = Voter(tuple(one.network for one in best)), AGAIN * sum(one.choice for one in best)
            self._try(member, best, needed, f"features of {names} side by side")
        self._voices.clear()
        compute.release()

    def _best(self) -> list[NetworkAnswers]:
        ranked = sorted(self.found, key=lambda one: -self.judge.signed(one.own.score))
        return [one for one in ranked if one.size == ranked[0].size][:2]

    def _looking(self, one: NetworkAnswers) -> float:
        """Seconds of a pass over the mirrored pictures, and of as many fits as a choice has folds."""
        speed = self.speeds.get(one.network)
        pictures = sum(part != "test" for part in self.splits.assignment)
        return one.seconds / 2 if speed is None else pictures * (1 / speed + DECODING) + one.choice

    def _try(self, member: Voter, of: Sequence[NetworkAnswers], needed: float, what: str) -> None:
        """Append to `made` what comes of it, or to `untried` why nothing does."""
        done = self.kept.read(member)
        if done is None:
            ends = max(FINISH * self.budget.seconds, 2 * self.found[0].choice)
            if self.settled or not self.budget.allows(needed + ends):
                self.untried.append(f"{what}: no time was left")
                self.late = True
                self.reporter.say(f"not tried, {self.untried[-1]}")
                return
            self.reporter.heading(what)
            done = self._mirrored(*of) if member.mirrored else self._paired(*of)
            self.kept.keep(done)
            self.reporter.say(f"{what}: {figure(done.score)} in {duration(done.seconds)}")
        self.made.append(done)

    def _voice(self, one: NetworkAnswers) -> Voice:
        """The network with its rows, which are in the store or are computed again."""
        if one.network not in self._voices:
            self._voices[one.network] = voices.again(self.recipe(one.network), one)
        return self._voices[one.network]

    def _mirrored(self, one: NetworkAnswers) -> NetworkAnswers:
        started = time.monotonic()
        answers = self._voice(one).both_ways(self.splits)
        score, interval = expected([answers], self.judge, self.base.seed)
        seconds = time.monotonic() - started
        return replace(
            one, score=score, interval=interval, answers=[answers], chosen=0, seconds=seconds, choice=seconds,
            mirrored=True,
        )  # fmt: skip

    def _paired(self, left: NetworkAnswers, right: NetworkAnswers) -> NetworkAnswers:
        started = time.monotonic()
        first = self._voice(left)
        both = voices.pair(first, self._voice(right))
        found = both.choose(first.work, self.splits)
        networks = left.network, right.network
        seconds = time.monotonic() - started
        return NetworkAnswers.of(" with ".join(networks), both.parameters, left.size, found, seconds, networks)
