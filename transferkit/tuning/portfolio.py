"""Several networks on the same pictures within a time budget: ranked cheaply, compared fairly, the winner trained.

All are cross-validated on the same folds of training and validation pictures; the test split is looked at once, by the
run of the winner. The first network is always finished; of the others each is begun only where it is expected to be
done in time, and what was left out is said.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import compute
from transferkit.backbones.catalog import ROWS
from transferkit.config import Settings
from transferkit.console import Reporter, duration, plural
from transferkit.data.samples import Samples, shown
from transferkit.data.splitting.split import Splits, load_splits, rounds_of_folds, save_splits, split
from transferkit.errors import BackboneError, ConfigError, DataError, TransferKitError, WeightsError
from transferkit.evaluation.metrics_record import CrossValidation, LeftOutNetwork, PortfolioRecord
from transferkit.files import sha256_bytes, write_bytes
from transferkit.runs.finetune import Job, require_whole
from transferkit.runs.intake import Intake
from transferkit.runs.layout import Layout, run_lock
from transferkit.runs.manifest import amend, data_digest, split_digest
from transferkit.runs.network_scores import probe
from transferkit.runs.run_record import PortfolioOrigin
from transferkit.runs.selecting import FOLDS
from transferkit.runs.together import EnsembleJob
from transferkit.selection import portfolio
from transferkit.selection.portfolio import NetworkAnswers, NetworkChoice
from transferkit.tuning import portfolio_account
from transferkit.tuning.journal import Journal
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
class PortfolioJob:
    """One comparison. `base` are the settings that all networks share; the first of `networks` is always finished.

    `named`: whether the user named them, who is then told where one cannot be had. `command` repeats it.
    """

    intake: Intake
    base: Settings
    networks: Sequence[str]
    named: bool
    budget: Budget
    layout: Layout
    origin: str | None
    command: str
    reporter: Reporter
    offline: bool = False
    cache: bool | None = None
    failed: TransferKitError | None = None  # why the network before could not be used
    single: str = ""  # why networks that were better together are not shipped together

    def __post_init__(self) -> None:
        self.samples = self.intake.samples

    @property
    def kept(self) -> Path:
        """Folder of the answers of networks that are done; removed when the run is complete."""
        return self.layout.folder / "networks"

    def run(self) -> None:
        """Do everything that is not done yet. On interruption the networks that are done are kept."""
        started = time.monotonic()
        with run_lock(self.layout):
            splits = self._splits()
            if self._is_complete(splits):
                self.reporter.say(f"{self.layout.folder} is complete already; nothing to resume")
                return
            with Journal.open(self.layout.networks, self._header(splits), resume=True) as journal:
                found, looks, left_out = self._compare(journal, splits)
                judge = self._job(found[0].network).judge(splits)
                chosen = portfolio.choose(found, judge, self.base.seed)
                shares = self._shares(journal, found, chosen)
        seconds = time.monotonic() - started
        job = self._winner(shares)
        job.search_seconds = round(seconds, 2)
        job.run()
        require_whole(self.layout, "test" in splits.assignment, self.layout.networks)
        content = portfolio_account.content(
            found, chosen, looks, left_out, self.base.metric, self.samples.task, self.layout.read_metrics(), self.single
        )
        content.seconds, content.budget = round(seconds, 2), self.budget.seconds
        self._account(content, seconds)
        shutil.rmtree(self.kept, ignore_errors=True)

    # -- before the first network

    def _is_complete(self, splits: Splits) -> bool:
        if not self.layout.manifest.exists() or not self.layout.read_manifest().complete:
            return False
        Journal.open(self.layout.networks, self._header(splits), resume=True).close()
        return self.layout.read_metrics().portfolio is not None

    def _splits(self) -> Splits:
        """The split of the comparison that was begun, or a new one, that is saved."""
        s = self.base
        self.samples = self.samples.hashed()
        if self.layout.networks.exists() and self.layout.splits.exists():
            return load_splits(self.layout.splits, self.samples, s.seed)
        splits = split(self.samples, s.split, s.seed)
        try:
            rounds_of_folds(self.samples, splits, FOLDS, 1)
        except DataError as error:
            raise DataError(
                f"networks are compared by cross-validation, and {error}. Add pictures, or use `transferkit finetune`"
            ) from error
        if self.layout.splits.exists():
            there = load_splits(self.layout.splits, self.samples, s.seed)
            if split_digest(self.samples, there) != split_digest(self.samples, splits):
                raise ConfigError(
                    f"{shown(self.layout.splits)} is of another comparison, or none: with these settings the split is "
                    "another one. Repeat the command as it was, or choose another --output"
                )
        save_splits(self.layout.splits, self.samples, splits)
        return splits

    def _header(self, splits: Splits) -> dict[str, Any]:
        """What makes a comparison this one: to resume another is refused. The budget may be another."""
        settings = self.base.model_dump(mode="json")
        settings.pop("budget")
        return {
            "networks": list(self.networks),
            "settings": settings,
            "data": {"sha256": data_digest(self.samples), "split": split_digest(self.samples, splits)},
        }

    def _job(self, network: str) -> Job:
        given = {name: getattr(self.base, name) for name in self.base.model_fields_set}
        settings = Settings(**{**given, "backbone": network})
        return Job(
            intake=replace(self.intake, samples=self.samples), settings=settings, layout=self.layout,
            origin=self.origin, reporter=self.reporter, resume=True, offline=self.offline, cache=self.cache,
        )  # fmt: skip

    # -- the winner

    def _shares(self, journal: Journal, found: Sequence[NetworkAnswers], chosen: NetworkChoice) -> dict[str, float]:
        """The network to train, or several with the share of each: as decided before, where training has begun."""
        events = [event for event in journal.events if event["event"] == "chosen"]
        if events and self.layout.manifest.exists():
            self.single = str(events[-1]["single"])
            return {str(name): float(share) for name, share in events[-1]["shares"].items()}
        shares = {found[chosen.winner].network: 1.0}
        several = chosen.ensemble
        if several is not None and several.taken:
            self.single = self._unaffordable(sum(found[place].choice for place in several.weights))
            if self.single:
                self.reporter.say(f"the networks are not combined: {self.single}")
            else:
                shares = {found[place].network: share for place, share in several.weights.items()}
        journal.append({"event": "chosen", "shares": shares, "single": self.single})
        return shares

    def _unaffordable(self, needed: float) -> str:
        """Why several networks are not shipped together, though they were better; empty where they may be."""
        if self.base.max_latency is not None or self.base.max_size is not None:
            return "--max-latency and --max-size bound one network"
        return "" if self.budget.allows(needed) else "no time was left to train them all"

    def _winner(self, shares: dict[str, float]) -> Job:
        job = self._job(max(shares, key=lambda name: shares[name]))
        self.reporter.heading(f"training on what was chosen: {', '.join(map(shown, shares))}")
        if len(shares) < 2:
            return job
        return EnsembleJob(**{f.name: getattr(job, f.name) for f in fields(job)}, weights=shares)

    # -- the comparison

    def _compare(
        self, journal: Journal, splits: Splits
    ) -> tuple[list[NetworkAnswers], list[Look], list[LeftOutNetwork]]:
        """What was compared, the first network first; what was looked at; and what was left out, and why."""
        compute.start(reporter=self.reporter)
        pictures = sum(part != "test" for part in splits.assignment)
        count = len(self.networks)
        self.reporter.heading(
            f"comparing {plural(count, 'network')} on {pictures:,} pictures in {duration(self.budget.seconds)}; the "
            "test split is not looked at"
        )
        options = {"offline": self.offline, "cache": self.cache}
        journal.append(
            {"event": "start", "command": self.command, "working_directory": os.getcwd(), "options": options}
        )
        left_out: list[LeftOutNetwork] = []
        looks = self._looked(journal, splits, left_out)
        found: list[NetworkAnswers] = []
        first = [self.networks[0]]
        ranked = sorted((look for look in looks if look.network not in first), key=lambda look: -look.score)
        for name in [*first, *(look.network for look in ranked)]:
            self._try(name, journal, splits, found, looks, left_out)
        if not found and self.failed is not None:
            raise self.failed
        return found, looks, left_out

    def _try(
        self, name: str, journal: Journal, splits: Splits, found: list[NetworkAnswers], looks: Sequence[Look],
        left_out: list[LeftOutNetwork],
    ) -> None:  # fmt: skip
        """Append to `found` what the network came to, or to `left_out` why not."""
        done = self._done(journal, name)
        if done is not None:
            found.append(done)
            return
        needed = self._needed(name, splits, found, looks)
        before = [e for e in journal.events if e["event"] == "left" and e["network"] == name]
        if before and self.layout.manifest.exists():  # the winner is in training: what was decided stays
            left_out.append(LeftOutNetwork(network=name, why=str(before[-1]["why"])))
            return
        if found and not self.budget.allows(needed + max(FINISH * self.budget.seconds, 2 * found[0].choice)):
            self._leave(journal, name, f"no time was left: it would have needed about {duration(needed)}", left_out)
            return
        self.reporter.heading(f"network {len(found) + 1}: {shown(name)}")
        started = time.monotonic()
        try:
            choice = self._job(name).choose(splits)
        except (ConfigError, BackboneError, WeightsError) as error:
            self.failed = error
            self._leave(journal, name, _first_line(error), left_out, warn=True)
            return
        finally:
            compute.release()
        one = NetworkAnswers.of(name, choice.parameters, choice.size, choice.found, time.monotonic() - started)
        self._keep(journal, one)
        found.append(one)
        self.reporter.say(portfolio_account.said(one, self.base.metric, self.samples.task))

    def _needed(
        self, name: str, splits: Splits, found: Sequence[NetworkAnswers], looks: Sequence[Look]
    ) -> float:  # fmt: skip
        """Seconds that a network will take, by its speed and by what the choice of a classifier took on the first."""
        look = next((look for look in looks if look.network == name), None)
        if look is None or not found:
            return 0.0
        views = sum(part != "test" for part in splits.assignment) * (1 + self.base.used_views)
        return views * (1 / look.speed + DECODING) + found[0].choice

    def _leave(
        self, journal: Journal, name: str, why: str, left_out: list[LeftOutNetwork], warn: bool = False
    ) -> None:  # fmt: skip
        left_out.append(LeftOutNetwork(network=name, why=why))
        journal.append({"event": "left", "network": name, "why": why})
        (self.reporter.warn if warn else self.reporter.say)(f"{shown(name)} is left out: {why}")

    # -- the cheap look

    def _looked(self, journal: Journal, splits: Splits, left_out: list[LeftOutNetwork]) -> list[Look]:
        """A look at each network, the small ones first; none where there is only one."""
        if len(self.networks) < 2:
            return []
        some, folds = self._some(splits)
        known = {e["network"]: Look(**{k: v for k, v in e.items() if k != "event"})
                 for e in journal.events if e["event"] == "look"}  # fmt: skip
        looks: list[Look] = []
        for name in sorted(self.networks, key=lambda name: (name != self.networks[0], _parameters(name))):
            settled = self.layout.manifest.exists()  # the winner is in training: no other network has a say
            if name not in known and looks and (settled or self.budget.spent > LOOKING * self.budget.seconds):
                self._leave(journal, name, "no time was left to look at it", left_out)
                continue
            if name not in known:
                try:
                    one = probe(name, some, folds, self.base.seed, self.offline, self.reporter)
                except (BackboneError, WeightsError) as error:
                    if self.named:
                        raise
                    self._leave(journal, name, _first_line(error), left_out, warn=True)
                    continue
                finally:
                    compute.release()
                known[name] = Look(name, one.metric, one.score, one.spread, one.images_per_second)
                journal.append({"event": "look", **known[name].__dict__})
            looks.append(known[name])
        return looks

    def _some(self, splits: Splits) -> tuple[Samples, list[tuple[np.ndarray, np.ndarray]]]:
        """Pictures of training and validation, at most LOOK, and folds over them as positions among these."""
        (drawn,) = rounds_of_folds(self.samples, splits, FOLDS, 1)
        known = np.sort(np.concatenate(drawn))
        if len(known) > LOOK:
            known = np.sort(np.random.default_rng(self.base.seed).choice(known, LOOK, replace=False))
        held = [np.flatnonzero(np.isin(known, fold)) for fold in drawn]
        everything = np.arange(len(known))
        return self.samples.select(known), [(np.setdiff1d(everything, part), part) for part in held if len(part)]

    # -- what is kept

    def _keep(self, journal: Journal, one: NetworkAnswers) -> None:
        content = portfolio.to_bytes(one)
        self.kept.mkdir(exist_ok=True)
        write_bytes(self._file(one.network), content)
        plain = {k: v for k, v in one.__dict__.items() if k != "answers"}
        journal.append({"event": "done", **plain, "sha256": sha256_bytes(content)})

    def _done(self, journal: Journal, name: str) -> NetworkAnswers | None:
        """What a network came to before an interruption; None where it is to be done, or to be done again."""
        events = [e for e in journal.events if e["event"] == "done" and e["network"] == name]
        path = self._file(name)
        if not events or not path.is_file():
            return None
        content, event = path.read_bytes(), events[-1]
        if sha256_bytes(content) != event["sha256"]:
            return None
        plain = {k: v for k, v in event.items() if k not in ("event", "sha256")}
        interval = plain.pop("interval")
        rest = NetworkAnswers(**plain, interval=tuple(interval) if interval else None, answers=[])
        found = portfolio.read(content, rest)
        return found and replace(found, seconds=event["seconds"])

    def _file(self, name: str) -> Path:
        return self.kept / f"{list(self.networks).index(name)}.npz"

    # -- afterwards

    def _account(self, content: PortfolioRecord, seconds: float) -> None:
        """Write what was compared into the run of the winner, and what is to be expected of choosing so."""
        record, metrics = self.layout.read_manifest(), self.layout.read_metrics()
        if record.portfolio is None:
            record.timings = record.timings | {"total": record.timings["total"] + round(seconds, 2)}
        record.kind = "best"
        record.portfolio = PortfolioOrigin(command=self.command)
        judged = metrics.cross_validation or CrossValidation(metric=content.metric)
        judged.score, judged.ci95 = content.score, content.ci95
        judged.winner_alone, judged.networks = content.winner_alone, len(content.networks)
        metrics.cross_validation, metrics.portfolio = judged, content
        amend(self.layout, record, metrics)


def _first_line(error: TransferKitError) -> str:
    return str(error).partition("\n")[0]


def _parameters(name: str) -> int:
    """Of a network of the catalog; files come last."""
    row = ROWS.get(name.lower())
    return row.parameters if row is not None else 1 << 40
