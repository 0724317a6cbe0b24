"""One run on one page: a self-contained HTML report that asks nothing of the network and trusts no name."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transferkit import files, terms
from transferkit.console import figure
from transferkit.delivery import statements
from transferkit.delivery.content import Example, ReportContent
from transferkit.delivery.drawings import Drawing, drawings
from transferkit.evaluation.goals import DEFAULT_GOAL, GOALS, check_task
from transferkit.text import safe

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Example", "ReportContent", "render", "write_report"]

TEMPLATES = Path(__file__).parent / "templates"
THUMBNAIL = 224  # pixels on the long side
SHORT = {"recall": "recall", "mae": "MAE", "rmse": "RMSE", "median_ae": "median AE"}  # over a table


def write_report(content: ReportContent, path: Path, drawn: Mapping[str, Drawing] | None = None) -> Path:
    """Write the report as one HTML file, whole or not at all, and return its path.

    No script, no external address; class and file names are escaped. Light or dark as the reader's system is. `drawn`
    are the content's `drawings`, where somebody has them already.
    """
    path = Path(path)
    files.write_text(path, render(content, drawn))
    return path


def render(content: ReportContent, drawn: Mapping[str, Drawing] | None = None) -> str:
    """The report as HTML text."""
    task = content.get("task", "classify")
    check_task(task)
    metrics = content.get("metrics") or {}
    view = {
        "c": {**dict.fromkeys(ReportContent.__annotations__), "title": "Run", **content},
        "headline": headline(content, task, metrics),
        "bars": bars(content, task, metrics),
        "diagnosis": metrics.get("diagnosis"),
        "scores": score_table(metrics),
        "classes": _classes(task, metrics.get("test") or {}),
        "confusions": _confusions(content, metrics.get("test") or {}),
        "figures": {key: _figure(d) for key, d in (drawn or drawings(content, task)).items()},
        "gain": _gain(content),
        "abstention": _abstention(metrics),
        "timings": [(stage, duration(seconds)) for stage, seconds in (content.get("timings") or {}).items()],
        "settings": [(name, plain(value)) for name, value in (content.get("settings") or {}).items()],
        "examples": {
            "errors": _examples(content.get("errors")),
            "confident": _examples(content.get("confident")),
            "uncertain": _examples(content.get("uncertain")),
        },
    }
    # Neither lone surrogates of names that are no valid UTF-8, nor what a terminal that shows the file would obey.
    text = environment(escape=True).get_template("report.html.j2").render(view)
    return safe(text.encode("utf-8", "replace").decode())


def environment(*, escape: bool) -> Environment:
    """Jinja2 over the templates of this room; a missing variable is an error, not a blank."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(TEMPLATES)
    result = Environment(loader=loader, autoescape=escape, undefined=StrictUndefined, trim_blocks=True)
    result.filters["percent"] = lambda value: f"{100 * value:.0f} %"
    result.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    return result


# ---------------------------------------------------------------------------------------------- numbers


def goal_of(content: ReportContent, task: str) -> str:
    """The key of the score to show first."""
    name = content.get("goal") or DEFAULT_GOAL[task]
    return GOALS[name].key if name in GOALS else name


def number(value: Any, key: str = "") -> str:
    """A score as text; – where it is undefined."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if key in ("n", "support"):
        return str(value)
    if key in ("accuracy", "balanced_accuracy", "subset_accuracy", "top3_accuracy", "top5_accuracy"):
        return f"{100 * value:.1f} %"
    return figure(float(value))


def words(key: str) -> str:
    """A score's key in words."""
    return terms.score(key)


def plain(value: Any) -> str:
    """A setting as a person would write it."""
    if isinstance(value, list | tuple | set):
        return ", ".join(str(part) for part in value) or "none"
    return "–" if value is None else str(value)


def duration(seconds: float) -> str:
    """Seconds in the unit a person would choose."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def headline(content: ReportContent, task: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The score to show first, its interval, and how this task names its outputs."""
    key, test = goal_of(content, task), metrics.get("test") or {}
    value = test.get(key)
    kinds = {
        "classify": "image classification",
        "multilabel": "labels of images",
        "regress": "numbers from images",
    }
    output = {"classify": "class", "multilabel": "label", "regress": "target"}[task]
    return {
        "kind": kinds[task],
        "output": output,
        "outputs": output + ("es" if output == "class" else "s"),
        "name": words(key),
        "n": test.get("n", "the"),
        "value": None if value is None else number(value, key),
        "interval": interval(test, key) or None,
        "notes": _notes(metrics, key),
    }


