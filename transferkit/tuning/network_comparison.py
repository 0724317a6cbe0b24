"""Networks on the same folds of training and validation pictures: ranked by a cheap look, then compared.

One after the other in this process, or as tasks of a cluster. The first network is always finished; of the others each
is begun only where it is expected to be done in time, and what was left out is said. What is done is kept in the
journal and beside it, so that it is not done again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from transferkit import compute
from transferkit.backbones import published
from transferkit.backbones.catalog import ROWS
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.samples import Samples, shown
from transferkit.data.splitting.split import Splits
from transferkit.errors import TrainingError, TransferKitError
from transferkit.evaluation.portfolio_record import LeftOutNetwork
from transferkit.quantities import duration, plural
from transferkit.selection.member import Voter
from transferkit.selection.network_choice import NetworkAnswers
from transferkit.tuning import portfolio_account
from transferkit.tuning.executors.local import TrialEngine
from transferkit.tuning.interrupts import heeded
from transferkit.tuning.journal import Event, Journal
from transferkit.tuning.kept_answers import KeptAnswers, content
from transferkit.tuning.network_runner import choice_task, look_task, place_of
from transferkit.tuning.portfolio_account import FirstLook
from transferkit.tuning.records import Outcome, TrialLimits, TrialTask

LOOKING = 0.25  # share of the budget after which no further network is looked at
FINISH = 0.15  # share of it that is kept for training and judging the winner
DECODING = 0.004  # seconds that one view of a picture takes beside the network
LONG = 300.0  # seconds: below twice this, and a minute, no network is taken to hang, however short the budget


@dataclass
class TimeBudget:
    """Seconds that may be spent, counted from when it is made."""

    seconds: float
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.begun = self.clock()

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return self.clock() - self.begun

    def allows(self, seconds: float) -> bool:
        """Whether so much more may be spent."""
        return self.spent + seconds <= self.seconds


@dataclass(kw_only=True)
class NetworkComparison:
    """One comparison. `base` are the settings that all networks share; the first of `networks` is always finished.

    `named`: whether the user named them, who is then told where one cannot be had. `settled`: the winner is in training
    already, so that no further network has a say. `engine` begins what does the tasks of `network_runner`; it is asked
    for only where there is one to do. `kept` has the answers of networks that are done. After `run`, `found` is what
    was compared, the first network first, `looks` what was looked at, and `left_out` what was not compared, and why;
    `waiting` are those of them that lacked time, with the seconds that each would have taken, None where that is not
    known.
    """

    samples: Samples
    splits: Splits
    base: Settings
    networks: Sequence[str]
    named: bool
    settled: bool
    budget: TimeBudget
    engine: Callable[[], TrialEngine]
    journal: Journal
    kept: KeptAnswers
    reporter: Reporter
    found: list[NetworkAnswers] = field(default_factory=list)
    looks: list[FirstLook] = field(default_factory=list)
    left_out: list[LeftOutNetwork] = field(default_factory=list)
    waiting: dict[str, float | None] = field(default_factory=dict)
    failed: TransferKitError | None = None  # why the network before could not be used
    _at_work: TrialEngine | None = field(default=None, init=False)
    _running: int = field(default=0, init=False)  # tasks that were begun and are not done

    def run(self) -> None:
        """Do what is not done yet. Raises what is wrong with the last network where none could be used."""
        compute.start(reporter=self.reporter)
        self.pictures = sum(part != "test" for part in self.splits.assignment)
        self.reporter.heading(
            f"comparing {plural(len(self.networks), 'network')} on {self.pictures:,} pictures in "
            f"{duration(self.budget.seconds)}; the test split is not looked at"
        )
        try:
            if len(self.networks) > 1:
                self._look()
            self._compare()
        finally:
            if self._at_work is not None:
                self._at_work.close()
        if not self.found and self.failed is not None:
            raise self.failed

    def _work(self, tasks: Iterator[TrialTask], note: Callable[[str, Outcome], None]) -> None:
        """Have them done, as many at a time as the engine takes. The next one is asked for when there is room for it:
        whether it is begun goes by the time that is left then."""
        with heeded() as check:
            while True:
                while self._at_work is None or self._running < self._at_work.slots:
                    task = next(tasks, None)
                    if task is None:
                        break
                    self._at_work = self._at_work or self.engine()
                    self._at_work.submit(task)
                    self._running += 1
                if self._at_work is None or not self._running:
                    return
                for outcome in self._at_work.wait():
                    check()
                    self._running -= 1
                    note(self.networks[place_of(outcome)], outcome)

    # -- the cheap look

    def _look(self) -> None:
        """A look at each network: the first one, then the small ones before the large."""
        known = {e["network"]: FirstLook(**content(e)) for e in self._events("look")}
        order = sorted(self.networks, key=lambda name: (name != self.networks[0], _parameters(name)))

        def note(name: str, outcome: Outcome) -> None:
            came = outcome.payload
            if isinstance(came, FirstLook):
                known[name] = came
                self.journal.append({"event": "look", **came.__dict__})
            elif self.named and isinstance(came, TransferKitError):
                raise came
            else:
                self._fail(name, outcome)

        self._work(self._to_be_looked_at(order, known), note)
        self.looks = [known[name] for name in order if name in known]

    def _to_be_looked_at(self, order: Sequence[str], known: dict[str, FirstLook]) -> Iterator[TrialTask]:
        for name in order:
            if name in known:
                continue
            late = self.settled or self.budget.spent > LOOKING * self.budget.seconds
            if late and (known or self._running):
                self._leave(name, "no time was left to look at it")
                self.waiting[name] = None
                continue
            title = f"the look at {shown(name)}"
            yield look_task(self.networks.index(name), name, title, self.base.seed, self._limits())

    # -- the comparison

    def _compare(self) -> None:
        """The first network, then the most promising ones."""
        first = self.networks[0]
        ranked = sorted((look for look in self.looks if look.network != first), key=lambda look: -look.score)
        order = [first, *(look.network for look in ranked)]
        self._work(self._to_be_compared(order), self._compared)
        self.found.sort(key=lambda one: order.index(one.network))  # whichever was done first

    def _to_be_compared(self, order: Sequence[str]) -> Iterator[TrialTask]:
        for name in order:
            if any(row.network == name for row in self.left_out) or not self._begins(name):
                continue
            begun = len(self.found) + self._running
            self.reporter.heading(f"network {begun + 1}: {shown(name)}")
            limits = self._limits() if begun else TrialLimits()
            yield choice_task(self.networks.index(name), name, f"network {shown(name)}", self.base.seed, limits)

    def _begins(self, name: str) -> bool:
        """Whether it is to be done now. What is done already is appended to `found`, what is not done to `left_out`."""
        done = self.kept.read(Voter((name,)))
        if done is not None:
            self.found.append(done)
            return False
        before = [event for event in self._events("left") if event["network"] == name]
        if before and self.settled:  # what was decided stays
            self.left_out.append(LeftOutNetwork(network=name, why=str(before[-1]["why"])))
            self.waiting |= {name: self._needed(name)} if before[-1].get("late") else {}
            return False
        needed, choice = self._needed(name), self.found[0].choice if self.found else 0.0
        begun = self.found or self._running
        if begun and not self.budget.allows(needed + max(FINISH * self.budget.seconds, 2 * choice)):
            self._leave(name, f"no time was left: it would have needed about {duration(needed)}", late=True)
            self.waiting[name] = needed
            return False
        return True

    def _compared(self, name: str, outcome: Outcome) -> None:
        """Append to `found` what the network came to, or to `left_out` why not."""
        one = outcome.payload
        if not isinstance(one, NetworkAnswers):
            self._fail(name, outcome)
            return
        self.kept.keep(one)
        self.found.append(one)
        self.reporter.say(portfolio_account.said(one, self.base.metric, self.samples.task))

    def _needed(self, name: str) -> float:
        """Seconds that a network will take, by its speed and by what the choice of a classifier took on the first, if
        that is done."""
        look = next((look for look in self.looks if look.network == name), None)
        if look is None:
            return 0.0
        views = self.pictures * (1 + self.base.used_views)
        return views * (1 / look.speed + DECODING) + (self.found[0].choice if self.found else 0.0)

    def _limits(self) -> TrialLimits:
        """By which a worker is taken to hang."""
        return TrialLimits(max(self.budget.seconds, LONG))

    def _fail(self, name: str, outcome: Outcome) -> None:
        reason = outcome.payload
        self.failed = reason if isinstance(reason, TransferKitError) else TrainingError(outcome.error)
        # The first sentence says why; what may be done about it follows, and is said where the network is asked for.
        why = re.split(r"\. (?=[A-Z])|\n", str(self.failed), maxsplit=1)[0]
        self._leave(name, why, self.reporter.warn)

    def _leave(self, name: str, why: str, say: Callable[[str], None] | None = None, late: bool = False) -> None:
        self.left_out.append(LeftOutNetwork(network=name, why=why))
        self.journal.append({"event": "left", "network": name, "why": why, "late": late})
        (say or self.reporter.say)(f"{shown(name)} is left out: {why}")

    def _events(self, kind: str) -> Iterator[Event]:
        return (event for event in self.journal.events if event["event"] == kind)


def _parameters(name: str) -> int:
    """Of a network of the catalog or the hub; files come last."""
    row = published.row(name) if published.is_published(name) else ROWS.get(name.lower())
    return row.parameters if row is not None else 1 << 40
