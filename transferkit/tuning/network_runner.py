"""What is done with one network of a comparison: the look at it, or the choice of a classifier on it.

In this process or on a worker.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from transferkit import compute
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.samples import Samples
from transferkit.data.splitting.split import Splits, rounds_of_folds
from transferkit.errors import BackboneError, ConfigError, WeightsError
from transferkit.runs.cross_validation import FOLDS
from transferkit.runs.finetune import Job
from transferkit.runs.intake import Intake
from transferkit.runs.layout import Layout
from transferkit.runs.network_scores import probe
from transferkit.selection.network_choice import NetworkAnswers
from transferkit.tuning.portfolio_account import FirstLook
from transferkit.tuning.records import Outcome, TrialLimits, TrialPlan, TrialTask
from transferkit.wording import speak_shell

LOOK = 300  # pictures by which networks are ranked


def look_task(place: int, network: str, title: str, seed: int, limits: TrialLimits) -> TrialTask:
    """The task of looking at a network.

    Args:
        place: of the network among those of the comparison.
        network: its name.
        title: what people are told is done.
        seed: of the comparison.
        limits: by which a worker is taken to hang.
    """
    return TrialTask(f"look-{place}", {"backbone": network, "look": True}, seed, limits, title=title)


def choice_task(place: int, network: str, title: str, seed: int, limits: TrialLimits) -> TrialTask:
    """The task of choosing a classifier on a network.

    Args:
        place, network, title, seed, limits: as for `look_task`.
    """
    return TrialTask(f"network-{place}", {"backbone": network, "look": False}, seed, limits, title=title)


def place_of(outcome: Outcome) -> int:
    """Where the network of an outcome stands among those of the comparison."""
    return int(outcome.id.rpartition("-")[2])


def settings_of(base: Settings, network: str) -> Settings:
    """The settings of a run on one of the networks.

    Args:
        base: those that all share.
        network: its name.
    """
    given = {name: getattr(base, name) for name in base.model_fields_set}
    return Settings(**{**given, "backbone": network})


@dataclass(frozen=True, eq=False)
class NetworkRunners:
    """Makes what does the tasks of a comparison over these splits: in this process, told to `reporter`, or, without
    one, on a worker. What a worker fetches of it is the plan and this."""

    splits: Splits

    def __call__(self, plan: TrialPlan, reporter: Reporter | None = None) -> NetworkRunner:
        """One for `plan`, whose samples are all pictures."""
        if reporter is None:
            speak_shell(True)  # the process that shows an error translates it
            reporter = Reporter(quiet=True)
        return NetworkRunner(plan, self.splits, reporter)


@dataclass(frozen=True, eq=False)
class NetworkRunner:
    """Does one task after the other. An outcome's `payload` is a `FirstLook`, `NetworkAnswers`, or the error that says
    why the network cannot be used; what else goes wrong is raised. Test pictures are never opened."""

    plan: TrialPlan
    splits: Splits
    reporter: Reporter

    def __post_init__(self) -> None:
        compute.start(reporter=self.reporter)

    def run(self, task: TrialTask) -> Outcome:
        """Look, or choose."""
        network, started = str(task.values["backbone"]), time.monotonic()
        try:
            payload = self._look(network) if task.values["look"] else self._choice(network)
        except (ConfigError, BackboneError, WeightsError) as error:
            return Outcome(task.id, "failed", error=str(error), payload=error)
        finally:
            self.forget()
        return Outcome(task.id, "ok", seconds=round(time.monotonic() - started, 3), payload=payload)

    def forget(self) -> None:
        """Drop the network from memory."""
        compute.release()

    def _look(self, network: str) -> FirstLook:
        plan, (some, folds) = self.plan, self._some()
        found = probe(network, some, folds, plan.base.seed, plan.offline, self.reporter, plan.base.intensity)
        return FirstLook(network, found.metric, found.score, found.spread, found.images_per_second)

    def _choice(self, network: str) -> NetworkAnswers:
        plan, started = self.plan, time.monotonic()
        choice = Job(
            intake=Intake(samples=plan.samples), settings=settings_of(plan.base, network),
            layout=Layout(plan.checkpoints), origin=None, reporter=self.reporter, offline=plan.offline,
            cache=plan.cache,
        ).choose(self.splits)  # fmt: skip
        return NetworkAnswers.of(network, choice.parameters, choice.size, choice.found, time.monotonic() - started)

    def _some(self) -> tuple[Samples, list[tuple[np.ndarray, np.ndarray]]]:
        """Pictures of training and validation, at most LOOK, and folds over them as positions among these."""
        samples, seed = self.plan.samples, self.plan.base.seed
        (drawn,) = rounds_of_folds(samples, self.splits, FOLDS, 1)
        known = np.sort(np.concatenate(drawn))
        if len(known) > LOOK:
            known = np.sort(np.random.default_rng(seed).choice(known, LOOK, replace=False))
        positions = [np.flatnonzero(np.isin(known, fold)) for fold in drawn]
        everything = np.arange(len(known))
        return samples.select(known), [(np.setdiff1d(everything, part), part) for part in positions if len(part)]
