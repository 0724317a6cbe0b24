"""Whether training the top of a network is worth the time that is left: by the learning curve of its frozen features,
and by a step that is measured.

Where twice the pictures would not clearly bring a frozen network more, its features may be the limit, and training some
of them may pay. Where the curve still climbs, pictures are, and more weights to fit would only learn these by heart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from transferkit import terms
from transferkit.backbones import freeze
from transferkit.config import Settings
from transferkit.data.splitting.split import Splits
from transferkit.evaluation import baselines
from transferkit.evaluation.baselines import Split
from transferkit.evaluation.learning_curve import climbs
from transferkit.evaluation.metrics_record import LearningCurve
from transferkit.features.row_blocks import at, held, narrow
from transferkit.quantities import duration, figure
from transferkit.runs import analysis
from transferkit.runs.finetune import Job
from transferkit.runs.tapped_rows import few_enough, tapped_rows
from transferkit.training import outlook
from transferkit.training.recipe import Recipe

EPOCHS = 5  # of a tail that must fit into the time, or it is not begun


@dataclass(frozen=True)
class TailPlan:
    """The `policy` of `--unfreeze` ("none": no layer is trained), the seconds it may take, and why, in words; `late`
    where time alone speaks against it."""

    policy: str
    seconds: float
    words: str
    late: bool = False


def plan(job: Job, splits: Splits, left: float) -> TailPlan:
    """Whether the top of a network is trained: where the learning curve does not clearly climb and there is time.

    Args:
        job: of the network, on which a classifier was chosen.
        splits: the parts.
        left: seconds that may be spent.

    Returns:
        What is unfrozen, for how long, and why.
    """
    work = job.work(splits)
    policy, curve = freeze.top_policy(work.backbone.row), _curve(work)
    fit = None if curve is None else curve.fit
    if policy is None or curve is None or fit is None:
        why = "there are too few pictures for a learning curve" if policy else "the network has no weights to train"
        return TailPlan("none", 0.0, f"no layers were trained: {why}")
    gain, low, high = (figure(value, "+") for value in (fit.gain, fit.gain_low, fit.gain_high))
    doubled = f"twice the pictures: {terms.score(curve.metric)} of the linear probe {gain}, {low} to {high}"
    if climbs(fit):
        return TailPlan("none", 0.0, f"no layers were trained: the learning curve still climbs ({doubled})")
    flat = f"the learning curve does not clearly climb ({doubled})"
    needed = _needed(job, splits, policy)
    if needed > left:
        late = f"no time was left: {EPOCHS} epochs would have taken about {duration(needed)}"
        return TailPlan("none", 0.0, f"no layers were trained: {flat}, but {late}", late=True)
    return TailPlan(policy, round(left, 1), f"layers were trained too, since {flat}")


def unfrozen(settings: Settings, policy: str, seconds: float) -> Settings:
    """Settings with a tail.

    Args:
        settings: of a run whose network is frozen.
        policy: what is unfrozen.
        seconds: that training may take.
    """
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return Settings(**{**given, "unfreeze": policy, "budget": seconds})


def _curve(work: Recipe) -> LearningCurve | None:
    """Of a linear probe on the last layer, judged on validation; the test split has no part in it."""
    rows, problem = tapped_rows(work), work.problem
    start, stop = rows.taps.sets()["last"]

    last = narrow(rows.x, start, stop)

    def part(pictures: np.ndarray) -> Split:
        some = few_enough(pictures, stop - start, 0.5, work.settings.seed)
        return Split(held(at(last, rows.places(some)))[:, 0], problem.samples.targets[some])

    train, val = part(problem.train), part(problem.val)
    task, classes = problem.samples.task, list(problem.samples.classes)
    return analysis.curve(train, val, baselines.probe(train, val, task, classes), task, classes, work.settings.seed)


def _needed(job: Job, splits: Splits, policy: str) -> float:
    """Seconds until a tail has had `EPOCHS`: what it is fed with, and its steps, measured on a few pictures."""
    other = replace(job, settings=unfrozen(job.settings, policy, 1.0))
    found = outlook.outlook(other.work(splits))
    tail = found.phases[-1]
    return found.features + tail.seconds * EPOCHS / tail.epochs
