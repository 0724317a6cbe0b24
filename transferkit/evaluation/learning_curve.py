"""Would more pictures help? A linear probe on cached features, trained on ever more of the training pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.evaluation import linear_fits
from transferkit.evaluation.baselines import Split, standardised
from transferkit.evaluation.extrapolation import learning_curve_fit
from transferkit.evaluation.metrics import one
from transferkit.evaluation.metrics_record import CurveFit, LearningCurve

FRACTIONS = (0.1, 0.2, 0.35, 0.6, 1.0)
REPEATS = 3  # draws of each smaller set
LARGE = 1e8  # pictures × features × outputs above which one draw must do: a fit then takes seconds
LEAST = 10  # pictures in the smallest set
CLIMBS = 0.01  # gain of twice the pictures, at the low end of its range, from which a curve is said to climb


def learning_curve(
    train: tuple[npt.ArrayLike, npt.ArrayLike],
    val: tuple[npt.ArrayLike, npt.ArrayLike],
    task: str,
    classes: list[str],
    *,
    strength: float,
    whole: npt.ArrayLike | None = None,
    seed: int = 0,
) -> LearningCurve | None:
    """Validation scores of probes trained on 10–100 % of the training pictures, and what twice as many would bring.

    The probe stands for the run's own head: its scores are lower, its slope is what counts. Hestness et al. 2017.
    Smaller sets are drawn in proportion to the classes, `REPEATS` times, each draw containing the smaller ones.

    Args:
        train: features [N, D] and targets as for `metrics.score`.
        val: likewise, which every probe is scored on.
        task: says what the targets mean.
        classes: their names.
        strength: the probe's C (regress: its alpha), chosen on validation.
        whole: predictions on `val` of a probe of all training pictures, where there is one that took long to fit.
        seed: of the draws.

    Returns:
        `scores` are means over draws, `spread` their standard deviations, `fit` is of `learning_curve_fit`; None where
        there are too few pictures for three sizes.
    """
    kind = tasks.of(task)
    x, y = np.asarray(train[0], np.float32), np.asarray(train[1])
    held_out = Split(np.asarray(val[0], np.float32), np.asarray(val[1]))
    sizes = sorted({round(len(x) * f) for f in FRACTIONS if len(x) * f >= max(LEAST, 2 * len(classes))})
    if len(sizes) < 3 or not len(held_out.x):
        return None
    rng = np.random.default_rng(seed)
    draws = 1 if x.size * len(classes) > LARGE else REPEATS
    orders = [_order(y if kind.exclusive else None, len(x), rng) for _ in range(draws)]
    rows = []
    for size in sizes:
        if size == len(x) and whole is not None:
            rows.append([_value(whole, held_out, task, classes)])
            continue
        # All pictures are one set however often it is drawn.
        drawn = orders if size < len(x) else orders[:1]
        rows.append([_measure(Split(x[o[:size]], y[o[:size]]), held_out, task, classes, strength) for o in drawn])
    means = [float(np.mean(row)) for row in rows]
    return LearningCurve(
        metric=kind.judged_by,
        sizes=[*sizes],
        scores=means,
        spread=[float(np.std(row)) for row in rows],
        fit=learning_curve_fit(sizes, means, n_val=len(held_out.x), seed=seed),
    )


def climbs(fit: CurveFit) -> bool:
    """Whether twice the pictures would clearly bring something."""
    return fit.gain_low > CLIMBS


def _measure(train: Split, val: Split, task: str, classes: list[str], strength: float) -> float:
    fitted, held_out = standardised([train, val], own=True)
    answers = linear_fits.fitted(*fitted, task, len(classes), strength)(held_out.x)
    return _value(answers, held_out, task, classes)


def _value(answers: npt.ArrayLike, held_out: Split, task: str, classes: list[str]) -> float:
    value = one(task, tasks.of(task).judged_by, held_out.y, answers, classes)
    # R² has no floor, and one absurd fit on ten pictures would bend the whole curve.
    return max(-1.0, -1.0 if value is None else value)


def _order(labels: npt.NDArray[Any] | None, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Pictures in an order of which every beginning has the classes in about the whole's proportions."""
    if labels is None:
        return rng.permutation(count)
    place = np.empty(count)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        place[own] = (np.arange(len(own)) + rng.random()) / len(own)
    return np.argsort(place, kind="stable")
