"""The search itself: asks the oracle, has trials run, tells it what came of them, and writes every step down first.

What the oracle knows when it is asked depends on the number of trials at a time, and on nothing that happens: outcomes
are told in the order of the trials' numbers, whichever ends first. So is what the finals decide.
"""

from __future__ import annotations

import bisect
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np

from transferkit import terms
from transferkit.console import Advance, Reporter
from transferkit.errors import RunError, TrainingError
from transferkit.signals import held_back
from transferkit.tuning.executors.local import TrialEngine
from transferkit.tuning.interrupts import heeded
from transferkit.tuning.journal import Event, Journal, require_sound
from transferkit.tuning.oracles.oracle import Oracle, Proposal
from transferkit.tuning.records import Outcome, TrialLimits, TrialPlan, TrialTask
from transferkit.tuning.search_space.dimensions import Values
from transferkit.tuning.search_space.space import OUTER

MOST_FAILURES = 5  # in a row: what makes every trial fail is not found by searching on
KEPT = 5  # checkpoints of trials on disk
DEFAULT = "default"  # the id of the settings as they are without the search


@dataclass(frozen=True)
class Trial:
    """A proposal and what came of it."""

    proposal: Proposal
    outcome: Outcome


@dataclass
class Finalist:
    """Settings that were trained with several seeds; `outcomes` are those that were scored, in the order of the seeds.

    `own` is the outcome with the run's own seed: it made a trial a finalist, so it does not judge it. It is also
    what is shipped.
    """

    id: str
    values: Values
    own: Outcome | None = None
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def scores(self) -> list[float]:
        """One score a fresh seed; where nothing was trained again, the one that is there."""
        fresh = [o for o in self.outcomes if o is not self.own]
        return [o.score for o in fresh or self.outcomes if o.score is not None]

    @property
    def fresh(self) -> bool:
        """Whether there is a score that had no part in the choice of the finalists."""
        return any(o is not self.own for o in self.outcomes)

    @property
    def mean(self) -> float:
        """Mean of `scores`."""
        return float(np.mean(self.scores))


