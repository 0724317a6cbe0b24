"""From which confidence on are answers right as often as is asked for? Proved on validation. NumPy and SciPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transferkit.errors import ConfigError
from transferkit.evaluation.calibration import Floats, confidence_of
from transferkit.evaluation.metrics_record import AbstentionLevel

ACCURACIES = (0.9, 0.95, 0.99)  # that every run looks for a threshold of
RISK = 0.05  # of a promised accuracy being missed
STEPS = 20  # thresholds that are tried
FIRST = 0.1  # of validation is answered at the first of them: fewer, and one wrong label ends the search


def abstain_threshold(probs: npt.ArrayLike, targets: npt.ArrayLike, accuracy: float) -> tuple[float | None, float]:
    """The confidence from which answers are right as often as is asked for.

    Among `STEPS` thresholds the lowest (most answers) of which it is 95 % certain that answers above it are right with
    `accuracy` or more. The best of many thresholds looks better than it is, so they are tested by the binomial law in a
    fixed order, from few answers to many until one fails (Learn then Test, Angelopoulos et al. 2021; for one threshold
    alone this is the exact bound of Clopper & Pearson, as in Geifman & El-Yaniv 2017).
    Simulated in `tests/evaluation/test_abstention.py`: the promise is missed in at most 5 % of cases. It holds for
    pictures like those of validation that no choice was made by; a run's own validation chose its epochs.

    Args:
        probs: [N, C], of validation.
        targets: int [N].
        accuracy: above 0, at most 1.

    Returns:
        The threshold, and the share of pictures then answered; `(None, 0.0)` where there is none.
    """
    _check_accuracy(accuracy)
    confidence, right = confidence_of(probs, targets)
    steps = _steps(confidence, right, accuracy)
    passed = -1
    for i, step in enumerate(steps):
        if _tail(step.hits, step.answers, accuracy) > RISK:
            break
        passed = i
    if passed < 0:
        return None, 0.0
    return steps[passed].threshold, steps[passed].answers / len(confidence)


class _Step(NamedTuple):
    """Answers of at least `threshold` confidence on validation, and how many of them are right."""

    threshold: float
    answers: int
    hits: int


def _steps(confidence: Floats, right: Floats, accuracy: float) -> list[_Step]:
    """Evenly spaced numbers of answers, from the fewest that could prove `accuracy` if all were right."""
    order = np.argsort(-confidence, kind="stable")
    ordered, hits = confidence[order], np.cumsum(right[order])
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # equal confidences stay together
    fewest = max(_fewest(accuracy), round(FIRST * len(ordered)))
    if fewest > len(ordered):
        return []
    wanted = np.linspace(fewest, len(ordered), STEPS).round().astype(np.int64) - 1
    chosen = np.unique(ends[np.searchsorted(ends, wanted)])
    return [_Step(float(ordered[i]), int(i) + 1, round(float(hits[i]))) for i in chosen]


def _tail(hits: int, answers: int, accuracy: float) -> float:
    """Probability of `hits` or more right answers where each is right with `accuracy`: small is proof of more."""
    from scipy.stats import binom

    return 1.0 if accuracy >= 1 else float(binom.sf(hits - 1, answers, accuracy))


def _fewest(accuracy: float) -> int:
    """Right answers, all of them, that prove `accuracy`; more than there can be for 1."""
    return 2**62 if accuracy >= 1 else int(np.ceil(np.log(RISK) / np.log(accuracy)))


def pictures_needed(probs: npt.ArrayLike, targets: npt.ArrayLike, accuracy: float) -> int | None:
    """About how many validation pictures would prove an accuracy for some threshold, going by these.

    Args:
        probs: [N, C], of validation.
        targets: int [N].
        accuracy: above 0, at most 1.

    Returns:
        Their number; None where answers of no confidence are that often right.
    """
    _check_accuracy(accuracy)
    confidence, right = confidence_of(probs, targets)
    order = np.argsort(-confidence, kind="stable")
    hits, counts = np.cumsum(right[order]), np.arange(1, len(right) + 1)
    found: list[float] = []
    for m in np.unique(np.linspace(max(1, len(right) // 5), len(right), STEPS).round().astype(int)):
        share, answers = hits[m - 1] / counts[m - 1], float(_fewest(accuracy))
        if share <= accuracy or accuracy >= 1:
            continue
        while answers < 1e7 and _tail(int(share * answers), int(answers), accuracy) > RISK:
            answers *= 1.1
        found.append(answers * len(right) / m)
    return int(np.ceil(min(found))) if found and min(found) < 1e7 else None


def _check_accuracy(accuracy: float) -> None:
    if not 0 < accuracy <= 1:
        raise ConfigError(f"accuracy is {accuracy}; it must lie above 0 and at most at 1")


def levels(probs: npt.ArrayLike, targets: npt.ArrayLike) -> list[AbstentionLevel]:
    """The threshold of `abstain_threshold` for each of `ACCURACIES`.

    Args:
        probs: [N, C], of validation.
        targets: int [N].

    Returns:
        For each accuracy its `threshold` (None: not to be promised), its `coverage`, and where there is none, about how
        many validation pictures are `needed` to promise one (None: no confidence is that often right). Those
        that answering every picture surely reaches are left out.
    """
    rows: list[AbstentionLevel] = []
    for accuracy in ACCURACIES:
        threshold, coverage = abstain_threshold(probs, targets, accuracy)
        if coverage == 1.0:
            continue
        row = AbstentionLevel(accuracy=accuracy, threshold=threshold, coverage=coverage)
        if threshold is None:
            row.needed = pictures_needed(probs, targets, accuracy)
        rows.append(row)
    return rows


def selective(probs: npt.ArrayLike, targets: npt.ArrayLike, threshold: float) -> tuple[float | None, float]:
    """Accuracy on the pictures answered with at least `threshold` confidence (None: none), and their share.

    Args:
        probs: [N, C].
        targets: int [N].
        threshold: the least confidence of an answer that is given.
    """
    confidence, right = confidence_of(probs, targets)
    answered = confidence >= threshold
    return (float(right[answered].mean()) if answered.any() else None), float(answered.mean())
