"""Network outputs to answers, and answers to the files of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from transferkit.data.samples import Samples
from transferkit.evaluation import calibration, goals, metrics
from transferkit.files import write_csv
from transferkit.runs.layout import Layout
from transferkit.training.fit import Goal


def judge(samples: Samples, name: str, units: tuple[np.ndarray, np.ndarray] | None) -> Goal:
    """What validation is judged by: raw outputs of the network in, the chosen metric out."""
    task, classes = samples.task, list(samples.classes)
    name = goals.DEFAULT_GOAL[task] if name == "auto" else name
    goal = goals.goal(name, task)
    worst = -np.inf if goal.direction == "max" else np.inf

    def score(outputs: np.ndarray) -> float:
        answers = answer(task, outputs, 1.0, units)
        value = metrics.score(task, samples.targets, answers, classes, extra=goal.extra)[goal.key]
        return float(worst if value is None else value)

    return Goal(name, goal.direction == "max", score)


def answer(
    task: str, outputs: np.ndarray, temperature: float, units: tuple[np.ndarray, np.ndarray] | None
) -> np.ndarray:
    """Network outputs [n, t] as the shipped model answers: probabilities, or numbers in the user's units."""
    if task == "regress":
        assert units is not None
        return np.asarray(outputs * units[1] + units[0])
    return np.asarray(calibration.apply_temperature(outputs, temperature, task))


def write_history(path: Path, rows: list[dict[str, Any]]) -> None:
    """history.csv: columns in order of first appearance, empty where a phase has no such value."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    write_csv(path, columns, [["" if row.get(c) is None else row[c] for c in columns] for row in rows])


def write_predictions(layout: Layout, samples: Samples, outputs: np.ndarray, facts: dict[str, Any]) -> None:
    """predictions.csv: path,label,predicted,confidence,p_<class>… (regression: the numbers, no confidence)."""
    classes, task = list(samples.classes), samples.task
    header = ["path", "label", "predicted", "confidence"]
    header += [("y_" if task == "regress" else "p_") + name for name in classes]
    rows = []
    for i, row in enumerate(outputs):
        label, confidence = decide(task, row, classes, facts["thresholds"])
        rows.append([samples.paths[i], samples.label(i), label, confidence, *(f"{v:.9g}" for v in row)])
    write_csv(layout.predictions, header, rows)


def decide(task: str, row: np.ndarray, classes: list[str], thresholds: list[float] | None) -> tuple[str, str]:
    """The answer in words and its confidence, of one output row."""
    if task == "regress":
        return ";".join(f"{v:.9g}" for v in row), ""
    if task == "classify":
        best = int(row.argmax())
        return classes[best], f"{row[best]:.9g}"
    limits = thresholds if thresholds is not None else [0.5] * len(row)
    on = [name for name, p, limit in zip(classes, row, limits, strict=True) if p >= limit]
    # How sure the least sure of its decisions is.
    sure = min(p if p >= limit else 1 - p for p, limit in zip(row, limits, strict=True))
    return ";".join(on), f"{sure:.9g}"