@dataclass
class Search:
    """A search over `plan`, written into `journal`. After `ends` (time.monotonic()) no trial is begun."""

    plan: TrialPlan
    oracle: Oracle
    journal: Journal
    engine: TrialEngine
    reporter: Reporter
    maximise: bool
    metric: str
    limits: TrialLimits = field(default_factory=TrialLimits)
    ends: float | None = None
    trials: list[Trial] = field(default_factory=list)
    spent: bool = False  # whether the time budget ended the search
    _asked: list[Proposal] = field(default_factory=list)
    _outcomes: dict[str, Outcome] = field(default_factory=dict)
    _told: int = 0  # of the proposals, in their order
    _ended: list[Outcome] = field(default_factory=list)  # in the order in which they did, of this process

    @property
    def lag(self) -> int:
        """How many proposals may be without a told outcome when the last of them is made.

        Twice the slots less one: with as many as there are slots, one long trial would hold up all others.
        """
        return 2 * self.engine.slots - 1 if self.oracle.adaptive else self.oracle.planned

    def run(self) -> list[Trial]:
        """Run every trial that is not in the journal yet. Raises TrainingError after five failures in a row."""
        waiting = self._replay()
        running: dict[str, Proposal] = {}
        with heeded() as check, self._bar() as advance:
            advance(0, self._best_so_far())
            while waiting or running or self._goes_on():
                while len(running) < self.engine.slots and (proposal := self._next(waiting)):
                    running[proposal.id] = proposal
                    self.engine.submit(self._task(proposal))
                if not running:
                    break
                for outcome in self.engine.wait():
                    check()
                    self._note(running.pop(outcome.id), outcome)
                    advance(1, self._best_so_far())
                    self._require_success()
        return self.trials

    def _bar(self) -> AbstractContextManager[Advance]:
        return self.reporter.progress("search", self.oracle.planned, "trials", len(self.trials))

    def ranked(self) -> list[Trial]:
        """Trials that were scored, best first; of one whose run was continued only the longest."""
        continued = {t.proposal.continues for t in self.trials if t.outcome.score is not None}
        scored = [t for t in self.trials if t.outcome.score is not None and t.proposal.id not in continued]
        sign = -1 if self.maximise else 1
        return sorted(
            scored, key=lambda t: (sign * (t.outcome.score or 0.0), t.outcome.loss or 0.0, _number(t.proposal))
        )

    def longest(self) -> list[Trial]:
        """Scored trials of the most epochs: only what was trained alike is compared."""
        scored = [t for t in self.trials if t.outcome.score is not None]
        most = max((t.proposal.epochs for t in scored), default=0)
        return [t for t in scored if t.proposal.epochs == most]

    def finals(self, finalists: int, seeds: int) -> list[Finalist]:
        """The best settings and the default ones, each trained with `seeds` seeds; best mean first.

        The score that made a trial a finalist flatters the lucky one: the mean over the other seeds decides.
        """
        best = self.ranked()[:finalists]
        # The search has trained it with the run's own seed, unless Hyperband stopped it on a lower rung.
        whole = {t.proposal.id: t.outcome for t in best if t.proposal.epochs >= self.plan.base.epochs}
        candidates = [Finalist(t.proposal.id, t.proposal.values) for t in best]
        default = Finalist(DEFAULT, {})
        named = {c.id: [self._final(c, self.plan.base.seed + k) for k in range(seeds)] for c in (*candidates, default)}
        done = self._run_all([t for c, tasks in named.items() for t in tasks[c in whole :]], "finals")
        for candidate in (*candidates, default):
            first, *more = named[candidate.id]
            own = whole.get(candidate.id) or done[first.id]
            candidate.own = own if own.score is not None else None
            found = [candidate.own, *(done[task.id] for task in more)]
            candidate.outcomes = [o for o in found if o is not None and o.score is not None]
        sign = -1 if self.maximise else 1
        # Equal means: the default first, which needs no explaining; it is kept where nothing beats it.
        scored = [c for c in (default, *candidates) if c.scores]
        judged = [c for c in scored if c.fresh] or scored
        return sorted(judged, key=lambda c: sign * c.mean)

    def _final(self, candidate: Finalist, seed: int) -> TrialTask:
        return TrialTask(f"{candidate.id}-seed{seed}", candidate.values, seed, self.limits)

    # -- one after the other

    def _replay(self) -> list[Proposal]:
        """Bring the oracle to where the journal ends; returns what was begun and not finished."""
        require_sound(self.journal.path, self.journal.events)
        for event in self.journal.events:
            if event["event"] == "tell":
                self._outcomes[event["trial"]] = Outcome.from_event({**event, "id": event["trial"]})
        pending = self.oracle.replay(self._in_order())
        self._asked = list(self.oracle.proposals.values())
        if unknown := self._outcomes.keys() - self.oracle.proposals.keys():
            raise RunError(f"the journal holds outcomes of {', '.join(sorted(unknown))}, which it never asked for")
        self.trials = [Trial(p, self._outcomes[p.id]) for p in self._asked if p.id in self._outcomes]
        waiting = self._sorted([p for p in pending if p.id not in self._outcomes])
        if self.trials or waiting:
            self.reporter.say(f"search: {len(self.trials)} trials are done already, {len(waiting)} left to be run")
        return waiting

    def _in_order(self) -> Iterator[Event]:
        """The journal's questions, each after as many outcomes as the oracle had been told before it."""
        names, before, self._told = list[str](), 0, 0
        for event in self.journal.events:
            before += event["event"] == "tell"
            if event["event"] != "ask":
                continue
            for name in names[self._told : event.get("after", before)]:
                if name not in self._outcomes:
                    raise RunError(f"the journal lacks the outcome of trial {name}; search again in another --output")
                yield {**self._outcomes[name].event(), "event": "tell", "trial": name}
                self._told += 1
            names.append(event["trial"])
            yield event

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
        asked = self._ask()
        for proposal in asked:
            event = {"event": "ask", "trial": proposal.id, "proposal": proposal.__dict__, "after": self._told}
            self.journal.append(event)
        self._asked += asked
        waiting += self._sorted(asked)
        return waiting.pop(0) if waiting else None

    def _ask(self) -> list[Proposal]:
        """New proposals, once the oracle knows what it is to know; none while an outcome is waited for."""
        # What does not learn from outcomes is asked at once, so that trials on the same features run in a row.
        number = 1 if self.oracle.adaptive else self.oracle.planned
        while len(self._asked) - self._told >= self.lag:
            if not self._tell_next():
                return []
        while not (asked := self.oracle.ask(number)) and self._tell_next():
            pass  # Hyperband cannot propose before a rung is done
        return asked

    def _tell_next(self) -> bool:
        """Tell the oracle the outcome of the first proposal it does not know of; False where there is none yet."""
        if self._told == len(self._asked) or (name := self._asked[self._told].id) not in self._outcomes:
            return False
        self.oracle.tell(name, self._outcomes[name].score, self._outcomes[name].status)
        self._told += 1
        return True

    def _sorted(self, proposals: list[Proposal]) -> list[Proposal]:
        """In the order of running: those on the same features one after the other."""
        return sorted(proposals, key=lambda p: str([p.values.get(name) for name in OUTER]))

    def _task(self, proposal: Proposal) -> TrialTask:
        rungs = self.oracle.algorithm == "hyperband"
        return TrialTask(
            proposal.id, proposal.values, self.plan.base.seed, self.limits,
            proposal.epochs if rungs else None, proposal.continues,
        )  # fmt: skip

    def _note(self, proposal: Proposal, outcome: Outcome) -> None:
        """Write an outcome down, before anything comes of it."""
        outcome = outcome.finite()
        with held_back():  # Ctrl-C: the tables that it leaves tell of every trial that the journal has
            self.journal.append({**outcome.event(), "event": "tell", "trial": outcome.id})
            self._outcomes[outcome.id] = outcome
            self._ended.append(outcome)
            bisect.insort(self.trials, Trial(proposal, outcome), key=lambda trial: _number(trial.proposal))
        self._prune()
        if outcome.status != "ok":
            self.reporter.say(f"trial {outcome.id}: {outcome.status}: {outcome.error}")

    def _prune(self) -> None:
        """Of what trials left on disk keep the best few, and what Hyperband may still go on from."""
        kept = {t.proposal.id for t in self.ranked()[:KEPT]} | self.oracle.continuable()
        if self.oracle.algorithm == "hyperband":  # it may yet go on from what it does not know of
            kept |= {proposal.id for proposal in self._asked[self._told :]}
        for trial in self.trials:
            if trial.proposal.id not in kept:
                shutil.rmtree(self.plan.checkpoints / trial.proposal.id, ignore_errors=True)

    def _best_so_far(self) -> str:
        ranked = self.ranked()
        return f"best {terms.score(self.metric)} {ranked[0].outcome.score:.4f}" if ranked else ""

    def _require_success(self) -> None:
        last = self._ended[-MOST_FAILURES:]
        if len(last) == MOST_FAILURES and all(o.status != "ok" for o in last):
            reasons = "\n".join(f"  - trial {o.id}: {o.status}: {o.error}" for o in last)
            raise TrainingError(
                f"{MOST_FAILURES} trials in a row failed:\n{reasons}\nChange the space or the settings, and "
                "search again with another --output"
            )

    # -- finals

    def _run_all(self, tasks: list[TrialTask], title: str) -> dict[str, Outcome]:
        """Outcomes of all tasks by their ids, those of the journal included."""
        known = {e["trial"]: e for e in self.journal.events if e["event"] == "final"}
        done = {t.id: Outcome.from_event({**known[t.id], "id": t.id}) for t in tasks if t.id in known}
        left = [task for task in tasks if task.id not in done]
        running = 0
        with self.reporter.progress(title, len(tasks), "trainings", len(done)) as advance:
            while left or running:
                while left and running < self.engine.slots:
                    self.engine.submit(left.pop(0))
                    running += 1
                for outcome in self.engine.wait():
                    self.journal.append({**outcome.event(), "event": "final", "trial": outcome.id})
                    done[outcome.id] = outcome.finite()
                    running -= 1
                    advance(1)
        return done


def _number(proposal: Proposal) -> int:
    return int(proposal.id)
