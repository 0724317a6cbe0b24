"""Tables of a report as text: scores, classes, confusions, what was tried. Bounded, however many classes there are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from transferkit import tasks, terms
from transferkit.delivery.report.first_screen import placed
from transferkit.delivery.report.numbers import interval, number
from transferkit.evaluation.metrics_record import AbstentionLevel, CrossValidation, HeadCandidate, MetricsRecord
from transferkit.evaluation.portfolio_record import ComparedNetwork, PortfolioRecord
from transferkit.evaluation.scores import Confusion, ScoreRow
from transferkit.quantities import duration, figure

View = dict[str, Any]
CONFUSIONS = 8  # that are listed
SHORT = {"recall": "recall", "mae": "MAE", "rmse": "RMSE", "median_ae": "median AE", "support": "pictures"}
SCORES, CLASSES, MOST = 5, 12, 100  # scores and classes shown unasked; classes in the page at all


def score_table(metrics: MetricsRecord) -> View | None:
    """Every scalar score of test and validation as text: the first `SCORES` in `rows`, all others in `more`."""
    splits = [(name, scores) for name, scores in (("test", metrics.test), ("val", metrics.val)) if scores]
    found = dict.fromkeys(key for _, scores in splits for key, _ in scores.numbers())
    first = (metrics.goal_key, *tasks.of(metrics.task).shown_first)
    keys = [key for key in dict.fromkeys((*first, *found)) if key in found]
    if not keys:
        return None
    rows = [
        {
            "name": terms.score(k),
            "cells": [number(scores.get(k), k) for _, scores in splits],
            "intervals": [interval(scores, k) for _, scores in splits],
        }
        for k in keys
    ]
    columns = [terms.part(name) for name, _ in splits]
    sizes = [scores.n for _, scores in splits]
    return {"columns": columns, "sizes": sizes, "rows": rows[:SCORES], "more": rows[SCORES:]}


def classes(metrics: MetricsRecord) -> View | None:
    """The table of classes, the worst first: `rows` of text; `bars` of F1, where it is known, on a scale to 100."""
    numbers, rows = tasks.of(metrics.task).numbers, metrics.test.rows
    if not rows:
        return None
    first = "target" if numbers else "class"
    columns = [key for key in rows[0] if key != first and not key.endswith("_ci95")]
    if not numbers:  # the worst first, what is unknown last
        rows.sort(key=lambda row: math.inf if (f1 := row.value("f1")) is None else f1)
    cells = [
        {
            "name": row.name,
            "cells": [number(row.get(key), key) for key in columns],
            "intervals": [interval(row, key) for key in columns],
        }
        for row in rows[:MOST]
    ]
    drawn = [_bar(row, f1) for row in rows if (f1 := row.value("f1")) is not None][:MOST] if not numbers else []
    return {
        "columns": [SHORT.get(key) or terms.score(key) for key in columns], "rows": cells,
        "left": len(rows) - len(cells), "bars": drawn[:CLASSES], "more": drawn[CLASSES:],
    }  # fmt: skip


def _bar(row: ScoreRow, f1: float) -> View:
    return {
        "name": row.name, "note": f"{row.support:,} test pictures" if "support" in row else "", "own": False,
        "text": f"{f1:.2f}", "interval": _short(row.interval("f1")), **placed(f1, row.interval("f1")),
    }  # fmt: skip


def _short(limits: tuple[float, float] | None) -> str:
    return f"{limits[0]:.2f} to {limits[1]:.2f}" if limits else ""


def confusions(metrics: MetricsRecord) -> list[View]:
    """The most frequent confusions of one class with another, with counts and the share of the true class."""
    sums = (sum(row) for row in metrics.test.confusion)
    totals = dict(zip(metrics.classes, sums, strict=False)) or {row.name: row.support for row in metrics.test.rows}
    return [
        {"count": one.count, "total": totals[one.true], "true": one.true, "predicted": one.predicted,
         **placed(one.count / totals[one.true], None)}
        for one in (metrics.test.confused or _confused(metrics))[:CONFUSIONS]
        if totals.get(one.true)
    ]  # fmt: skip


def _confused(metrics: MetricsRecord) -> list[Confusion]:
    """Of the confusion matrix, the mistakes made most often first."""
    matrix, names = np.array(metrics.test.confusion, int), metrics.classes
    if not matrix.size:
        return []
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")
    pairs = ((int(cell) // len(names), int(cell) % len(names)) for cell in order)
    return [Confusion(names[i], names[j], int(wrong[i, j])) for i, j in pairs if wrong[i, j]]


def gain(metrics: MetricsRecord) -> str | None:
    """What twice the pictures would change, by the learning curve."""
    curve = metrics.learning_curve
    if curve is None or curve.fit is None:
        return None
    low, high = (f"{100 * gain:+.1f}" for gain in (curve.fit.gain_low, curve.fit.gain_high))
    simplest = terms.rival("linear_probe", metrics.task).phrase
    return (
        f"Each point is {simplest}, trained on a part of the training pictures. Twice the pictures "
        f"would change its {terms.score(curve.metric)} on validation by {low} to {high} points (90 % range)."
    )


def abstention(metrics: MetricsRecord) -> list[View]:
    """What answering only when confident reaches, as text."""
    return [
        {
            "accuracy": f"{100 * row.accuracy:.0f} %",
            "threshold": number(row.threshold) if row.threshold is not None else _needed(row),
            "cells": [
                "–" if share is None else f"{100 * share:.0f} %"
                for share in (row.coverage, row.test_coverage, row.test_accuracy)
            ],
        }
        for row in metrics.abstention
    ]


def _needed(row: AbstentionLevel) -> str:
    """Why there is no threshold."""
    if not row.has("needed"):  # of an earlier version
        return "–"
    wanted = row.needed
    return "no confidence" if wanted is None else f"unproven; takes about {wanted:,} validation pictures"


def tried(metrics: MetricsRecord) -> View | None:
    """The candidates of a classifier chosen by cross-validation, best first, and what to expect of the choice.

    None where nothing was chosen so.
    """
    rows, judged = metrics.candidates, metrics.cross_validation
    if not rows:
        return None
    metric = terms.score(judged.metric if judged else "score")
    return {
        "metric": metric,
        "rows": [_candidate(row) for row in rows[:MOST]],
        "left": max(0, len(rows) - MOST),
        "expected": _expected(judged, metric) if judged else None,
        "unfrozen": metrics.unfrozen.words if metrics.unfrozen else "",
        "unlabeled": metrics.unlabeled.words if metrics.unlabeled else "",
    }


def networks(metrics: MetricsRecord) -> View | None:
    """The networks that were compared, the chosen one first, and those that were left out; None where none were."""
    found = metrics.portfolio
    if found is None:
        return None
    return {
        "metric": terms.score(found.metric),
        "first": found.networks[0].network,
        "rows": [_network(row) for row in sorted(found.networks, key=lambda row: not row.chosen)[:MOST]],
        "more": _made(found),
        "left": [{"name": row.network, "why": row.why} for row in found.left_out],
    }


def _made(found: PortfolioRecord) -> list[str]:
    """What was made of the networks, and what is said of all of it."""
    said = [found.together.words if found.together else "", found.tail]
    said += [one.words for one in (found.forecast, found.distilled) if one is not None]
    made = [row.words for row in found.refined] + [f"not tried: {what}" for what in found.untried]
    return made + [text for text in said if text]


def _network(row: ComparedNetwork) -> View:
    between = f" ({figure(row.ci95[0])} to {figure(row.ci95[1])})" if row.ci95 else ""
    return {
        "name": row.network,
        "classifier": terms.candidate(row.classifier, row.features),
        "score": f"{figure(row.score)}{between}",
        "gain": "–" if row.gain is None else f"{figure(row.gain, '+')} ± {figure(row.gain_se)}",
        "time": duration(row.seconds),
        "chosen": row.chosen,
    }


def _candidate(row: HeadCandidate) -> View:
    def told(value: float | None, more: str = "") -> str:
        return "–" if value is None and not more else "" if value is None else f"{more}{figure(value)}"

    setting = (row.setting or {}).items()
    judged = f", on {row.judged_on} alone" if row.judged_on else ""
    judged += f", on {row.pictures:,} pictures" if row.pictures else ""
    return {
        "name": row.name or f"{row.classifier} on {row.features}",
        "setting": ", ".join(f"{key} {figure(v) if isinstance(v, float) else v}" for key, v in setting),
        "score": told(row.score) + told(row.spread, " ± ") + judged,
        "behind": "best" if row.behind_best == 0 else told(row.behind_best) + told(row.behind_best_se, " ± "),
        "chosen": row.chosen,
        "given_up": row.given_up,
    }


def _expected(judged: CrossValidation, metric: str) -> str | None:
    if judged.score is None:
        return None
    limits = judged.ci95
    between = f" (95 % interval {figure(limits[0])} to {figure(limits[1])})" if limits else ""
    rounds = f" in {judged.rounds} rounds" if judged.rounds != 1 else ""
    how = f", {judged.folds} folds{rounds}" if judged.folds else ""
    return (
        f"Expected of choosing so, on pictures that had no say in the choice: {metric} {figure(judged.score)}"
        f"{between}{how}."
    )
