"""Any number of labels a picture: one sigmoid a label, each with a threshold of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.tasks.task import TINY, Array, Floats, Strata, Task, Units


class MultiLabel(Task):
    """Every label is a question of its own."""

    name = "multilabel"
    form = "labels"
    losses = {"crossentropy": "binary_cross_entropy"}  # noqa: RUF012
    candidates = ("ridge", "logistic by label", "neighbours", "kernel")
    link = "sigmoid"
    share_shift = 0.5
    has_thresholds = True
    top_is_answer = False
    metrics = (
        "macro_f1", "micro_f1", "precision", "macro_precision", "micro_precision", "recall", "macro_recall",
        "micro_recall", "auc", "roc_auc", "pr_auc", "map", "subset_accuracy", "hamming", "brier", "loss", "log_loss",
    )  # fmt: skip
    default_metric = "map"
    faultless = ("subset_accuracy", 1)
    judged_by = "map"
    shown_first = ("map", "micro_f1", "macro_f1", "micro_precision", "micro_recall")
    hub_metrics = ("map", "micro_f1")
    headline = "labels"
    kind, output, outputs = "labels of images", "label", "labels"
    does = "Names the labels that apply to a picture."
    majority = ("every label as often as in training", "giving every label as often as in training")
    ignorant = "giving every label as often as in training"
    keras_loss, keras_metric = "binary_crossentropy", "binary_accuracy"
    card_answer = "print([name for name, score, least in zip(classes, scores, thresholds) if score >= least])"

    def counts(self, targets: Array, classes: int) -> Array:
        """See `Task`."""
        return np.asarray(np.rint(targets.sum(axis=0)))

    def label(self, target: Any, classes: Sequence[str]) -> str:
        """See `Task`."""
        return ";".join(name for name, on in zip(classes, target, strict=True) if on)

    def strata(self, targets: Array) -> Strata:
        """Labels; pictures without any are a stratum too."""
        picture, label = np.nonzero(np.column_stack([targets, targets.sum(axis=1) == 0]))
        return picture, label

    def encoded(self, targets: Array, classes: int, train: Array) -> tuple[npt.NDArray[np.float32], Units | None]:
        """See `Task`."""
        return targets.astype(np.float32), None

    def sure(self, targets: Array, classes: int) -> Floats:
        """See `Task`."""
        return np.asarray(10 * (2 * np.asarray(targets, np.float64) - 1))

    def answers(self, logits: Array, temperature: float, units: Units | None) -> Floats:
        """Sigmoids."""
        return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(logits, np.float64) / temperature)), np.float64)

    def output_layers(self, temperature: float, units: Units | None) -> list[Callable[[Any], Any]]:
        """See `Task`."""
        import keras

        return [
            keras.layers.Rescaling(1.0 / temperature, dtype="float32", name="temperature"),
            keras.layers.Activation("sigmoid", dtype="float32", name="probabilities"),
        ]

    def likelihood(self, logits: Array, targets: Array, temperature: float) -> float:
        """Mean over labels."""
        scaled = np.asarray(logits, np.float64) / temperature
        return float((np.logaddexp(0.0, scaled) - targets * scaled).mean())

    def words(self, row: Array, classes: Sequence[str], thresholds: Sequence[float] | None) -> tuple[str, str]:
        """The labels that apply, and how sure the least sure of the decisions is."""
        limits = thresholds if thresholds is not None else [0.5] * len(row)
        on = [name for name, p, limit in zip(classes, row, limits, strict=True) if p >= limit]
        sure = min(p if p >= limit else 1 - p for p, limit in zip(row, limits, strict=True))
        return ";".join(on), f"{sure:.9g}"

    def constant(self, targets: Array, classes: int) -> Floats:
        """The labels' shares."""
        return np.asarray(targets.reshape(len(targets), -1).mean(axis=0), np.float64)

    def surprise(self, targets: Array, answers: Array) -> Floats:
        """See `Task`."""
        p = np.clip(np.asarray(answers, np.float64), TINY, 1 - TINY)
        return np.asarray(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean(axis=1))

    def agreement(self, reference: Array, outputs: Array, thresholds: Array | None, tie: float) -> float | None:
        """Share of yes-or-no decisions."""
        limits = np.array(thresholds if thresholds is not None else [0.5] * reference.shape[1])
        same = ((reference >= limits) == (outputs >= limits)) | (np.abs(reference - limits) < tie)
        return float(same.mean())


TASK = MultiLabel()
