"""Network outputs to answers, and answers to the files of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from transferkit import tasks
from transferkit.csv_files import write_csv
from transferkit.data.samples import Samples
from transferkit.errors import DataError
from transferkit.evaluation import metric_registry, metrics
from transferkit.features import working_arrays
from transferkit.record import HistoryRow
from transferkit.runs.layout import Layout
from transferkit.tasks.task import parts
from transferkit.training.fit import StoppingMetric


def judge(samples: Samples, name: str, units: tuple[np.ndarray, np.ndarray] | None) -> StoppingMetric:
    """What validation is judged by: raw outputs of the network in, the chosen metric out.

    Args:
        samples: the validation pictures.
        name: of the metric, or "auto".
        units: mean and deviation of numbers.

    Raises:
        DataError: the pictures leave the metric undefined, or the same whatever the network may answer: training would
            be steered by nothing.
    """
    task, classes = samples.task, list(samples.classes)
    name = samples.kind.default_metric if name == "auto" else name
    goal = metric_registry.goal(name, task)
    worst = -np.inf if goal.direction == "max" else np.inf

    def value(outputs: np.ndarray) -> float | None:
        if units is None:
            made = partial(answer, task, temperature=1.0, units=None)
            return metrics.one(task, goal.key, samples.targets, outputs, classes, goal.extra, made)
        # Of numbers, as exactly as they are known: rounding to float32 can hide which epoch was better.
        answers = outputs * units[1] + units[0]
        return metrics.one(task, goal.key, samples.targets, answers, classes, goal.extra)

    def score(outputs: np.ndarray) -> float:
        found = value(outputs)
        return float(worst if found is None else found)

    if not _tells(value, samples, units, goal.plugin):
        raise DataError(
            f"--metric {name} says nothing on the {len(samples)} validation pictures{_why(samples)}; choose another "
            f"(--metric {samples.kind.safe_metric}), or give validation other pictures (--split, --seed)"
        )
    return StoppingMetric(name, goal.direction == "max", score)


def _tells(
    value: Callable[[np.ndarray], float | None], samples: Samples, units: tuple[np.ndarray, np.ndarray] | None,
    plugin: bool,
) -> bool:  # fmt: skip
    """Whether `value` of outputs is defined and, but for a plugin's, differs between right, wrong and random ones."""
    right = samples.kind.sure(samples.targets, len(samples.classes))
    if units is not None:
        right = (right - units[0]) / units[1]
    rng, found = np.random.default_rng(0), set()

    def drawn() -> np.ndarray:
        return np.asarray(rng.standard_normal(right.shape))

    # One after the other: of many classes each of them is large.
    for made in (drawn, lambda: right, lambda: -right, drawn):
        found.add(value(made()))
        if plugin or len(found - {None}) > 1:
            return None not in found
    return False


def _why(samples: Samples) -> str:
    """What about the validation targets leaves a metric undefined, where it is plain to see."""
    targets, kind = np.asarray(samples.targets), samples.kind
    if kind.exclusive:
        found = np.unique(targets)
        return f": all are of class '{samples.classes[found[0]]}'" if len(found) == 1 else ""
    if (targets == targets[0]).all():
        named = samples.label(0) or "none"
        return f": all have the label {named}" if not kind.numbers else f": the target is {named} in all"
    return ": some targets are 0" if kind.numbers and (targets == 0).any() else ""


def answer(
    task: str, outputs: np.ndarray, temperature: float, units: tuple[np.ndarray, np.ndarray] | None
) -> np.ndarray:
    """Network outputs as the shipped model answers.

    Args:
        task: says what they mean.
        outputs: [n, t].
        temperature: of calibration.
        units: mean and deviation of numbers.

    Returns:
        Probabilities, or numbers in the user's units, [n, C].
    """
    if units is not None:  # in float32, as the model computes
        outputs, units = np.asarray(outputs, np.float32), (units[0].astype(np.float32), units[1].astype(np.float32))
        return tasks.of(task).answers(outputs, temperature, units)
    answers = (tasks.of(task).answers(outputs[rows], temperature, units) for rows in parts(outputs))
    return np.asarray(working_arrays.filled(len(outputs), answers))


def write_history(path: Path, rows: Sequence[HistoryRow]) -> None:
    """history.csv: columns in order of first appearance, empty where a phase has no such value.

    Args:
        path: of the file.
        rows: one an epoch.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["phase", "epoch"]
    write_csv(path, columns, [["" if row.get(c) is None else row[c] for c in columns] for row in rows])


def write_predictions(
    layout: Layout, samples: Samples, outputs: np.ndarray, thresholds: Sequence[float] | None
) -> None:
    """predictions.csv: path,label,predicted,confidence,p_<class>… (regression: the numbers, no confidence).

    Args:
        layout: of the run.
        samples: the test pictures.
        outputs: answers [n, C].
        thresholds: of labels; None: 0.5.
    """
    classes, task = list(samples.classes), samples.task
    header = ["path", "label", "predicted", "confidence"]
    header += [samples.kind.prefix + name for name in classes]

    def cells(i: int, row: np.ndarray) -> list[str]:
        label, confidence = decide(task, row, classes, thresholds)
        return [samples.paths[i], samples.label(i), label, confidence, *(f"{v:.9g}" for v in row)]

    every = ((i, outputs[i]) for some in parts(outputs) for i in range(len(outputs))[some])
    write_csv(layout.predictions, header, (cells(i, row) for i, row in every))


def decide(task: str, row: np.ndarray, classes: list[str], thresholds: Sequence[float] | None) -> tuple[str, str]:
    """The answer in words and its confidence, of one output row.

    Args:
        task: says what the answers mean.
        row: one picture's answers [C].
        classes: their names.
        thresholds: of labels; None: 0.5.
    """
    return tasks.of(task).words(row, classes, thresholds)
