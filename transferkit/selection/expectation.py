"""What to expect of the best of many on new pictures, which is not its own score.

Choosing is repeated on bootstrap samples of the pictures, and each time judged on those left out (BBC-CV: Tsamardinos,
Greasidou & Borboudakis 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transferkit.evaluation import clusters
from transferkit.evaluation.intervals import where_perfect
from transferkit.evaluation.metric_registry import AT_MOST_ONE
from transferkit.selection.candidate_scores import Judge, OutOfFold
from transferkit.selection.fitted import Floats

BOOTSTRAPS = 1000
DRAWN = 1 << 21  # pictures of them at a time
# Folds share their training pictures, so that their answers err together: intervals that take pictures for independent
# held the truth in 90 and 91 % of simulations, these in 93 to 97 % (Bates, Hastie & Tibshirani 2023 find as much).
INFLATION = 1.2
FEW_BOOTSTRAPS, FEW_CONFIGURATIONS = 100, 12  # for goals that are costly to compute


def expected(trials: Sequence[OutOfFold], judge: Judge, seed: int = 0) -> tuple[float, tuple[float, float] | None]:
    """The score to expect of the best of `trials` on new pictures, and its 95 % interval.

    Args:
        trials: answers of every candidate, out of fold, to the same pictures.
        judge: the score.
        seed: of the bootstrap.

    Returns:
        The expected score, less than what the winner reached, since the best of many looks better than it is; and the
        interval, None where it is undefined.
    """
    if all(t.by_picture is not None for t in trials) and judge.goal.key in ("accuracy", "mae", "loss"):
        return _of_means(np.array([t.by_picture for t in trials]), judge, seed)
    return _of_scores(trials, judge, seed)


Interval = tuple[float, float]


def lowered(score: float, interval: Interval | None, by: float, judge: Judge) -> tuple[float, Interval | None]:
    """What is expected, less what a choice before this one flatters it by (`screening`).

    Args:
        score: what is expected without that.
        interval: of it.
        by: how much, 0 or more, in the units of the score.
        judge: says which score is better.
    """
    change = judge.signed(-by)
    if interval is None:
        return score + change, None
    low = interval[0] + change
    return score + change, (max(0.0, low) if interval[0] >= 0 else low, interval[1] + change)


def _of_means(table: Floats, judge: Judge, seed: int) -> tuple[float, tuple[float, float] | None]:
    """`table` [configurations, n]: what each picture adds to each configuration's score."""
    rng, n, groups = np.random.default_rng(seed), table.shape[1], judge.groups
    units = clusters.units(n, groups)
    found = []
    step = max(1, min(BOOTSTRAPS, DRAWN // n))
    for count in [step] * (BOOTSTRAPS // step) + [BOOTSTRAPS % step]:  # all at once would be gigabytes
        drawn = rng.multinomial(units, np.full(units, 1 / units), count).astype(np.float64)
        drawn = drawn if groups is None else drawn[:, groups]
        out = (drawn == 0).astype(np.float64)
        chosen = (drawn @ table.T).argmax(1)
        found.append((out @ table.T)[np.arange(count), chosen] / np.maximum(out.sum(1), 1))
    reached = np.concatenate(found)
    return _bounded(float(reached.mean()), table[table.mean(1).argmax()], judge)


def _bounded(mean: float, best: Floats, judge: Judge) -> tuple[float, tuple[float, float] | None]:
    n: float = len(best)
    if judge.goal.key == "accuracy":
        # Wilson's interval (1927) for a share that is no whole count.
        n = n if judge.groups is None else clusters.worth(best, judge.groups)
        z2 = 1.959964**2
        middle = (mean + z2 / (2 * n)) / (1 + z2 / n)
        half = INFLATION * np.sqrt(z2 * (mean * (1 - mean) / n + z2 / (4 * n * n))) / (1 + z2 / n)
        low, high = middle - half, middle + half
        return mean, (float(max(low, 0)), float(min(high, 1)))
    half = INFLATION * 1.96 * clusters.standard_error(best, judge.groups)
    ends = sorted((judge.signed(mean - half), judge.signed(mean + half)))
    return judge.signed(mean), (ends[0], ends[1])


def _of_scores(trials: Sequence[OutOfFold], judge: Judge, seed: int) -> tuple[float, tuple[float, float] | None]:
    n, rng = len(judge.targets), np.random.default_rng(seed)
    best = sorted(trials, key=lambda t: -judge.signed(t.score))[:FEW_CONFIGURATIONS]
    logits = [t.mean_logits for t in best]
    parts, whole = [], []
    for rows in judge.drawn(FEW_BOOTSTRAPS, rng):
        rest = np.setdiff1d(np.arange(n), rows)
        scores = [judge.signed(judge.score(one[rows], rows)) for one in logits]
        chosen = int(np.argmax(scores))
        parts.append(judge.score(logits[chosen][rest], rest))
        whole.append(judge.score(logits[0][rows], rows))
    parts_, whole_ = np.array([h for h in parts if np.isfinite(h)]), np.array([w for w in whole if np.isfinite(w)])
    if not len(parts_) or len(whole_) < 2:
        return best[0].score, None
    mean, half = float(parts_.mean()), INFLATION * 1.96 * float(whole_.std(ddof=1))
    if judge.goal.key in AT_MOST_ONE and not judge.goal.plugin:
        return mean, where_perfect((mean - half, min(1.0, mean + half)), clusters.units(n, judge.groups))
    return mean, (mean - half, mean + half)
