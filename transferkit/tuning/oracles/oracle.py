"""Which settings to try next: ask and tell, the same answers for the same seed, resumable from any point.

Imports Keras Tuner (and with it Keras) only where an algorithm of its is first asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from transferkit.errors import ConfigError, RunError
from transferkit.tuning.search_space.dimensions import Values
from transferkit.tuning.search_space.space import Space

Algorithm = Literal["grid", "random", "bayesian", "hyperband"]
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Proposal:
    """Settings to try. `epochs` is how many they are to have been trained for in the end.

    `continues` is the trial whose weights and optimizer this one goes on from (Hyperband's lower rung); it has been
    trained for that trial's `epochs` already. `rung` counts from 0, `bracket` in the order of their beginning.
    """

    id: str
    values: Values
    epochs: int
    continues: str | None = None
    rung: int = 0
    bracket: int = 0


class Oracle:
    """Proposes settings (`ask`) and learns from scores (`tell`).

    `trials` bounds the proposals; of a grid it must be None or cover it; for Hyperband it is a budget: as many epochs
    as so many full trials of `max_epochs`, spent on whole brackets. `planned` is what that amounts to. When `ask`
    returns nothing and no trial is running, `finished` is True.

    Raises ConfigError for an algorithm, space or number of trials that do not go together.
    """

    def __init__(
        self, space: Space, algorithm: Algorithm, trials: int | None, maximise: bool, seed: int, max_epochs: int,
        resolution: int = 5,
    ) -> None:  # fmt: skip
        if algorithm not in get_args(Algorithm):
            raise ConfigError(f"algorithm '{algorithm}' is unknown; choose from {', '.join(get_args(Algorithm))}")
        self.space, self.algorithm, self.maximise, self.seed = space, algorithm, maximise, seed
        self.max_epochs, self.resolution = max_epochs, resolution
        self.proposals: dict[str, Proposal] = {}
        self._pending: dict[str, Proposal] = {}
        self._names: dict[str, str] = {}  # proposal → Keras Tuner's trial
        self._failed: set[str] = set()
        self._scores: dict[str, float] = {}
        self._stopped = False
        self.planned = self._plan(trials)

    @property
    def adaptive(self) -> bool:
        """Whether proposals depend on scores, so that asking late is better than asking at once."""
        return self.algorithm in ("bayesian", "hyperband")

    @property
    def finished(self) -> bool:
        """Whether nothing is left to propose and nothing is waiting for its score."""
        return (self._stopped or len(self._names) >= self.planned) and not self._pending

    def ask(self, n: int = 1) -> list[Proposal]:
        """Up to `n` proposals; none where all were made, or where Hyperband waits for scores."""
        found: list[Proposal] = []
        while len(found) < n and len(self._names) < self.planned and (proposal := self._propose()):
            found.append(proposal)
        return found

    def tell(self, proposal_id: str, score: float | None, status: str = "ok") -> None:
        """The score of a proposal; None, or one that is no finite number, means that it failed.

        A failed trial teaches the Bayesian search nothing; Hyperband counts it as the worst and never continues it.
        Raises RunError for an id that is unknown or was told before.
        """
        proposal = self._pending.pop(proposal_id, None)
        if proposal is None:
            known = "was told before" if proposal_id in self.proposals else "was never proposed"
            raise RunError(f"trial {proposal_id} {known}; the journal and the search do not belong together")
        score = score if score is not None and math.isfinite(score) else None
        if score is None:
            self._failed.add(proposal_id)
        else:
            self._scores[proposal_id] = score
        if self.algorithm != "grid":
            self._end(self._names[proposal_id], score)

    def continuable(self) -> set[str]:
        """Trials that ended and whose weights a running or coming proposal goes on from: keep their checkpoints.

        Of a rung those are the best so far, as many as go on; others never will. Empty but for Hyperband.
        """
        rungs: dict[tuple[int, int], list[str]] = {}
        for name in self._scores:
            rungs.setdefault((self.proposals[name].bracket, self.proposals[name].rung), []).append(name)
        over = {p.continues for p in self.proposals.values() if p.id not in self._pending}
        needed = set[str]()
        for (bracket, rung), names in rungs.items() if self.algorithm == "hyperband" else ():
            if rung + 1 == len(self._brackets[bracket]):
                continue
            ranks = sorted((self._scores[name] for name in names), reverse=self.maximise)
            last = ranks[: self._brackets[bracket][rung + 1][0]][-1]  # equal scores may go on as well
            needed |= {n for n in names if (self._scores[n] >= last if self.maximise else self._scores[n] <= last)}
        return needed - over

    def replay(self, events: Iterable[Event]) -> list[Proposal]:
        """Bring a fresh oracle to where the journal's `events` end; returns what was asked for and not told.

        Events other than `ask` and `tell` are passed over. Raises RunError where the journal is another search's.
        """
        if self.proposals:
            raise RunError("only a fresh oracle can replay a journal")
        for event in events:
            if event["event"] == "ask":
                self._repeat(str(event["trial"]), event.get("proposal", event)["values"])
            elif event["event"] == "tell":
                self.tell(str(event["trial"]), event["score"], event.get("status", "ok"))
        return list(self._pending.values())

    # -- planning

    def _plan(self, trials: int | None) -> int:
        """How many proposals there will be (at most, where trials of Hyperband fail)."""
        if self.algorithm == "grid":
            return self._plan_grid(trials)
        if trials is None or trials < 1:
            raise ConfigError(f"--trials {trials}: {self.algorithm} needs a number of trials, 1 or more")
        size = self.space.size()
        if self.algorithm != "hyperband":
            return trials if size is None else min(trials, size)
        self._brackets = self._affordable(trials)
        plan = self._brackets
        largest = max(rungs[0][0] for rungs in plan)
        if size is not None and size < largest:
            raise ConfigError(
                f"hyperband begins with {largest} different settings, the space has {size}; "
                "search more values, lower --epochs, or choose --algorithm grid"
            )
        return sum(count for rungs in plan for count, _ in rungs)

    def _affordable(self, trials: int) -> list[list[tuple[int, int]]]:
        from transferkit.tuning.oracles.brackets import cost, plan

        found = plan(self.max_epochs, trials * self.max_epochs)
        if (first := cost(found[0])) > trials * self.max_epochs:
            raise ConfigError(
                f"the first bracket of hyperband takes {first} epochs, --trials {trials} pays for "
                f"{trials * self.max_epochs} (full trials of {self.max_epochs}); pass --trials "
                f"{math.ceil(first / self.max_epochs)} or more, or choose --algorithm random"
            )
        return found

    def _plan_grid(self, trials: int | None) -> int:
        planned = self.space.grid_size(self.resolution)
        if trials is not None and trials < planned:
            raise ConfigError(
                f"the grid has {planned} trials, --trials allows {trials}; "
                f"pass --trials {planned}, search fewer values, or choose --algorithm random"
            )
        return planned

    # -- proposing

    @cached_property
    def _grid(self) -> list[Values]:
        return self.space.grid(self.resolution)

    @cached_property
    def _tuner(self) -> Any:
        """The oracle of Keras Tuner that does the proposing."""
        from transferkit.tuning.oracles import oracles

        if self.algorithm == "random":
            return oracles.RandomOracle(self.space, self.planned, self.maximise, self.seed)
        if self.algorithm == "bayesian":
            return oracles.BayesianOracle(self.space, self.planned, self.maximise, self.seed)
        return oracles.BracketOracle(self.space, len(self._brackets), self.maximise, self.seed, self.max_epochs)

    def _propose(self) -> Proposal | None:
        while (name := f"{len(self._names):04d}") and len(self._names) < self.planned:
            if self.algorithm == "grid":
                proposal = Proposal(name, self._grid[len(self._names)], self.max_epochs)
                self._names[name] = name
            else:
                trial = self._tuner.create_trial(f"worker-{name}")
                if trial.status != "RUNNING":
                    self._stopped = trial.status == "STOPPED"
                    return None
                self._names[name] = trial.trial_id
                proposal = self._read(name, trial)
                if proposal.continues in self._failed:
                    # Every survivor of the rung below was promoted already: there are no weights to go on from.
                    self._failed.add(name)
                    self._end(trial.trial_id, None)
                    continue
            self.proposals[name] = self._pending[name] = proposal
            return proposal
        return None

    def _read(self, name: str, trial: Any) -> Proposal:
        values = trial.hyperparameters.values
        active = self.space.active(values)
        if self.algorithm != "hyperband":
            return Proposal(name, active, self.max_epochs)
        ours = {theirs: mine for mine, theirs in self._names.items()}
        continues = ours[values["tuner/trial_id"]] if "tuner/trial_id" in values else None
        # Keras Tuner's own note of the bracket is the newest one, not the trial's.
        bracket = self._tuner.bracket_of(trial.trial_id)
        return Proposal(name, active, values["tuner/epochs"], continues, values["tuner/round"], bracket)

    def _repeat(self, name: str, stored: Mapping[str, Any]) -> None:
        """Propose what the journal says was proposed."""
        try:
            values = self.space.active(stored)
        except ValueError as error:
            raise RunError(f"trial {name} of the journal is outside the space: {error}") from error
        if self.algorithm == "bayesian":
            # Not sought again: it takes a second, and another machine's last digit might give another point.
            self._tuner.next_values = self.space.tokens(values)
        proposal = self._propose()
        if proposal is None or (proposal.id, proposal.values) != (name, values):
            found = f"{proposal.id} {proposal.values}" if proposal else "none"
            raise RunError(
                f"the journal has trial {name} {values}, this search would have tried {found}: another version of "
                "Keras Tuner or transferkit wrote it. Use that version, or search again in another --output"
            )

    def _end(self, trial_id: str, score: float | None) -> None:
        from transferkit.tuning.oracles.oracles import GOAL

        trial = self._tuner.get_trial(trial_id)
        if score is None and self.algorithm != "hyperband":
            trial.status = "FAILED"
        else:
            # To Hyperband a failed trial is the worst of its rung; left out, it would hold up the promotions.
            worst = -math.inf if self.maximise else math.inf
            self._tuner.update_trial(trial_id, {GOAL: worst if score is None else score})
            trial.status = "COMPLETED"
        self._tuner.end_trial(trial)
