"""Does the winner really win? Paired bootstraps on the same pictures, and what they mean in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from transferkit import terms
from transferkit.data.samples import Samples
from transferkit.data.splitting.units import group_codes_of
from transferkit.errors import DataError
from transferkit.evaluation import intervals, metric_registry, metrics
from transferkit.quantities import figure
from transferkit.record import JsonObject

RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class WinnerComparison:
    """How much better the winner scores than `other` on `n` pictures of `part`; positive is better, whatever the
    metric's direction. `p` is the two-sided bootstrap probability of no difference."""

    other: str
    part: str
    n: int
    metric: str
    winner: float
    score: float
    gain: float
    low: float
    high: float
    p: float

    def as_dict(self) -> JsonObject:
        """For metrics.json."""
        return asdict(self)

    @property
    def sure(self) -> bool:
        """Whether the 95 % interval of the gain leaves out zero."""
        return self.low > 0 or self.high < 0

    def words(self) -> str:
        """One sentence."""
        where = {"val": "validation", "test": "test"}[self.part]
        metric, winner, other = terms.score(self.metric), figure(self.winner), figure(self.score)
        figures = f"{metric} {winner} against {other} of {self.n:,} {where} pictures"
        interval = f"95 % interval of the difference {figure(self.low, '+')} to {figure(self.high, '+')}"
        if self.low == self.high == 0:  # which says nothing of other pictures
            interval = "the same in every resample of them"
        if not self.sure:
            return f"not told apart from {self.other}: {figures} ({interval})"
        verdict = "better" if self.gain > 0 else "worse"
        return f"{verdict} than {self.other}, beyond chance: {figures} ({interval})"


def against(
    other: str, part: str, samples: Samples, goal: str, winner: np.ndarray, answers: np.ndarray, seed: int
) -> WinnerComparison | None:
    """The winner of a search against another finalist on the same pictures, by a paired bootstrap.

    Args:
        other: what it is called.
        part: "val" or "test".
        samples: the pictures of that part.
        goal: the metric; "auto" is the task's own.
        winner, answers: the winner's and the other's, [n, t]: probabilities, or numbers in the user's units.
        seed: of the resamples.

    Returns:
        None where the metric is undefined on these pictures, or there are none.
    """
    if not len(samples):
        return None
    row, name = (
        metric_registry.goal(goal, samples.task),
        samples.kind.default_metric if goal == "auto" else goal,
    )
    sign = 1 if row.direction == "max" else -1
    measure = _metric(samples, row, sign)
    targets, pair = samples.targets, [winner, answers]
    if name == "accuracy":
        # Right or wrong is all that accuracy knows: resamples of it take no time.
        pair = [(samples.kind.decide(p) == targets).astype(float) for p in pair]

        def measure(_: Any, hits: Any) -> float | None:
            return float(hits.mean())

    try:
        found = intervals.paired_bootstrap(
            measure, targets, *pair, repeats=RESAMPLES, seed=seed, groups=group_codes_of(samples)
        )
    except DataError:
        return None
    own, others = (sign * (measure(targets, p) or 0.0) for p in pair)
    return WinnerComparison(
        other=other, part=part, n=len(samples), metric=name, winner=own, score=others, gain=found.difference,
        low=found.low, high=found.high, p=found.p,
    )  # fmt: skip


def _metric(samples: Samples, goal: metric_registry.Metric, sign: int) -> Callable[[Any, Any], float | None]:
    classes = list(samples.classes)

    def measure(targets: Any, answers: Any) -> float | None:
        value = metrics.score(samples.task, targets, answers, classes, extra=goal.extra).value(goal.key)
        return None if value is None else sign * value

    return measure
