"""Can I use it? The answer in a sentence or two, each resting on the test split. Text from metrics.json alone.

`yes` is never unconditional: it says how many errors one must be able to live with. A comparison is made only where a
test of it shows something (see `statements`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from transferkit import tasks, terms
from transferkit.delivery import statements
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.scores import ScoreRow, Scores
from transferkit.evaluation.versus import verdicts
from transferkit.quantities import figure, plural

ROUGH = 0.2  # width of an interval of a share above which more test pictures are advised


class Answer(NamedTuple):
    """`state` is `yes`, `care`, `no` or `unknown`; `sentences` say it."""

    state: str
    sentences: list[str]


def usable(metrics: MetricsRecord) -> Answer:
    """Whether the model is fit for use, by its own test pictures."""
    test, key = metrics.test, metrics.headline
    if not test.n:
        return Answer("unknown", list(_untested(metrics)))
    if metrics.diagnosis is not None and metrics.diagnosis.state == "leakage suspected":
        return Answer("no", ["Not on the strength of this score: " + terms.state("leakage suspected")
                             + ", so new pictures may be answered worse than these."])  # fmt: skip
    found = {verdict.name: verdict.state for verdict in verdicts(metrics, key)}
    blind = found.get("majority")
    if blind in ("unclear", "ahead"):
        than, on = terms.rival("majority", metrics.task).phrase, plural(test.n, "test picture")
        if blind == "ahead":
            return Answer("no", [f"No: on {on} it is worse than {than}."])
        return Answer("no", [f"Not on this evidence: on {on} it cannot be told apart from {than}."])
    expected = _expected(metrics)
    if expected is None:
        return Answer("unknown", ["Not known: its score is undefined on these test pictures."])
    won = statements.winner(metrics, key)
    if won is not None:
        return Answer("care", [f"Rather use what beats it: {won}.", f"Of this model, {expected}."])
    return Answer("yes", [f"Yes, if this is good enough: {expected}.", *_further(metrics)][:2])


def _untested(metrics: MetricsRecord) -> Iterator[str]:
    yield "Not known: no pictures were kept for a test. Score it on pictures of your own."
    judged = metrics.cross_validation
    if judged is not None and judged.score is not None:
        limits = judged.ci95
        between = f" (95 % interval {figure(limits[0])} to {figure(limits[1])})" if limits else ""
        name = terms.score(judged.metric)
        yield f"By cross-validation of the training pictures, expect {name} {figure(judged.score)}{between}."


def _expected(metrics: MetricsRecord) -> str | None:
    """What to expect on new pictures like those of the test, as an interval where there is one."""
    about, test = tasks.of(metrics.task), metrics.test
    if about.headline == "off":
        return _off(test, about.unit)
    if about.headline == "labels":
        right, found = (_of_hundred(test, key) for key in ("micro_precision", "micro_recall"))
        if right is None or found is None:
            return None
        return f"of 100 labels it gives, expect {right} to be right, and of 100 that apply it finds {found}"
    accuracy = test.value("accuracy")
    if accuracy is None:
        return None
    low, high = test.interval("accuracy") or (accuracy, accuracy)
    return f"of 100 new pictures like these, expect {_range(1 - high, 1 - low)} wrong answers"


def _of_hundred(test: Scores, key: str) -> str | None:
    value = test.value(key)
    return None if value is None else _range(*(test.interval(key) or (value, value)))


def _range(low: float, high: float) -> str:
    first, last = round(100 * max(0.0, low)), round(100 * min(1.0, high))
    return f"{first} to {last}" if first < last else f"about {first}"


def _off(test: Scores, unit: str) -> str | None:
    """Of numbers: each target by itself, for their units may differ."""
    each = test.rows if any("mae" in row for row in test.rows) else [ScoreRow(test)]  # of grades, there is one error
    rows = [(row, mae) for row in each if (mae := row.value("mae")) is not None]
    if not rows:
        return None

    def far(row: ScoreRow, mae: float) -> str:
        low, high = row.interval("mae") or (mae, mae)
        return f"{figure(low)} to {figure(high)}" if low < high else figure(low)

    if len(rows) == 1:
        return f"expect an answer to be off by {far(*rows[0])}{unit} on average"
    parts = [f"{row.name} by {far(row, mae)}" for row, mae in rows[:3]]
    return f"expect answers to be off on average, {', '.join(parts)}" + (", …" if len(rows) > 3 else "")


def _further(metrics: MetricsRecord) -> Iterator[str]:
    """What else bears on the use, the weightiest first."""
    test, unseen = metrics.test, statements.unseen(metrics)
    if unseen:
        yield unseen[:1].upper() + unseen[1:] + "."
    if related := statements.related(test):
        yield related[:1].upper() + related[1:] + "."
    if tasks.of(metrics.task).headline == "right":
        low, high = test.interval("accuracy") or (0, 0)
        yield from _declining(metrics)
        if high - low > ROUGH:
            yield (
                f"{plural(test.n, 'test picture')} tell no more than that; "
                "more of them, or --folds 5, would narrow the range."
            )
    named = statements.alike(metrics, metrics.headline)
    if named:
        yield named[:1].upper() + named[1:] + "."


def _declining(metrics: MetricsRecord) -> Iterator[str]:
    """What is gained by answering only when sure, where test bore the promise out."""
    for row in metrics.abstention:
        reached, coverage = row.test_accuracy, row.test_coverage or 0
        if row.threshold is None or reached is None or reached < row.accuracy or not 0 < coverage < 1:
            continue
        between = row.test_accuracy_ci95
        interval = f" (95 % interval {100 * between[0]:.0f} to {100 * between[1]:.0f} %)" if between else ""
        yield (
            f"Answers of at least {100 * row.threshold:.0f} % confidence were right in "
            f"{100 * reached:.0f} %{interval}; {100 * coverage:.0f} % of the test pictures were answered so."
        )
        return
