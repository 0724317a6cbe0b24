"""How sure is a score? Wilson and bootstrap intervals, paired comparison, McNemar. NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transferkit.errors import ConfigError, DataError
from transferkit.evaluation import clusters
from transferkit.evaluation.counts import ConfusionScores, from_counts

Array = npt.NDArray[Any]
Metric = Callable[[Array, Array], float | None]

DRAWS = 50  # of confusion counts that are added up at once
LEVEL = 0.95  # of every interval
# Names that a bootstrap resamples from the confusion counts instead of from the pictures.
FAST = ("accuracy", "balanced_accuracy", "macro_precision", "recall", "macro_f1",
        "weighted_precision", "weighted_recall", "weighted_f1", "kappa", "mcc")  # fmt: skip


class Difference(NamedTuple):
    """Score of `a` minus score of `b`, its interval, and its two-sided p-value under no difference."""

    difference: float
    low: float
    high: float
    p: float


def wilson(successes: float, n: float) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion, inside 0…1 and sensible at 0 % and 100 %. Wilson 1927.

    Args:
        successes: 0…`n`.
        n: trials, above 0; what they are worth may be no whole number.

    Raises:
        DataError: numbers outside these ranges.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise DataError(f"{successes} successes of {n}; expected 0 ≤ successes ≤ n and n > 0")
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + LEVEL / 2))
    part, scale = successes / n, 1 + z * z / n
    middle = (part + z * z / (2 * n)) / scale
    half = z * float(np.sqrt(part * (1 - part) / n + z * z / (4 * n * n))) / scale
    return (0.0 if part == 0 else middle - half), (1.0 if part == 1 else middle + half)


def share(hits: npt.ArrayLike, groups: Array | None = None) -> tuple[float, float]:
    """95 % interval of a share of pictures: Wilson's, where they are in groups of as many as these are worth.

    Args:
        hits: bool [N], N > 0.
        groups: int [N]: which group each picture is of.
    """
    found = np.asarray(hits, np.float64)
    if groups is None or len(found) == 1:
        return wilson(round(float(found.sum())), len(found))
    codes = np.unique(groups, return_inverse=True)[1]
    n = clusters.worth(found, codes)
    return wilson(float(found.mean()) * n, n) if n else (0.0, 1.0)


def where_perfect(limits: tuple[float, float], count: int) -> tuple[float, float]:
    """The interval of a score that is 1 at the most: where it is that in each resample, these tell nothing of how far
    below it may be; as many right of as many do.

    Args:
        limits: a bootstrap's.
        count: pictures that it is of; 0: as `limits` are.
    """
    return wilson(count, count) if limits == (1.0, 1.0) and count else limits


def from_counts_of(
    targets: npt.ArrayLike,
    answers: npt.ArrayLike,
    count: int,
    *,
    repeats: int = 1000,
    seed: int = 0,
    groups: Array | None = None,
) -> tuple[dict[str, tuple[float, float]], list[tuple[float, float] | None]]:
    """95 % intervals of all of `FAST`, and of the F1 of each class, from one stratified draw of confusion counts.

    Args:
        targets: int [N] in 0…`count`-1.
        answers: likewise.
        count: classes.
        repeats: how often pictures are drawn.
        seed: of the draws.
        groups: int [N]: which group each picture is of: groups are drawn then, classes as they come with them.

    Returns:
        Intervals by name, without those that are undefined; and of each class, None where it is neither present nor
        predicted.
    """
    true, guess = _pair(targets, answers)
    drawn = _drawn(true, guess, count, repeats, np.random.default_rng(seed), groups)
    n, support = _of_stratum(true, True, groups), clusters.apart(true, count, groups)
    worth = clusters.units(len(true), groups)
    scalars = {name: _percentiles(drawn.scalars[name], n) for name in FAST}
    seen = support + np.bincount(guess, minlength=count) > 0
    f1 = [_percentiles(drawn.f1[:, c], n) if seen[c] else None for c in range(count)]
    return (
        {name: where_perfect(found, worth) for name, found in scalars.items() if found is not None},
        [found and where_perfect(found, int(own)) for found, own in zip(f1, support, strict=True)],
    )


def of_table(
    table: Callable[[Array, Array], dict[Any, float | None]],
    targets: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    ends_at_one: Callable[[Any], int],
    repeats: int = 200,
    seed: int = 0,
    stratify: bool = False,
    groups: Array | None = None,
) -> dict[Any, tuple[float, float]]:
    """95 % percentile intervals of many scores at once.

    Args:
        table: resampled targets and predictions → all scores by key.
        targets: [N, …].
        predictions: [N, …].
        ends_at_one: the key of a score that is 1 at the most → how many pictures it is of (`where_perfect`); any other
            key → 0.
        repeats: how often pictures are drawn.
        seed: of the draws.
        stratify: keep the number of pictures of each class fixed (targets int [N] only).
        groups: int [N]: which group each picture is of: groups are drawn then, and nothing is kept fixed.

    Returns:
        Intervals by key; scores that are undefined in most resamples are left out.
    """
    true, guess = _pair(targets, predictions)
    picks = _resamples(true, repeats, np.random.default_rng(seed), stratify, groups)
    rows = [table(true[pick], guess[pick]) for pick in picks]
    columns = {key: np.array([_number(row.get(key)) for row in rows]) for key in rows[0]}
    n = _of_stratum(true, stratify, groups)
    found = {key: _percentiles(values, n) for key, values in columns.items()}
    return {key: where_perfect(limits, ends_at_one(key)) for key, limits in found.items() if limits is not None}


def paired_bootstrap(
    metric: Metric,
    targets: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    repeats: int = 1000,
    seed: int = 0,
    groups: Array | None = None,
) -> Difference:
    """How much better predictions `a` score than `b` on the same pictures: `metric(a) - metric(b)`.

    Every resample takes the same pictures for both, so that what is hard for both cancels. `p` counts the resamples on
    the other side of zero. Koehn 2004.

    Args:
        metric: targets and predictions → a score.
        targets: [N, …].
        a: predictions [N, …].
        b: likewise.
        repeats: how often pictures are drawn.
        seed: of the draws.
        groups: int [N]: which group each picture is of: groups are drawn then.

    Raises:
        DataError: the score is undefined.
    """
    (true, left), (_, right) = _pair(targets, a), _pair(targets, b)
    observed = _number(metric(true, left)) - _number(metric(true, right))
    picks = _resamples(true, repeats, np.random.default_rng(seed), stratify=False, groups=groups)
    values = np.array([_number(metric(true[p], left[p])) - _number(metric(true[p], right[p])) for p in picks])
    n = clusters.units(len(true), groups)
    limits = _percentiles(values, n)
    if limits is None or not np.isfinite(observed):
        raise DataError("the score is undefined on these pictures; compare by another metric")
    kept = values[np.isfinite(values)]
    below, above = ((kept <= 0).sum() + 1) / (len(kept) + 1), ((kept >= 0).sum() + 1) / (len(kept) + 1)
    return Difference(float(observed), *limits, p=_expanded(min(1.0, 2 * min(below, above)), n))


def mcnemar(a_correct: npt.ArrayLike, b_correct: npt.ArrayLike) -> float:
    """Exact two-sided p-value that two classifiers err equally often on the same pictures. McNemar 1947.

    Args:
        a_correct: bool [N]: whether each answer of the one is right.
        b_correct: those of the other.

    Returns:
        In 0…1; 1.0 where they never disagree.

    Raises:
        DataError: shapes that do not fit each other.
    """
    from scipy.stats import binomtest

    left, right = (np.asarray(x, bool) for x in (a_correct, b_correct))
    if left.shape != right.shape or left.ndim != 1:
        raise DataError(f"answers {left.shape} and {right.shape} must be two lists over the same pictures")
    only_left, only_right = int((left & ~right).sum()), int((right & ~left).sum())
    if not only_left + only_right:
        return 1.0
    return float(binomtest(only_left, only_left + only_right).pvalue)


def _drawn(
    true: Array, guess: Array, count: int, repeats: int, rng: np.random.Generator, groups: Array | None
) -> ConfusionScores:
    """What follows from `repeats` draws of the confusion counts; arrays are [repeats, …].

    Counts of the cells of each class come from a multinomial: the law of resampled pictures, without a loop.
    """
    cells, which, counts = np.unique(true * count + guess, return_inverse=True, return_counts=True)
    rows, columns = cells // count, cells % count
    if groups is not None:
        drawn = clusters.counted(which, groups, repeats, rng)
    else:
        drawn = np.empty((repeats, len(cells)), np.int32)
        for row in np.unique(rows):
            own = rows == row
            drawn[:, own] = rng.multinomial(counts[own].sum(), counts[own] / counts[own].sum(), repeats)
    every, right = np.arange(len(cells)), np.flatnonzero(rows == columns)
    hits = _summed(drawn, right, rows[right], count)
    return from_counts(hits, _summed(drawn, every, rows, count), _summed(drawn, every, columns, count))


def _summed(drawn: Array, cells: Array, classes: Array, count: int) -> Array:
    """Some `cells` of draws int [repeats, all cells] added up by the class of each: float [repeats, `count`]."""
    found = np.zeros((len(drawn), count))
    if not len(classes):
        return found
    order = np.argsort(classes, kind="stable")
    present, first = np.unique(classes[order], return_index=True)
    for start in range(0, len(drawn), DRAWS):  # of many classes there are as many cells as pictures
        part = drawn[start : start + DRAWS, cells[order]]
        found[start : start + DRAWS, present] = np.add.reduceat(part, first, axis=1, dtype=np.float64)
    return found


def _resamples(
    true: Array, repeats: int, rng: np.random.Generator, stratify: bool, groups: Array | None
) -> list[Array]:
    if groups is not None:
        return list(clusters.drawn(groups, repeats, rng))
    if not stratify:
        return [rng.integers(0, len(true), len(true)) for _ in range(repeats)]
    if true.ndim != 1:
        raise ConfigError("stratify needs one class per picture; leave it out for several labels or numbers")
    strata = [np.flatnonzero(true == value) for value in np.unique(true)]
    return [np.concatenate([rng.choice(rows, len(rows)) for rows in strata]) for _ in range(repeats)]


def _pair(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> tuple[Array, Array]:
    true, guess = np.asarray(targets), np.asarray(predictions)
    if not len(true) or len(true) != len(guess):
        raise DataError(f"{len(true)} targets and {len(guess)} predictions; both must have the same length above 0")
    return true, guess


def _expanded(p: float, n: float) -> float:
    """A p-value of a bootstrap from few pictures, as `_percentiles` expands its interval."""
    from scipy.stats import norm, t

    n = max(n, 2.0)
    return float(2 * t.cdf(norm.ppf(p / 2) * np.sqrt((n - 1) / n), n - 1))


def _of_stratum(true: Array, stratify: bool, groups: Array | None) -> float:
    """Pictures or groups, or pictures of each class on the average where classes are drawn one by one."""
    return len(true) / len(np.unique(true)) if stratify and groups is None else clusters.units(len(true), groups)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _percentiles(values: Array, n: float) -> tuple[float, float] | None:
    """The interval of bootstrap `values` from `n` pictures (of a stratum), expanded for few of them (Hesterberg 2015).

    Plain percentiles are too narrow, as if the deviation were known and divided by n instead of n - 1: of 15 pictures
    95 % of them covered 88 %. For a mean this gives back Student's interval.
    """
    from scipy.stats import norm, t

    kept = values[np.isfinite(values)]
    if len(kept) * 2 <= len(values):
        return None
    n = max(n, 2.0)
    tail = float(norm.cdf(t.ppf((1 - LEVEL) / 2, n - 1) * np.sqrt(n / (n - 1))))
    low, high = np.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)
