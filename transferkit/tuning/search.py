"""The search itself: asks the oracle, has trials run, tells it what came of them, and writes every step down first."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transferkit.console import Reporter
from transferkit.errors import TrainingError
from transferkit.tuning.engine import Engine
from transferkit.tuning.interrupts import heeded
from transferkit.tuning.journal import Journal, require_sound
from transferkit.tuning.oracle import Oracle, Proposal
from transferkit.tuning.records import Limits, Outcome, Plan, Task
from transferkit.tuning.space import OUTER

MOST_FAILURES = 5  # in a row: what makes every trial fail is not found by searching on
KEPT = 5  # checkpoints of trials on disk
DEFAULT = "default"  # the id of the settings as they are without the search


@dataclass(frozen=True)
class Trial:
    """A proposal and what came of it."""

    proposal: Proposal
    outcome: Outcome


@dataclass
class Candidate:
    """Settings that were trained with several seeds."""

    id: str
    values: dict[str, Any]
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def scores(self) -> list[float]:
        """One score a seed."""
        return [o.score for o in self.outcomes if o.score is not None]

    @property
    def mean(self) -> float:
        """Mean score over the seeds."""
        return float(np.mean(self.scores))


@dataclass
class Search:
    """A search over `plan`, written into `journal`. After `ends` (time.monotonic()) no trial is begun."""

    plan: Plan
    oracle: Oracle
    journal: Journal
    engine: Engine
    reporter: Reporter
    maximise: bool
    metric: str
    limits: Limits = field(default_factory=Limits)
    ends: float | None = None
    trials: list[Trial] = field(default_factory=list)
    spent: bool = False  # whether the time budget ended the search

    def run(self) -> list[Trial]:
        """Run every trial that is not in the journal yet. Raises TrainingError after five failures in a row."""
        waiting = self._replay()
        running: dict[str, Proposal] = {}
        with heeded() as check, self.reporter.progress("search", self.oracle.planned, "trials") as advance:
            advance(len(self.trials), self._best_so_far())
            while waiting or running or self._goes_on():
                while len(running) < self.engine.slots and (proposal := self._next(waiting)):
                    running[proposal.id] = proposal
                    self.engine.submit(self._task(proposal))
                if not running:
                    break
                for outcome in self.engine.wait():
                    check()
                    self._told(running.pop(outcome.id), outcome)
                    advance(1, self._best_so_far())
                    self._require_success()
        return self.trials

    def ranked(self) -> list[Trial]:
        """Trials that were scored, best first; of one whose run was continued only the longest."""
        continued = {t.proposal.continues for t in self.trials if t.outcome.score is not None}
        scored = [t for t in self.trials if t.outcome.score is not None and t.proposal.id not in continued]
        sign = -1 if self.maximise else 1
        return sorted(scored, key=lambda t: (sign * (t.outcome.score or 0.0), t.outcome.loss or 0.0))

    def longest(self) -> list[Trial]:
        """Scored trials of the most epochs: only what was trained alike is compared."""
        scored = [t for t in self.trials if t.outcome.score is not None]
        most = max((t.proposal.epochs for t in scored), default=0)
        return [t for t in scored if t.proposal.epochs == most]

    def finals(self, finalists: int, seeds: int) -> list[Candidate]:
        """The best settings and the default ones, each trained with `seeds` seeds; best mean first.

        A single score flatters whoever was lucky; the mean over seeds decides.
        """
        best = self.ranked()[:finalists]
        candidates = [Candidate(t.proposal.id, t.proposal.values) for t in best]
        default = Candidate(DEFAULT, {})
        seed = self.plan.base.seed
        tasks = {
            f"{c.id}-seed{seed + k}": (c, Task(f"{c.id}-seed{seed + k}", c.values, seed + k, self.limits))
            for c in (*candidates, default)
            for k in range(seeds)
        }
        for trial, candidate in zip(best, candidates, strict=True):
            # The search has trained it with the first seed, unless Hyperband stopped it on a lower rung.
            if trial.proposal.epochs >= self.plan.base.epochs:
                candidate.outcomes.append(trial.outcome)
                del tasks[f"{trial.proposal.id}-seed{seed}"]
        for outcome in self._run_all({name: task for name, (_, task) in tasks.items()}, "finals"):
            if outcome.score is not None:
                tasks[outcome.id][0].outcomes.append(outcome)
        sign = -1 if self.maximise else 1
        # Equal means: the default first, which needs no explaining; it is kept where nothing beats it.
        scored = [c for c in (default, *candidates) if c.scores]
        return sorted(scored, key=lambda c: sign * c.mean)

    # -- one after the other

    def _replay(self) -> list[Proposal]:
        """Bring the oracle to where the journal ends; returns what was begun and not finished."""
        require_sound(self.journal.path, self.journal.events)
        waiting = self.oracle.replay(self.journal.events)
        for event in self.journal.events:
            if event["event"] == "tell":
                outcome = Outcome.from_event({**event, "id": event["trial"]})
                self.trials.append(Trial(self.oracle.proposals[outcome.id], outcome))
        if self.trials or waiting:
            self.reporter.say(f"search: {len(self.trials)} trials are done already, {len(waiting)} are left to be run")
        return waiting

    def _goes_on(self) -> bool:
        if self.ends is not None and time.monotonic() >= self.ends and self.trials:
            self.spent = True
        return not self.spent and not self.oracle.finished

    def _next(self, waiting: list[Proposal]) -> Proposal | None:
        """What to run next: what was asked for before, else what the oracle proposes."""
        if not self._goes_on():
            return None
        if waiting:
            return waiting.pop(0)
        # What does not learn from outcomes is asked at once, so that trials on the same features run in a row.
        asked = self.oracle.ask(1 if self.oracle.adaptive else self.oracle.planned)
        for proposal in asked:
            self.journal.append({"event": "ask", "trial": proposal.id, "proposal": proposal.__dict__})
        waiting += sorted(asked, key=lambda p: str([p.values.get(name) for name in OUTER]))
        return waiting.pop(0) if waiting else None

    def _task(self, proposal: Proposal) -> Task:
        rungs = self.oracle.algorithm == "hyperband"
        return Task(
            proposal.id, proposal.values, self.plan.base.seed, self.limits,
            proposal.epochs if rungs else None, proposal.continues,
        )  # fmt: skip

    def _told(self, proposal: Proposal, outcome: Outcome) -> None:
        self.journal.append({**outcome.event(), "event": "tell", "trial": outcome.id})
        self.oracle.tell(outcome.id, outcome.score, outcome.status)
        self.trials.append(Trial(proposal, outcome))
        self._prune()
        if outcome.status != "ok":
            self.reporter.say(f"trial {outcome.id}: {outcome.status}: {outcome.error}")

    def _prune(self) -> None:
        """Of what trials left on disk keep the best few, and what Hyperband may still go on from."""
        kept = {t.proposal.id for t in self.ranked()[:KEPT]} | self.oracle.continuable()
        for trial in self.trials:
            if trial.proposal.id not in kept:
                shutil.rmtree(self.plan.checkpoints / trial.proposal.id, ignore_errors=True)

    def _best_so_far(self) -> str:
        ranked = self.ranked()
        return f"best {self.metric} {ranked[0].outcome.score:.4f}" if ranked else ""

    def _require_success(self) -> None:
        last = [t.outcome for t in self.trials[-MOST_FAILURES:]]
        if len(last) == MOST_FAILURES and all(o.status != "ok" for o in last):
            reasons = "\n".join(f"  - trial {o.id}: {o.status}: {o.error}" for o in last)
            raise TrainingError(
                f"{MOST_FAILURES} trials in a row failed:\n{reasons}\nChange the space or the settings, and "
                "search anew with another --output"
            )

    # -- finals

    def _run_all(self, tasks: dict[str, Task], title: str) -> Iterable[Outcome]:
        """Outcomes of all tasks, those of the journal included."""
        known = {e["trial"]: e for e in self.journal.events if e["event"] == "final" and e["trial"] in tasks}
        done = [Outcome.from_event({**e, "id": name}) for name, e in known.items()]
        left = [task for name, task in tasks.items() if name not in known]
        running = 0
        with self.reporter.progress(title, len(tasks), "trainings") as advance:
            advance(len(done))
            while left or running:
                while left and running < self.engine.slots:
                    self.engine.submit(left.pop(0))
                    running += 1
                for outcome in self.engine.wait():
                    self.journal.append({**outcome.event(), "event": "final", "trial": outcome.id})
                    done.append(outcome)
                    running -= 1
                    advance(1)
        return done
