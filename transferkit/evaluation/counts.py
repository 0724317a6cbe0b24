"""The arithmetic under the scores: confusion counts, ranks, areas under curves. NumPy only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transferkit.tasks.task import AT_ONCE, of_targets, parts

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
CELLS = 1 << 20  # numbers that are ordered at once


def confusion(true: Array, guess: Array, count: int) -> npt.NDArray[np.int64]:
    """Counts [count, count]: rows are the true classes, columns the predicted ones.

    Args:
        true: int [N] in 0…`count`-1.
        guess: likewise.
        count: classes.
    """
    cells = np.asarray(true, np.int64) * count + np.asarray(guess, np.int64)
    return np.bincount(cells, minlength=count * count).reshape(count, count)


class ConfusionScores(NamedTuple):
    """What follows from confusion counts alone. Arrays are [..., C], the scalars [...]."""

    precision: Floats
    recall: Floats
    f1: Floats
    scalars: dict[str, Floats]


def from_confusion(matrix: Array) -> ConfusionScores:
    """Scores of confusion matrices [..., C, C]; leading axes let a bootstrap score a thousand at once."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    return from_counts(hits, matrix.sum(axis=-1), matrix.sum(axis=-2))


def from_counts(hits: Floats, support: Array, called: Array) -> ConfusionScores:
    """Scores from counts per class.

    Macro averages run over the classes that occur in targets or predictions, with 0 for an undefined quotient
    (scikit-learn's default); balanced accuracy over the classes that occur in the targets.

    Args:
        hits: correct predictions of each class, [..., C].
        support: pictures that are of it.
        called: predictions of it.
    """
    precision, recall = ratio(hits, called), ratio(hits, support)
    f1 = ratio(2 * hits, support + called)
    n = support.sum(axis=-1)
    present, seen = (support > 0), (support + called > 0)
    chance = (support * called).sum(axis=-1) / n**2
    agreed = hits.sum(axis=-1) / n
    spread = (1 - (called**2).sum(axis=-1) / n**2) * (1 - (support**2).sum(axis=-1) / n**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa = np.where(chance < 1, (agreed - chance) / (1 - chance), np.nan)
        mcc = np.where(spread > 0, (agreed - chance) / np.sqrt(spread), 0.0)
    share = support / n[..., None]
    scalars = {
        "accuracy": agreed,
        "balanced_accuracy": ratio((recall * present).sum(axis=-1), present.sum(axis=-1)),
        "macro_precision": ratio((precision * seen).sum(axis=-1), seen.sum(axis=-1)),
        "recall": ratio((recall * seen).sum(axis=-1), seen.sum(axis=-1)),
        "macro_f1": ratio((f1 * seen).sum(axis=-1), seen.sum(axis=-1)),
        "weighted_precision": (precision * share).sum(axis=-1),
        "weighted_recall": (recall * share).sum(axis=-1),
        "weighted_f1": (f1 * share).sum(axis=-1),
        "kappa": kappa,
        "mcc": mcc,
    }
    return ConfusionScores(precision, recall, f1, scalars)


def top_k(true: Array, probs: Floats, k: int) -> float:
    """Share of samples whose true class is among the `k` most probable (a tie counts against the model).

    Args:
        true: int [N] in 0…C-1.
        probs: [N, C].
        k: 1 or more.

    Returns:
        In 0…1.
    """
    own, ahead = of_targets(probs, true), np.empty(len(true), np.int64)
    for rows in parts(probs):
        ahead[rows] = (probs[rows] >= own[rows, None]).sum(axis=1)  # counts the true class itself
    return float((ahead <= k).mean())


def roc_auc(true: Array, scores: Floats) -> list[float | None]:
    """Area under the ROC curve of each class or label, by rank sums.

    Args:
        true: 0/1 [N, C], or numbers of classes int [N].
        scores: [N, C], higher for what is more likely 1.

    Returns:
        C areas in 0…1; None where one of the two sides is empty.
    """
    return _by_columns(_roc_areas, true, scores)


def average_precision(true: Array, scores: Floats) -> list[float | None]:
    """Area under the precision-recall curve of each class or label, as a step sum.

    Args:
        true: 0/1 [N, C], or numbers of classes int [N].
        scores: [N, C], higher for what is more likely 1.

    Returns:
        C areas in 0…1; None where there is no positive.
    """
    return _by_columns(_precisions, true, scores)


def _by_columns(areas: Callable[[Array, Floats], Floats], true: Array, scores: Floats) -> list[float | None]:
    """What `areas` finds, NaN as None, over as many columns at once as fit into the memory of a few."""
    step, count = max(1, CELLS // max(1, len(true))), scores.shape[1]

    def columns(start: int) -> Array:
        if true.ndim > 1:
            return true[:, start : start + step]
        return np.asarray(true[:, None] == np.arange(start, min(start + step, count)), np.int64)

    with np.errstate(invalid="ignore", divide="ignore"):
        found = [areas(columns(at), _cut(scores, slice(at, at + step))) for at in range(0, count, step)]
    return [None if np.isnan(area) else float(area) for part in found for area in part]


def _cut(scores: Floats, columns: slice) -> Floats:
    """Some columns; of a large table gathered some rows at a time."""
    if scores.size <= AT_ONCE:
        return scores[:, columns]
    found = np.empty((len(scores), len(range(*columns.indices(scores.shape[1])))), scores.dtype)
    for rows in parts(scores):
        found[rows] = scores[rows, columns]
    return found


def _roc_areas(true: Array, scores: Floats) -> Floats:
    order = np.argsort(scores, axis=0, kind="stable")
    first, last = _ties(np.take_along_axis(scores, order, 0))
    # Ranks from 1, ties sharing their mean rank; twice that is a whole number.
    twice = (np.take_along_axis(true, order, 0) * (first + last + 2)).sum(axis=0)
    positives = true.sum(axis=0, dtype=np.int64)
    above = (twice - positives * (positives + 1)) / 2
    return np.asarray(above / (positives * (len(true) - positives)), np.float64)


def _precisions(true: Array, scores: Floats) -> Floats:
    order = np.argsort(-scores, axis=0, kind="stable")
    hits = np.take_along_axis(true, order, 0)
    _, last = _ties(np.take_along_axis(scores, order, 0))
    reached = np.take_along_axis(np.cumsum(hits, axis=0), last, 0) / (last + 1)
    return np.asarray((hits * reached).sum(axis=0) / hits.sum(axis=0), np.float64)


def _ties(ordered: Floats) -> tuple[Array, Array]:
    """The places, in each ordered column [N, C], of the first and the last of those as large as each."""
    index, change = np.arange(len(ordered))[:, None], ordered[1:] != ordered[:-1]
    edge = np.ones((1, ordered.shape[1]), bool)
    first = np.where(np.concatenate([edge, change]), index, 0)
    last = np.where(np.concatenate([change, edge]), index, len(ordered) - 1)
    return np.maximum.accumulate(first), np.minimum.accumulate(last[::-1])[::-1]


def ranks(values: Array) -> Floats:
    """Ranks from 1, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def ratio(top: Any, bottom: Any) -> Any:
    """`top / bottom`, 0 where `bottom` is 0.

    Args:
        top: numbers.
        bottom: numbers 0 or above, which broadcast with `top`.

    Returns:
        float64, of their joint shape.
    """
    top, bottom = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    return np.divide(top, bottom, out=np.zeros(np.broadcast(top, bottom).shape), where=bottom > 0)
