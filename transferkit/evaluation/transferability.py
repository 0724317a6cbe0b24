"""How well would features serve a task? LogME and a cross-validated linear probe. Arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.errors import DataError
from transferkit.evaluation import linear_fits
from transferkit.evaluation.baselines import PENALTIES, STRENGTHS, Split, standardised
from transferkit.evaluation.metrics import score
from transferkit.tasks.task import Task

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

STEPS = 100  # of the fixed point; a dozen are usual
TINY = 1e-12


class ProbeScore(NamedTuple):
    """Mean of a probe's `score` over folds, its standard deviation `spread`, and the regularisation `chosen`."""

    metric: str
    score: float
    spread: float
    chosen: float


def logme(features: npt.ArrayLike, targets: npt.ArrayLike, task: str) -> float:
    """Logarithm of maximum evidence per picture: higher means features that explain the targets better.

    Each class (as 0/1), label or target is the output of a Bayesian linear regression whose prior and noise precision
    maximise the evidence. Numbers are standardised first. You et al. 2021, LogME: Practical Assessment of Pre-trained
    Models, algorithm 3.

    Args:
        features: [N, D], N above 1.
        targets: as for `metrics.score`.
        task: says what they mean.

    Returns:
        The mean over outputs, in nats.

    Raises:
        DataError: shapes that do not fit each other.
    """
    kind = tasks.of(task)
    f, y = np.asarray(features, np.float64), np.asarray(targets)
    if f.ndim != 2 or len(f) != len(y) or len(f) < 2:
        raise DataError(f"features {f.shape} and targets {y.shape} do not fit; expected [N, D] and [N, …], N above 1")
    outputs = _outputs(y, kind)
    left, singular, _ = np.linalg.svd(f, full_matrices=False)
    projected = left.T @ outputs
    return float(
        np.mean([_evidence(singular**2, projected[:, c], outputs[:, c], f.shape[1]) for c in range(outputs.shape[1])])
    )


def _outputs(y: npt.NDArray[Any], task: Task) -> Floats:
    if task.exclusive:
        return np.asarray(y[:, None] == np.unique(y), np.float64)
    values = y.reshape(len(y), -1).astype(np.float64)
    if not task.numbers:
        return values
    deviation = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0), np.float64)


def _evidence(squares: Floats, z: Floats, y: Floats, width: int) -> float:
    """Maximum log evidence of y [N] over N; `squares` are the features' squared singular values, z = Uᵀy."""
    count, outside = len(y), max(float(y @ y - z @ z), 0.0)
    alpha = beta = 1.0
    for _ in range(STEPS):
        shrink = alpha + beta * squares
        gamma = float((beta * squares / shrink).sum())
        weights = float((squares * (beta * z / shrink) ** 2).sum())
        error = float(((alpha * z / shrink) ** 2).sum()) + outside
        before, alpha, beta = alpha / beta, gamma / max(weights, TINY), (count - gamma) / max(error, TINY)
        if abs(alpha / beta - before) <= 1e-6 * before:
            break
    shrink = alpha + beta * squares
    weights = float((squares * (beta * z / shrink) ** 2).sum())
    error = float(((alpha * z / shrink) ** 2).sum()) + outside
    determinant = float(np.log(shrink).sum()) + (width - len(squares)) * np.log(alpha)
    evidence = width * np.log(alpha) + count * np.log(beta) - determinant - beta * error - alpha * weights
    return float(evidence - count * np.log(2 * np.pi)) / (2 * count)


def cross_validated_probe(
    features: npt.ArrayLike, targets: npt.ArrayLike, folds: Sequence[tuple[Indices, Indices]], task: str,
    classes: Sequence[str],
) -> ProbeScore:  # fmt: skip
    """Score of a linear probe over folds, at the regularisation that does best.

    The choice of one number among six by the same folds flatters every network alike. Kornblith et al. 2019.

    Args:
        features: [N, D].
        targets: as for `metrics.score`.
        folds: training rows and left-out rows of each.
        task: says what the targets mean.
        classes: their names.

    Returns:
        Mean and deviation over the folds of the score that the task is judged by.
    """
    kind = tasks.of(task)
    x, y = np.asarray(features, np.float32), np.asarray(targets)
    options = PENALTIES if kind.numbers else STRENGTHS
    table = np.full((len(options), len(folds)), -1.0)
    for column, (train, held_out) in enumerate(folds):
        fitted, kept = standardised([Split(x[train], y[train]), Split(x[held_out], y[held_out])])
        for row, option in enumerate(options):
            guess = linear_fits.fitted(*fitted, task, len(classes), option)(kept.x)
            value = score(task, kept.y, guess, list(classes)).value(kind.judged_by)
            table[row, column] = -1.0 if value is None else max(-1.0, value)
    best = int(table.mean(axis=1).argmax())
    return ProbeScore(kind.judged_by, float(table[best].mean()), float(table[best].std()), float(options[best]))


def pareto(costs: Sequence[float], gains: Sequence[float]) -> list[bool]:
    """Which points nothing beats: no other costs at most as much and gains at least as much, one of them strictly.

    Args:
        costs: of each point, lower is better.
        gains: likewise, higher is better.
    """
    c, g = np.asarray(costs, np.float64), np.asarray(gains, np.float64)
    better = (c <= c[:, None]) & (g >= g[:, None]) & ((c < c[:, None]) | (g > g[:, None]))
    return [not row.any() for row in better]
