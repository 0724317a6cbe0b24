"""Networks on the same folds of training and validation pictures: ranked by a cheap look, then compared one by one.

The first network is always finished; of the others each is begun only where it is expected to be done in time, and what
was left out is said. What is done is kept in the journal and beside it, so that it is not done again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from transferkit import compute
from transferkit.backbones import published
from transferkit.backbones.catalog import ROWS
from transferkit.config import Settings
from transferkit.console import Reporter, duration, plural
from transferkit.data.samples import Samples, shown
from transferkit.data.splitting.split import Splits, rounds_of_folds
from transferkit.errors import BackboneError, ConfigError, TransferKitError, WeightsError
from transferkit.evaluation.portfolio_record import LeftOutNetwork
from transferkit.runs.finetune import ClassifierChoice
from transferkit.runs.network_scores import probe
from transferkit.runs.selecting import FOLDS
from transferkit.selection.member import Member
from transferkit.selection.portfolio import NetworkAnswers
from transferkit.tuning import portfolio_account
from transferkit.tuning.journal import Event, Journal
from transferkit.tuning.kept_answers import KeptAnswers, content
from transferkit.tuning.portfolio_account import Look

LOOK = 300  # pictures by which networks are ranked
LOOKING = 0.25  # share of the budget after which no further network is looked at
FINISH = 0.15  # share of it that is kept for training and judging the winner
DECODING = 0.004  # seconds that one view of a picture takes beside the network


@dataclass
class Budget:
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
    already, so that no further network has a say. `choose` cross-validates on a network. `kept` has the answers of
    networks that are done. After `run`, `found` is what was compared, the first network first, `looks` what was looked
    at, and `left_out` what was not compared, and why; `waiting` are those of them that lacked time, with the seconds
    that each would have taken, None where that is not known.
    """

    samples: Samples
    splits: Splits
    base: Settings
    networks: Sequence[str]
    named: bool
    settled: bool
    budget: Budget
    choose: Callable[[str], ClassifierChoice]
    journal: Journal
    kept: KeptAnswers
    reporter: Reporter
    offline: bool
    found: list[NetworkAnswers] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    left_out: list[LeftOutNetwork] = field(default_factory=list)
    waiting: dict[str, float | None] = field(default_factory=dict)
    failed: TransferKitError | None = None  # why the network before could not be used

    def run(self) -> None:
        """Do what is not done yet. Raises what is wrong with the last network where none could be used."""
        compute.start(reporter=self.reporter)
        self.pictures = sum(part != "test" for part in self.splits.assignment)
        self.reporter.heading(
            f"comparing {plural(len(self.networks), 'network')} on {self.pictures:,} pictures in "
            f"{duration(self.budget.seconds)}; the test split is not looked at"
        )
        if len(self.networks) > 1:
            self._look()
        first = self.networks[0]
        ranked = sorted((look for look in self.looks if look.network != first), key=lambda look: -look.score)
        for name in (first, *(look.network for look in ranked)):
            if all(row.network != name for row in self.left_out):
                self._try(name)
        if not self.found and self.failed is not None:
            raise self.failed

    # -- the cheap look

    def _look(self) -> None:
        """A look at each network: the first one, then the small ones before the large."""
        some, folds = self._some()
        known = {e["network"]: Look(**content(e)) for e in self._events("look")}
        for name in sorted(self.networks, key=lambda name: (name != self.networks[0], _parameters(name))):
            late = self.settled or self.budget.spent > LOOKING * self.budget.seconds
            if name not in known and self.looks and late:
                self._leave(name, "no time was left to look at it")
                self.waiting[name] = None
                continue
            if name not in known:
                try:
                    one = probe(name, some, folds, self.base.seed, self.offline, self.reporter, self.base.intensity)
                except (BackboneError, WeightsError) as error:
                    if self.named:
                        raise
                    self._fail(name, error)
                    continue
                finally:
                    compute.release()
                known[name] = Look(name, one.metric, one.score, one.spread, one.images_per_second)
                self.journal.append({"event": "look", **known[name].__dict__})
            self.looks.append(known[name])

    def _some(self) -> tuple[Samples, list[tuple[np.ndarray, np.ndarray]]]:
        """Pictures of training and validation, at most LOOK, and folds over them as positions among these."""
        (drawn,) = rounds_of_folds(self.samples, self.splits, FOLDS, 1)
        known = np.sort(np.concatenate(drawn))
        if len(known) > LOOK:
            known = np.sort(np.random.default_rng(self.base.seed).choice(known, LOOK, replace=False))
        positions = [np.flatnonzero(np.isin(known, fold)) for fold in drawn]
        everything = np.arange(len(known))
        return self.samples.select(known), [(np.setdiff1d(everything, part), part) for part in positions if len(part)]

    # -- the comparison

    def _try(self, name: str) -> None:
        """Append to `found` what the network came to, or to `left_out` why not."""
        done = self.kept.read(Member((name,)))
        if done is not None:
            self.found.append(done)
            return
        before = [event for event in self._events("left") if event["network"] == name]
        if before and self.settled:  # what was decided stays
            self.left_out.append(LeftOutNetwork(network=name, why=str(before[-1]["why"])))
            self.waiting |= {name: self._needed(name)} if before[-1].get("late") else {}
            return
        needed = self._needed(name)
        if self.found and not self.budget.allows(needed + max(FINISH * self.budget.seconds, 2 * self.found[0].choice)):
            self._leave(name, f"no time was left: it would have needed about {duration(needed)}", late=True)
            self.waiting[name] = needed
            return
        self.reporter.heading(f"network {len(self.found) + 1}: {shown(name)}")
        started = time.monotonic()
        try:
            choice = self.choose(name)
        except (ConfigError, BackboneError, WeightsError) as error:
            self._fail(name, error)
            return
        finally:
            compute.release()
        one = NetworkAnswers.of(name, choice.parameters, choice.size, choice.found, time.monotonic() - started)
        self.kept.keep(one)
        self.found.append(one)
        self.reporter.say(portfolio_account.said(one, self.base.metric, self.samples.task))

    def _needed(self, name: str) -> float:
        """Seconds that a network will take, by its speed and by what the choice of a classifier took on the first."""
        look = next((look for look in self.looks if look.network == name), None)
        if look is None or not self.found:
            return 0.0
        views = self.pictures * (1 + self.base.used_views)
        return views * (1 / look.speed + DECODING) + self.found[0].choice

    def _fail(self, name: str, error: TransferKitError) -> None:
        self.failed = error
        # The first sentence says why; what may be done about it follows, and is said where the network is asked for.
        self._leave(name, re.split(r"\. (?=[A-Z])|\n", str(error), maxsplit=1)[0], self.reporter.warn)

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
