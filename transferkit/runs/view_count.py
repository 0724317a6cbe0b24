"""`--views auto`: how many changed views of a training picture are worth their passes through the network.

More views are extracted step by step. After each step, pictures that were left out are answered by classifiers that
learnt from the others; when these answers are better by no more than one standard error, extraction stops. The test
split is not looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.splitting.split import rounds_of_folds
from transferkit.errors import DataError
from transferkit.features.frozen import Frozen
from transferkit.features.row_sources import Views
from transferkit.runs.context import RunContext
from transferkit.runs.cross_validation import judge_of
from transferkit.runs.run_record import RunRecord, ViewPoint, ViewsRecord
from transferkit.runs.tapped_rows import tapped_rows
from transferkit.selection import choice as choosing
from transferkit.selection.linear import Ridge
from transferkit.training.compiled_heads import HeadPool
from transferkit.training.problem import Problem
from transferkit.training.recipe import Recipe

STEPS = (0, 2, 4, 8, 16)  # views beside the clean one: from the second on, each step doubles what features cost
FOLDS = 3

Floats = npt.NDArray[np.float64]
Parts = Callable[[np.ndarray, np.ndarray], Problem]  # row numbers of training and validation → what is to be learnt


def found(context: RunContext, record: RunRecord, cache: bool | None, parts: Parts) -> tuple[Settings, Views]:
    """Settings and views to train with: those of the run, with a number in the place of `auto`.

    Args:
        context: of the run.
        record: run.json, where the number is kept. One that is there already is taken.
        cache: as for `Frozen`.
        parts: makes the problem of a fold.
    """
    if context.settings.views != "auto":
        return context.settings, context.views
    if record.views is None:
        began = time.monotonic()
        record.views = measure(context, cache, parts)
        record.add_timings({"views": time.monotonic() - began})
        context.reporter.say(f"views: {record.views.words}")
    return _with_views(context, record.views.chosen)


def measure(context: RunContext, cache: bool | None, parts: Parts) -> ViewsRecord:
    """Extract views as long as they pay. Rows go to the feature store, where the run finds them again.

    Args:
        context: of the run; the number in its `views` counts where nothing can be measured.
        cache: as for `Frozen`.
        parts: makes the problem of a fold.

    Returns:
        How many views are used, and the curve that says so.
    """
    settings, samples, usual = context.settings, context.samples, context.views.count
    what = samples.kind.tta_measure
    try:
        (folds,) = rounds_of_folds(samples, context.splits, FOLDS, 1)
        curve, n = _curve(context, cache, folds, parts)
    except DataError as error:
        return ViewsRecord(chosen=usual, measure=what, reason=f"nothing could be measured: {error}")
    paid = [point.views for point in curve if point.pays]
    return ViewsRecord(
        chosen=paid[-1], measure=what, n=n, folds=len(folds), curve=curve,
        by="ridge regression" if settings.chooses_head else "the head",
    )  # fmt: skip


def _curve(
    context: RunContext, cache: bool | None, folds: Sequence[np.ndarray], parts: Parts
) -> tuple[list[ViewPoint], int]:
    """The steps up to the first that does not pay, and how many pictures were answered for."""
    curve: list[ViewPoint] = []
    before, pool = np.zeros(0), HeadPool()
    for count in STEPS:
        work = _recipe(context, cache, count, pool)
        chooses = context.settings.chooses_head
        losses = _by_ridge(work, folds) if chooses else _by_heads(work, folds, parts)
        if losses is None:  # so many views of all pictures do not fit into memory, and would not be learnt from
            break
        point = ViewPoint(views=count, loss=float(losses.mean()))
        if curve:
            gain = before - losses
            point.gain, point.gain_se = float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))
        curve.append(point)
        before = losses
        if not point.pays:
            break
    return curve, len(before)


def _recipe(context: RunContext, cache: bool | None, count: int, pool: HeadPool) -> Recipe:
    """The recipe of the run with so many views. It tells of features, and not of the heads of folds."""
    settings, views = _with_views(context, count)
    frozen = Frozen(context.backbone, settings, views, cache, context.reporter, engine=context.engine)
    quiet = Reporter(quiet=True)
    return Recipe(context.backbone, settings, context.problem, views, quiet, cache=cache, shared=frozen, pool=pool)


def _with_views(context: RunContext, count: int) -> tuple[Settings, Views]:
    """What is said of the run keeps `auto`: a command that repeats it has to find the number again."""
    return context.settings.model_copy(update={"views": count}), replace(context.views, count=count)


def _by_heads(work: Recipe, folds: Sequence[np.ndarray], parts: Parts) -> Floats:
    """Losses [n] of training pictures by heads that did not see them. Validation pictures are kept for the run."""
    train, kind = work.problem.train, work.problem.samples.kind
    left_out = [out for fold in folds if len(out := np.intersect1d(fold, train))]
    problems = [parts(np.setdiff1d(train, out), out) for out in left_out]
    found = zip(work.left_out(problems), problems, strict=True)
    answers = np.concatenate([kind.answers(logits, 1.0, part.units) for logits, part in found])
    return kind.surprise(work.problem.samples.targets[np.concatenate(left_out)], answers)


def _by_ridge(work: Recipe, folds: Sequence[np.ndarray]) -> Floats | None:
    """Losses [n] of training and validation pictures by the plainest candidate of every task that learns from views, on
    the depths and with the penalty that lose least; None where the views do not fit into memory."""
    rows, problem, settings = tapped_rows(work), work.problem, work.settings
    if rows.x.shape[1] <= work.views.count:
        return None
    kind, judge = problem.samples.kind, judge_of(problem, settings.metric, rows.pictures)
    places = [rows.places(fold) for fold in folds]
    candidates = choosing.sets(rows.taps.sets(), [Ridge()])
    tried = choosing.choose(rows.x, rows.y, [places], candidates, judge, settings.seed)
    best = min(tried.contenders, key=lambda trial: judge.loss(trial.mean_logits))
    return kind.surprise(problem.samples.targets[rows.pictures], judge.answers(best.mean_logits))
