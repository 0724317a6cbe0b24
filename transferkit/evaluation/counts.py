"""The arithmetic under the scores: confusion counts, ranks, areas under curves. NumPy only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


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
    own = probs[np.arange(len(true)), true]
    ahead = (probs >= own[:, None]).sum(axis=1)  # counts the true class itself
    return float((ahead <= k).mean())


def roc_auc(true: Array, scores: Floats) -> float | None:
    """Area under the ROC curve by rank sums.

    Args:
        true: 0/1 [N].
        scores: [N], higher for what is more likely 1.

    Returns:
        In 0…1; None where one of the two sides is empty.
    """
    positives = int(true.sum())
    negatives = len(true) - positives
    if not positives or not negatives:
        return None
    above = ranks(scores)[true.astype(bool)].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def average_precision(true: Array, scores: Floats) -> float | None:
    """Area under the precision-recall curve as a step sum.

    Args:
        true: 0/1 [N].
        scores: [N], higher for what is more likely 1.

    Returns:
        In 0…1; None where there is no positive.
    """
    positives = int(true.sum())
    if not positives:
        return None
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(true[order])
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # last sample of each tied score
    precision = hits[ends] / (ends + 1)
    return float((np.diff(hits[ends], prepend=0) * precision).sum() / positives)


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