def _notes(metrics: Mapping[str, Any], key: str) -> list[str]:
    """What else must be known of the headline: rivals, earlier looks at the same pictures, broken promises."""
    seen = statements.looks(metrics)
    if seen == "never used before":
        seen = None
    notes = (statements.winner(metrics, key), statements.alike(metrics, key), seen, statements.calibrated(metrics))
    return [note[:1].upper() + note[1:] + "." for note in (*notes, *statements.abstaining(metrics)) if note]


def bars(content: ReportContent, task: str, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model beside its baselines, widths in percent; empty where there is nothing to compare."""
    key = goal_of(content, task)
    rows = [("this model", (metrics.get("test") or {}).get(key), True)]
    rivals = metrics.get("baselines") or {}
    rows += [(terms.rival(name, task).label, scores.get(key), False) for name, scores in rivals.items()]
    known = [(name, float(value), own) for name, value, own in rows if value is not None]
    if len(known) < 2:
        return []
    top = max(abs(value) for _, value, _ in known) if task == "regress" or key == "loss" else 1.0
    return [
        {
            "name": name,
            "own": own,
            "text": number(value, key),
            "width": round(100 * max(value, 0) / (top or 1), 1),
        }
        for name, value, own in known
    ]


def interval(scores: Mapping[str, Any], key: str) -> str:
    """The 95 % interval of a score as text; empty where it has none."""
    limits = scores.get(f"{key}_ci95")
    return " to ".join(number(end, key) for end in limits) if limits else ""


def score_table(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Every scalar score of validation and test as text."""
    splits = [split for split in ("val", "test") if metrics.get(split)]
    keys = list(dict.fromkeys(k for s in splits for k, v in metrics[s].items() if v is None or _is_number(v)))
    if not keys:
        return None
    rows = [
        {
            "name": words(k),
            "cells": [number(metrics[s].get(k), k) for s in splits],
            "intervals": [interval(metrics[s], k) for s in splits],
        }
        for k in keys
    ]
    return {"columns": [{"val": "validation"}.get(split, split) for split in splits], "rows": rows}


def _classes(task: str, test: Mapping[str, Any]) -> dict[str, Any] | None:
    rows = list(test.get("per_target" if task == "regress" else "per_class") or [])
    if not rows:
        return None
    first = "target" if task == "regress" else "class"
    columns = [key for key in rows[0] if key != first and not key.endswith("_ci95")]
    if task != "regress":  # the worst first, what is unknown last
        rows.sort(key=lambda row: math.inf if row.get("f1") is None else row["f1"])
    cells = [
        {
            "name": row[first],
            "cells": [number(row.get(key), key) for key in columns],
            "intervals": [interval(row, key) for key in columns],
        }
        for row in rows
    ]
    return {"columns": [SHORT.get(key) or words(key) for key in columns], "rows": cells}


def _confusions(content: ReportContent, test: Mapping[str, Any], most: int = 8) -> list[dict[str, Any]]:
    matrix, names = np.asarray(test.get("confusion") or np.zeros((0, 0)), int), content.get("classes") or []
    if not matrix.size or len(names) != len(matrix):
        return []
    totals, wrong = matrix.sum(axis=1), matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(cell) // len(names), int(cell) % len(names)) for cell in order]
    return [
        {"count": int(wrong[i, j]), "total": int(totals[i]), "true": names[i], "predicted": names[j]}
        for i, j in pairs
        if wrong[i, j]
    ]


def _gain(content: ReportContent) -> str | None:
    fit = (content.get("learning_curve") or {}).get("fit")
    if not fit:
        return None
    low, high = (f"{100 * fit[key]:+.1f}" for key in ("gain_low", "gain_high"))
    return (
        "Each point is a linear probe on the frozen features, trained on a part of the training pictures. "
        f"Twice the pictures would change its validation score by {low} to {high} points (90 % range)."
    )


def _abstention(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
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
    return "no confidence" if wanted is None else f"unproven; takes about {wanted:,} validation pictures"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# ---------------------------------------------------------------------------------------------- pictures


def _figure(drawing: Drawing) -> dict[str, Any]:
    light, dark = drawing.addresses()
    return {"alt": drawing.alt, "wide": drawing.wide, "light": light, "dark": dark}


def _examples(examples: Sequence[Example] | None) -> list[dict[str, Any]]:
    blank: dict[str, Any] = dict.fromkeys(Example.__annotations__)
    return [
        {**blank, **e, "picture": _thumbnail(e.get("picture")), "overlay": _thumbnail(e.get("overlay"))}
        for e in examples or []
    ]


def _thumbnail(picture: npt.NDArray[np.uint8] | None) -> str | None:
    """A small JPEG of uint8 [H, W, 3] as a `data:` address."""
    if picture is None:
        return None
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
