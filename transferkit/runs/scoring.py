"""Predictions by the shipped model, and their scores: the same path for a run's test split and for new data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute
from transferkit.console import Reporter
from transferkit.data.decode import DecodeSettings, PictureError, decode_many
from transferkit.data.samples import Pixels, Samples, Source
from transferkit.evaluation import intervals, metrics

if TYPE_CHECKING:
    import keras

BATCH = 32


def stream(
    model: keras.Model,
    sources: Sequence[Source],
    settings: DecodeSettings,
    on_error: Callable[[int, PictureError], None] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """(index, output row) of every readable picture, in order; memory holds a window of pictures only."""
    run = compute.forward(model)
    pending: list[tuple[int, Pixels]] = []

    def flush() -> Iterator[tuple[int, np.ndarray]]:
        pixels = np.stack([p for _, p in pending])
        # One shape, one trace: the last batch is filled up.
        filled = np.concatenate([pixels, np.repeat(pixels[:1], BATCH - len(pixels), axis=0)])
        rows = run([filled])[0]
        yield from ((index, rows[i]) for i, (index, _) in enumerate(pending))

    for item in decode_many(sources, settings, on_error=on_error):
        pending.append(item)
        if len(pending) == BATCH:
            yield from flush()
            pending = []
    if pending:
        yield from flush()


def predictions(
    model: keras.Model, samples: Samples, settings: DecodeSettings, reporter: Reporter, title: str
) -> np.ndarray:
    """Model outputs [N, t] of all samples. Raises PictureError for a picture that cannot be read."""
    rows = []
    with reporter.progress(title, len(samples)) as advance:
        for _, row in stream(model, samples.sources(), settings):
            rows.append(row)
            advance(1)
    return np.stack(rows) if rows else np.zeros((0, len(samples.classes)), np.float32)


def scores(samples: Samples, outputs: np.ndarray, seed: int, thresholds: np.ndarray | None = None) -> dict[str, Any]:
    """All metrics of `outputs`, with 95 % intervals of the ones people quote."""
    found = metrics.score(samples.task, samples.targets, outputs, list(samples.classes), thresholds=thresholds)
    found["n"] = len(samples)
    if samples.task == "classify":
        hits = int((outputs.argmax(1) == samples.targets).sum())
        found["accuracy_ci95"] = list(intervals.wilson(hits, len(samples)))
    for name in {"classify": ("macro_f1",), "multilabel": ("macro_f1", "map"), "regress": ("mae", "rmse")}[
        samples.task
    ]:
        interval = _interval(name, samples, outputs, seed, thresholds)
        if interval is not None:
            found[f"{name}_ci95"] = interval
    return found


def _interval(
    name: str, samples: Samples, outputs: np.ndarray, seed: int, thresholds: np.ndarray | None
) -> list[float] | None:
    """Percentile bootstrap of a metric."""
    task, classes = samples.task, list(samples.classes)
    if task == "classify":
        found = intervals.bootstrap(name, samples.targets, outputs, seed=seed, stratify=True)
    else:

        def metric(targets: Any, guesses: Any) -> float | None:
            value: float | None = metrics.score(task, targets, guesses, classes, thresholds=thresholds)[name]
            return value

        found = intervals.bootstrap(metric, samples.targets, outputs, seed=seed, repeats=200)
    return None if found is None else [float(found[0]), float(found[1])]
