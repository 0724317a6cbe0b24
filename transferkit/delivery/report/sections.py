"""Tables of a report as text: scores, classes, confusions, what was tried. Bounded, however many classes there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from transferkit import tasks, terms
from transferkit.console import figure
from transferkit.delivery.report.content import ReportContent
from transferkit.delivery.report.first_screen import placed
from transferkit.delivery.report.numbers import interval, is_number, number

View = dict[str, Any]
SHORT = {"recall": "recall", "mae": "MAE", "rmse": "RMSE", "median_ae": "median AE", "support": "pictures"}
SCORES, CLASSES, MOST = 5, 12, 100  # scores and classes shown unasked; classes in the page at all


def score_table(metrics: Mapping[str, Any], task: str = tasks.SINGLE, goal: str = "") -> View | None:
    """Every scalar score of test and validation as text: the first `SCORES` in `rows`, all others in `more`."""
    splits = [split for split in ("test", "val") if metrics.get(split)]
    found = dict.fromkeys(k for s in splits for k, v in metrics[s].items() if (v is None or is_number(v)) and k != "n")
    keys = [key for key in dict.fromkeys((goal, *tasks.of(task).shown_first, *found)) if key in found]
    if not keys:
        return None
    rows = [
        {
            "name": terms.score(k),
            "cells": [number(metrics[s].get(k), k) for s in splits],
            "intervals": [interval(metrics[s], k) for s in splits],
        }
        for k in keys
    ]
    columns = [terms.part(split) for split in splits]
    sizes = [metrics[split].get("n") for split in splits]
    return {"columns": columns, "sizes": sizes, "rows": rows[:SCORES], "more": rows[SCORES:]}


def classes(task: str, test: Mapping[str, Any]) -> View | None:
    """The table of classes, the worst first: `rows` of text; `bars` of F1, where it is known, on a scale to 100."""
    numbers = tasks.of(task).numbers
    first = "target" if numbers else "class"
    rows = list(test.get(f"per_{first}") or [])
    if not rows:
        return None
    columns = [key for key in rows[0] if key != first and not key.endswith("_ci95")]
    if not numbers:  # the worst first, what is unknown last
        rows.sort(key=lambda row: math.inf if row.get("f1") is None else row["f1"])
    cells = [
        {
            "name": row[first],
            "cells": [number(row.get(key), key) for key in columns],
            "intervals": [interval(row, key) for key in columns],
        }
        for row in rows[:MOST]
    ]
    drawn = [_bar(row) for row in rows if row.get("f1") is not None][:MOST] if not numbers else []
    return {
        "columns": [SHORT.get(key) or terms.score(key) for key in columns], "rows": cells,
        "left": len(rows) - len(cells), "bars": drawn[:CLASSES], "more": drawn[CLASSES:],
    }  # fmt: skip


def _bar(row: Mapping[str, Any]) -> View:
    return {
        "name": row["class"], "note": f"{row['support']:,} test pictures" if "support" in row else "", "own": False,
        "text": f"{row['f1']:.2f}", "interval": _short(row.get("f1_ci95")), **placed(row["f1"], row.get("f1_ci95")),
    }  # fmt: skip


def _short(limits: Any) -> str:
    return f"{limits[0]:.2f} to {limits[1]:.2f}" if limits else ""


def confusions(content: ReportContent, test: Mapping[str, Any], most: int = 8) -> list[View]:
    """The most frequent confusions of one class with another, with counts and the share of the true class."""
    matrix, names = np.asarray(test.get("confusion") or np.zeros((0, 0)), int), content.get("classes") or []
    if not matrix.size or len(names) != len(matrix):
        return []
    totals, wrong = matrix.sum(axis=1), matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(cell) // len(names), int(cell) % len(names)) for cell in order]
    return [
        {"count": int(wrong[i, j]), "total": int(totals[i]), "true": names[i], "predicted": names[j],
         **placed(wrong[i, j] / totals[i], None)}
        for i, j in pairs
        if wrong[i, j]
    ]  # fmt: skip


def gain(content: ReportContent) -> str | None:
    """What twice the pictures would change, by the learning curve."""
    fit = (content.get("learning_curve") or {}).get("fit")
    if not fit:
        return None
    low, high = (f"{100 * fit[key]:+.1f}" for key in ("gain_low", "gain_high"))
    simplest = terms.rival("linear_probe", content.get("task", tasks.SINGLE)).phrase
    return (
        f"Each point is {simplest}, trained on a part of the training pictures. Twice the pictures "
        f"would change its validation score by {low} to {high} points (90 % range)."
    )


def abstention(metrics: Mapping[str, Any]) -> list[View]:
    """What answering only when confident reaches, as text."""
    return [
        {
            "accuracy": f"{100 * row['accuracy']:.0f} %",
            "threshold": number(row["threshold"]) if row["threshold"] is not None else _needed(row),
            "cells": [
                "–" if row.get(key) is None else f"{100 * row[key]:.0f} %"
                for key in ("coverage", "test_coverage", "test_accuracy")
            ],
        }
        for row in metrics.get("abstention") or []
    ]


def _needed(row: Mapping[str, Any]) -> str:
    """Why there is no threshold."""
    if "needed" not in row:  # of an earlier version
        return "–"
    wanted = row["needed"]
    return "no confidence" if not is_number(wanted) else f"unproven; takes about {wanted:,} validation pictures"


def tried(metrics: Mapping[str, Any]) -> View | None:
    """The candidates of a classifier chosen by cross-validation, best first, and what to expect of the choice.

    None where nothing was chosen so. Rows are taken as they are found: any of their cells may be missing.
    """
    rows = metrics.get("candidates")
    if not isinstance(rows, list) or not rows:
        return None
    judged = metrics.get("cross_validation") or {}
    metric = terms.score(str(judged.get("metric", "score")))
    return {
        "metric": metric,
        "rows": [_candidate(row) for row in rows[:MOST]],
        "left": max(0, len(rows) - MOST),
        "expected": _expected(judged, metric),
        "unfrozen": str((metrics.get("unfrozen") or {}).get("words") or ""),
    }


def _candidate(row: Mapping[str, Any]) -> View:
    def told(key: str, sign: str = "") -> str:
        return figure(row[key], sign) if is_number(row.get(key)) else "–"

    behind = told("behind_best")
    error = f" ± {told('behind_best_se')}" if is_number(row.get("behind_best_se")) else ""
    setting = row.get("setting")
    if isinstance(setting, Mapping):
        setting = ", ".join(f"{key} {figure(v) if isinstance(v, float) else v}" for key, v in setting.items())
    return {
        "name": row.get("name") or f"{row.get('classifier', '?')} on {row.get('features', '?')}",
        "setting": "" if setting is None else str(setting),
        "score": told("score")
        + (f" ± {told('spread')}" if is_number(row.get("spread")) else "")
        + (f", on {row['judged_on']} alone" if row.get("judged_on") else ""),
        "behind": "best" if row.get("behind_best") == 0 else behind + error,
        "chosen": bool(row.get("chosen")),
        "given_up": bool(row.get("given_up")),
    }


def _expected(judged: Mapping[str, Any], metric: str) -> str | None:
    if not is_number(judged.get("score")):
        return None
    limits = judged.get("ci95")
    between = f" (95 % interval {figure(limits[0])} to {figure(limits[1])})" if limits else ""
    rounds, folds = judged.get("rounds"), judged.get("folds")
    how = f", {folds} folds" + (f" in {rounds} rounds" if (rounds or 1) != 1 else "") if folds else ""
    return (
        f"Expected of choosing so, on pictures that had no say in the choice: {metric} {figure(judged['score'])}"
        f"{between}{how}."
    )
