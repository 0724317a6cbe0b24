"""Is one better than the other? Two answers to the same pictures, compared in pairs. NumPy and SciPy.

What is easy for one is easy for the other, so that the difference on the same pictures says more than two scores with
an interval each. Scores that are means over pictures are tested without assumptions: accuracy by McNemar's exact test,
others by flipping the signs of the differences (Fisher 1935); all others by a paired bootstrap (Koehn 2004). Where
pictures are in groups, signs of groups are flipped and groups are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.errors import DataError
from transferkit.evaluation import clusters, intervals, metrics
from transferkit.evaluation.counts import average_precision, confusion, from_confusion
from transferkit.evaluation.metric_registry import AT_MOST_ONE, by_key
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.scores import Edge

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

LEVEL = 0.05  # p, adjusted for the number of rivals, below which a difference is called one
FLIPS = 5000  # sign changes drawn for a p-value
EXACT = 2000  # pictures above which the t-test says the same as sign changes
REPEATS = 400  # resamples for scores that are no mean over pictures
LARGEST = 50_000  # pictures × outputs: above, such scores are not compared, which would take minutes


class Verdict(NamedTuple):
    """A rival's `value` by one score and whether it is `ahead` of the model, `behind`, or `unclear`; `p` is adjusted
    for the number of rivals (None for a run whose rivals were not compared in pairs)."""

    name: str
    value: float
    state: str
    p: float | None


class Answers(NamedTuple):
    """Predictions as for `metrics.score`, and the thresholds they are judged by (multilabel)."""

    outputs: Array
    thresholds: Array | None = None


def edge(
    task: str, key: str, targets: Array, own: Answers, other: Answers, classes: list[str], seed: int = 0,
    groups: Array | None = None,
) -> Edge | None:  # fmt: skip
    """How much better `own` is than `other` on the same pictures.

    Args:
        task: says what the targets mean.
        key: the score, one of `metrics.score`.
        targets: as for `metrics.score`.
        own: answers of the model.
        other: answers of its rival.
        classes: names of the classes, labels or targets.
        seed: of the bootstrap.
        groups: int [N]: which group each picture is of; None: each counts by itself.

    Returns:
        The gain with its interval and p-value; None where the score is undefined or unknown, or comparing would take
        minutes.
    """
    row = by_key(key)
    if row is None or not len(targets):
        return None
    sign = 1.0 if row.direction == "max" else -1.0
    pair = [_per_picture(task, key, targets, answers) for answers in (own, other)]
    if pair[0] is not None and pair[1] is not None:
        return _by_pictures(sign * (pair[0] - pair[1]), groups, exact=key == "accuracy")
    if own.outputs.size > LARGEST:
        return None
    return _by_bootstrap(_measure(task, key, classes), sign, targets, own, other, seed, groups)


def _per_picture(task: str, key: str, targets: Array, answers: Answers) -> Floats | None:
    """What each picture [N] adds to a score that is their mean (up to a constant); None for other scores."""
    kind, outputs = tasks.of(task), np.asarray(answers.outputs)
    # Those of classes are large, and single ones are made float64 of them.
    return kind.per_picture(key, targets, outputs if kind.exclusive else np.asarray(outputs, np.float64))


def _by_pictures(difference: Floats, groups: Array | None, *, exact: bool) -> Edge:
    from scipy.stats import t

    n, gain = clusters.units(len(difference), groups), float(difference.mean())
    # Right or wrong: Agresti & Min 2005, who add half a picture to each of the four cells. In groups where nothing
    # differs, which says nothing of how alike pictures of one are, as many pictures as groups.
    if exact and (groups is None or not np.any(difference)):
        won, lost = int((difference > 0).sum()), int((difference < 0).sum())
        middle = (won - lost) / (n + 2)
        half = 1.96 * float(np.sqrt(max(won + lost + 1 - (won - lost) ** 2 / (n + 2), 0.0))) / (n + 2)
        return Edge(
            gain, max(-1.0, middle - half), min(1.0, middle + half), intervals.mcnemar(difference > 0, difference < 0)
        )
    error = clusters.standard_error(difference, groups) if n > 1 else 0.0
    half = float(t.ppf(0.975, n - 1)) * error if n > 1 else float(abs(gain))
    low, high = gain - half, gain + half
    own = difference if groups is None else np.bincount(groups, difference).astype(np.float64)
    p = _flipped(own, gain, error)
    return Edge(gain, max(-1.0, low), min(1.0, high), p) if exact else Edge(gain, low, high, p)


def _flipped(difference: Floats, gain: float, error: float) -> float:
    """Two-sided p-value that differences, of pictures or of groups in sum, are as often one way as the other; of many
    by their mean `gain` and its standard error."""
    from scipy.stats import t

    n = len(difference)
    if not np.any(difference):
        return 1.0
    if n > EXACT:
        return float(2 * t.sf(abs(gain) / error, n - 1)) if error > 0 else 0.0
    observed = abs(float(difference.sum())) * (1 - 1e-12)
    rng, reached = np.random.default_rng(0), 0
    for _ in range(0, FLIPS, 1000):
        signs = rng.integers(0, 2, (1000, n), dtype=np.int8) * 2.0 - 1.0
        reached += int((np.abs(signs @ difference) >= observed).sum())
    return (reached + 1) / (FLIPS + 1)


def interval(
    task: str, key: str, targets: Array, answers: Answers, classes: list[str], seed: int = 0,
    groups: Array | None = None,
) -> tuple[float, float] | None:  # fmt: skip
    """The 95 % interval of a score by itself, over resampled pictures or groups.

    Args:
        task: says what the targets mean.
        key: the score, one of `metrics.score`.
        targets: as for `metrics.score`.
        answers: those that are scored.
        classes: names of the classes, labels or targets.
        seed: of the draws.
        groups: int [N]: which group each picture is of; None: each counts by itself.

    Returns:
        Its ends; None where the score is undefined in most resamples, or resampling would take minutes.
    """
    outputs = np.asarray(answers.outputs)
    if outputs.size > LARGEST or not len(targets):
        return None
    measure = _measure(task, key, classes)
    n = clusters.units(len(targets), groups)

    def table(true: Array, rows: Array) -> dict[str, float | None]:
        return {key: measure(true, outputs[rows], answers.thresholds)}

    found = intervals.of_table(
        table, targets, np.arange(len(targets)), seed=seed, stratify=tasks.of(task).exclusive, groups=groups,
        ends_at_one=lambda key: n if key in AT_MOST_ONE else 0,
    )  # fmt: skip
    return found.get(key)


Measure = Callable[[Array, Array, Array | None], float | None]


def _measure(task: str, key: str, classes: list[str]) -> Measure:
    """The score as a function of targets, predictions and thresholds; the common ones without all the others."""
    kind = tasks.of(task)
    if key == "map":

        def mean_precision(true: Array, guess: Array, _: Array | None) -> float | None:
            known = [value for value in average_precision(true, guess) if value is not None]
            return float(np.mean(known)) if known else None

        return mean_precision
    if kind.exclusive and key in intervals.FAST:
        return lambda true, guess, _: float(
            from_confusion(confusion(true, kind.decide(guess), guess.shape[1])).scalars[key]
        )

    def measure(true: Array, guess: Array, thresholds: Array | None) -> float | None:
        return metrics.score(task, true, guess, classes, thresholds=thresholds).value(key)

    return measure


def _by_bootstrap(
    measure: Measure, sign: float, targets: Array, own: Answers, other: Answers, seed: int, groups: Array | None
) -> Edge | None:
    rows = np.arange(len(targets))

    def of(which: Array, answers: Array) -> float | None:
        # `answers` are row numbers, negative for the rival's, so that thresholds go with their predictions.
        mine = answers[0] >= 0
        side, picked = (own, answers) if mine else (other, -1 - answers)
        value = measure(targets[which], np.asarray(side.outputs)[picked], side.thresholds)
        return None if value is None else sign * value

    try:
        found = intervals.paired_bootstrap(of, rows, rows, -1 - rows, repeats=REPEATS, seed=seed, groups=groups)
    except DataError:
        return None
    return Edge(*found)


def verdicts(found: MetricsRecord, key: str) -> list[Verdict]:
    """What the baselines in metrics.json are to the model by the score `key`, Holm's method (1979) over their p-values.

    Runs of earlier versions hold no pairs: there a baseline must lie outside the model's 95 % interval.

    Args:
        found: metrics.json.
        key: the score.

    Returns:
        One verdict a baseline that has the score: "ahead", "behind" or "unclear".
    """
    own = found.test.value(key)
    row = by_key(key)
    known = {name: value for name, scores in found.baselines.items() if (value := scores.value(key)) is not None}
    if own is None or row is None:  # undefined, or a plugin's metric, which baselines are not scored by
        return []
    edges = {name: edge for name in known if (edge := found.baselines[name].edge(key))}
    adjusted = holm({name: edge.p for name, edge in edges.items()})
    result = []
    for name, value in known.items():
        if name in edges:
            clear, ahead = adjusted[name] < LEVEL, edges[name].gain < 0
        else:
            low, high = found.test.interval(key) or (-np.inf, np.inf)
            clear, ahead = not low <= value <= high, row.better(value, own)
        result.append(
            Verdict(name, value, ("ahead" if ahead else "behind") if clear else "unclear", adjusted.get(name))
        )
    return result


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values: of m tests the k-th smallest counts m - k + 1 times, and never less than one before it."""
    highest, result = 0.0, {}
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[name]))
        result[name] = highest
    return result
