"""The first screen of a report: the score and its range as a picture, beside what simpler means reach. Pure views."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from transferkit import tasks, terms
from transferkit.delivery import statements
from transferkit.delivery.report.numbers import SHARES, interval, number
from transferkit.evaluation.intervals import wilson
from transferkit.evaluation.metric_registry import GOALS
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.scores import Scores
from transferkit.evaluation.versus import verdicts

View = dict[str, Any]


class Headline(NamedTuple):
    """The score that was aimed at and its interval as text, of `n` test pictures, and how its task names things.

    `right` counts right answers, where that is the score; `notes` are what else must be known of it.
    """

    kind: str
    output: str
    outputs: str
    name: str
    n: int
    right: str | None
    value: str | None
    interval: str
    notes: list[str]


def headline(metrics: MetricsRecord) -> Headline:
    """What is said first of a run."""
    key, test = metrics.goal_key, metrics.test
    value, about = test.value(key), tasks.of(metrics.task)
    counted = f"{round(value * test.n):,} of {test.n:,} right" if key == "accuracy" and value and test.n else None
    return Headline(
        kind=about.kind, output=about.output, outputs=about.outputs, name=terms.score(key), n=test.n, right=counted,
        value=None if value is None else number(value, key), interval=interval(test, key), notes=_notes(metrics, key),
    )  # fmt: skip


def _notes(metrics: MetricsRecord, key: str) -> list[str]:
    """What else must be known of the headline: rivals, earlier looks at the same pictures, broken promises."""
    seen = statements.looks(metrics)
    if seen == "never used before":
        seen = None
    first = (statements.winner(metrics, key), statements.unseen(metrics), statements.alike(metrics, key))
    notes = (*first, statements.related(metrics.test), seen, statements.calibrated(metrics))
    return [note[:1].upper() + note[1:] + "." for note in (*notes, *statements.abstaining(metrics)) if note]


def bars(metrics: MetricsRecord) -> list[View]:
    """The model beside its baselines on one scale, from 0 to 100; empty where the score is unknown.

    Each row has `name`, `text`, `interval` and `note` as words, `width` of the bar, and `whisker` (start, width) where
    the interval is known.
    """
    key, test = metrics.goal_key, metrics.test
    remarks = {verdict.name: statements.remark(verdict) for verdict in verdicts(metrics, key)}
    rows: list[tuple[str, str, Scores, bool]] = [("this model", "", test, True)]
    for name, scores in metrics.baselines.items():
        label = terms.rival(name, metrics.task).label
        rows.append((label, remarks.get(name, ""), Scores({"n": test.n, **scores}), False))
    known = [(name, note, _bounded(scores, key), own) for name, note, scores, own in rows
             if scores.value(key) is not None]  # fmt: skip
    top = _top(key, [scores for *_, scores, _ in known])
    return [
        {"name": name, "note": note, "own": own, "text": number(scores[key], key), "interval": interval(scores, key),
         **placed(scores.value(key) or 0.0, scores.interval(key), top)}
        for name, note, scores, own in known
    ] if any(own for *_, own in known) else []  # fmt: skip


def ticks(metrics: MetricsRecord) -> list[str]:
    """What stands under the scale of `bars`: its start, middle and end."""
    key = metrics.goal_key
    scores: list[Scores] = [metrics.test, *metrics.baselines.values()]
    top = _top(key, [row for row in scores if row.value(key) is not None])
    if key in SHARES:
        return ["0", "50", "100 %"]
    return [f"{end:.3g}" for end in (0, top / 2, top)]


def placed(value: float, limits: tuple[float, float] | None, top: float = 1.0) -> View:
    """Where a bar ends and its whisker lies, in percent of a scale.

    Args:
        value: of the bar.
        limits: of its interval, where it has one.
        top: the end of the scale.
    """

    def at(number: float) -> float:
        return round(100 * min(max(number / top, 0.0), 1.0), 1)

    whisker = (at(limits[0]), round(at(limits[1]) - at(limits[0]), 1)) if limits else None
    return {"width": at(value), "whisker": whisker}


def _bounded(scores: Scores, key: str) -> Scores:
    """`scores` with an interval of the accuracy, which follows from the number of pictures."""
    n = scores.n
    if key != "accuracy" or not n or scores.interval(key):
        return scores
    return Scores({**scores, "accuracy_ci95": list(wilson(round((scores.value(key) or 0.0) * n), n))})


def _top(key: str, rows: list[Scores]) -> float:
    """The end of the scale: 1 for shares, above the largest value for errors."""
    ends = [max([abs(row.value(key) or 0.0), *map(abs, row.interval(key) or ())]) for row in rows]
    largest = max(ends, default=1.0)
    if GOALS[key].direction == "max" if key in GOALS else largest <= 1:
        return max(1.0, largest)
    step: float = 10.0 ** math.floor(math.log10(largest)) if largest > 0 else 1.0
    return math.ceil(2 * largest / step) / 2 * step
