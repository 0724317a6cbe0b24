"""Numbers from a picture, learnt standardised, answered in the user's units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.tasks.task import Array, Floats, Strata, Task, Units

QUANTILES = 10  # strata of a number's values at most


class Regress(Task):
    """One number or several."""

    name = "regress"
    form = "numbers"
    losses = {"squared": "squared", "absolute": "absolute", "huber": "huber"}  # noqa: RUF012
    smooths = False
    link = "identity"
    candidates = ("ridge", "neighbours", "kernel")
    metrics = ("loss", "mae", "median_ae", "rmse", "mape", "r2", "spearman")
    default_metric = "mae"
    faultless = ("mae", 0)
    judged_by = "r2"
    shown_first = ("mae", "median_ae", "rmse", "r2", "spearman")
    hub_metrics = ("mae", "r2")
    headline = "off"
    safe_metric = "mae"
    kind, output, outputs, named = "numbers from images", "target", "targets", "targets"
    does = "Estimates numbers from a picture."
    majority = ("always the median of training", "always answering the median of training")
    ignorant = "always giving the median of training"
    tta_measure = "mean absolute error in standard deviations"
    keras_loss, keras_metric = "mean_squared_error", "mean_absolute_error"
    card_answer = "print(dict(zip(classes, scores.tolist())))"

    def counts(self, targets: Array, classes: int) -> Array:
        """See `Task`."""
        return np.asarray(np.isfinite(targets).sum(axis=0))

    def label(self, target: Any, classes: Sequence[str]) -> str:
        """See `Task`."""
        return ";".join(str(float(value)) for value in target)

    def strata(self, targets: Array) -> Strata:
        """Quantile bins of each number."""
        picture, label = np.nonzero(np.concatenate([_bins(column) for column in targets.T], axis=1))
        return picture, label

    def encoded(self, targets: Array, classes: int, train: Array) -> tuple[npt.NDArray[np.float32], Units | None]:
        """Standardised by the training pictures."""
        # In float64 until they are standardised: dates and ids vary in digits that float32 does not have.
        exact = np.asarray(targets, np.float64)
        mean, deviation = exact[train].mean(0), exact[train].std(0)
        # The deviation of what does not vary is rounding noise.
        units = (mean, np.where(np.ptp(exact[train], axis=0) > 0, deviation, 1.0))
        return ((exact - units[0]) / units[1]).astype(np.float32), units

    def smoothed(self, encoded: npt.NDArray[np.float32], amount: float) -> npt.NDArray[np.float32]:
        """As they are."""
        return encoded

    def sure(self, targets: Array, classes: int) -> Floats:
        """In the user's units; who knows the units standardises."""
        return np.asarray(targets, np.float64)

    def guessing(self, classes: int) -> float | None:
        """See `Task`."""
        return None

    def answers(self, logits: Array, temperature: float, units: Units | None) -> Floats:
        """In the user's units."""
        mean, deviation = units if units is not None else (np.zeros(1), np.ones(1))
        return np.asarray(logits * deviation + mean, np.float64)

    def output_layers(self, temperature: float, units: Units | None) -> list[Callable[[Any], Any]]:
        """See `Task`."""
        import keras

        mean, deviation = units if units is not None else (np.zeros(1), np.ones(1))
        return [
            keras.layers.Rescaling(
                [float(d) for d in deviation], [float(m) for m in mean], dtype="float32", name="target_units"
            )
        ]

    def words(self, row: Array, classes: Sequence[str], thresholds: Sequence[float] | None) -> tuple[str, str]:
        """The numbers, which have no confidence."""
        return ";".join(f"{value:.9g}" for value in row), ""

    def constant(self, targets: Array, classes: int) -> Floats:
        """The medians."""
        return np.asarray(np.median(targets.reshape(len(targets), -1), axis=0), np.float64)

    def per_picture(self, key: str, targets: Array, answers: Floats) -> Floats | None:
        """See `Task`."""
        true = np.asarray(targets, np.float64).reshape(answers.shape)
        if key == "mae":
            return np.asarray(np.abs(true - answers).mean(1))
        spread = true.var(0)
        if key == "r2" and (spread > 0).all():
            return np.asarray(1 - ((true - answers) ** 2 / spread).mean(1))
        return None

    def gains(self, key: str, targets: Array, answers: Floats, units: Units | None) -> Floats | None:
        """The squared error orders as RMSE and R² do."""
        if key not in ("mae", "rmse", "r2"):
            return None
        error = np.abs(answers - np.asarray(targets, np.float64).reshape(answers.shape))
        if key == "mae":  # in the user's units, as the goal is
            return -np.asarray(error.mean(1))
        scale = np.ones(error.shape[1]) if units is None else units[1]
        return -np.asarray(((error / scale) ** 2).mean(1))

    def surprise(self, targets: Array, answers: Array) -> Floats:
        """See `Task`."""
        off = np.abs(answers - targets) / np.maximum(targets.std(axis=0), 1e-12)
        return np.asarray(off.mean(axis=1))

    def agreement(self, reference: Array, outputs: Array, thresholds: Array | None, tie: float) -> float | None:
        """Numbers are compared by their distance."""
        return None


def _bins(values: Array) -> npt.NDArray[np.int32]:
    """One-hot quantile bins [N, B]; at most ten, and at least about ten samples in each."""
    count = max(2, min(QUANTILES, len(values) // 10))
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]))
    one_hot = np.zeros((len(values), len(edges) + 1), dtype=np.int32)
    one_hot[np.arange(len(values)), np.searchsorted(edges, values, side="left")] = 1
    return one_hot


TASK = Regress()
