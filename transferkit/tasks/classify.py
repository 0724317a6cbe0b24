"""One class a picture: softmax over classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.tasks.task import TINY, Array, Floats, Strata, Task, Units, of_targets, parts


def squared_errors(targets: Array, answers: Floats) -> Floats:
    """What each picture [N] adds to the Brier score.

    Args:
        targets: int [N].
        answers: probabilities [N, C].
    """
    found = np.empty(len(targets))
    for part in parts(answers):
        rows = np.array(answers[part], np.float64)
        rows[np.arange(len(rows)), targets[part]] -= 1
        found[part] = (rows**2).sum(axis=1)
    return found


class Classes(Task):
    """What every task has whose pictures have one class each."""

    form = "class"

    def counts(self, targets: Array, classes: int) -> Array:
        """See `Task`."""
        return np.bincount(targets, minlength=classes)

    def label(self, target: Any, classes: Sequence[str]) -> str:
        """See `Task`."""
        return classes[int(target)]

    def strata(self, targets: Array) -> Strata:
        """See `Task`."""
        return np.arange(len(targets)), targets.astype(np.int64)

    def columns(self, targets: Array, classes: int) -> Array:
        """See `Task`."""
        return np.eye(classes)[targets.astype(np.int64)]

    def constant(self, targets: Array, classes: int) -> Floats:
        """The classes' shares."""
        return np.bincount(targets, minlength=classes) / len(targets)

    def per_picture(self, key: str, targets: Array, answers: Floats) -> Floats | None:
        """See `Task`."""
        if key == "accuracy":
            return np.asarray(self.decide(answers) == targets, np.float64)
        chosen = of_targets(answers, targets)
        if key in ("top3_accuracy", "top5_accuracy"):
            found = np.empty(len(targets))
            for part in parts(answers):
                found[part] = (answers[part] >= chosen[part, None]).sum(1) <= int(key[3])
            return found
        if key == "loss":
            return np.asarray(-np.log(np.clip(chosen.astype(np.float64), TINY, 1.0)))
        if key == "brier":
            return squared_errors(targets, answers)
        return None

    def gains(self, key: str, targets: Array, answers: Floats, units: Units | None) -> Floats | None:
        """See `Task`."""
        if key == "accuracy":
            return np.asarray(self.decide(answers) == targets, np.float64)
        if key == "loss":
            chosen = of_targets(answers, targets.astype(np.int64))
            return np.asarray(np.log(np.maximum(chosen, TINY)))
        return None

    def surprise(self, targets: Array, answers: Array) -> Floats:
        """See `Task`."""
        p = np.clip(np.asarray(answers, np.float64), TINY, 1 - TINY)
        return np.asarray(-np.log(p[np.arange(len(p)), targets]))

    def agreement(self, reference: Array, outputs: Array, thresholds: Array | None, tie: float) -> float | None:
        """See `Task`."""
        chosen = np.take_along_axis(reference, outputs.argmax(axis=1)[:, None], axis=1)[:, 0]
        return float((chosen >= reference.max(axis=1) - tie).mean())


class Classify(Classes):
    """One class each, none nearer to another than the rest."""

    name = "classify"
    losses = {"crossentropy": "cross_entropy"}  # noqa: RUF012
    link = "softmax"
    candidates = ("class mean", "discriminant", "ridge", "logistic", "neighbours", "kernel")
    abstains = True
    metrics = (
        "accuracy", "balanced_accuracy", "top3_accuracy", "top5_accuracy", "macro_f1", "weighted_f1", "precision",
        "macro_precision", "weighted_precision", "recall", "macro_recall", "weighted_recall", "auc", "roc_auc",
        "pr_auc", "kappa", "mcc", "brier", "ece", "loss", "log_loss",
    )  # fmt: skip
    default_metric = "accuracy"
    faultless = ("accuracy", 1)
    judged_by = "accuracy"
    shown_first = ("accuracy", "macro_f1", "balanced_accuracy", "roc_auc", "ece")
    hub_metrics = ("accuracy", "macro_f1")
    headline = "right"
    kind, output, outputs = "image classification", "class", "classes"
    does = "Names the class of a picture."
    majority = ("always the most frequent class", "always answering the most frequent class")
    ignorant = "always giving the commonest class"
    keras_loss, keras_metric = "sparse_categorical_crossentropy", "accuracy"
    card_answer = "print(classes[scores.argmax()], scores.max())"

    def encoded(self, targets: Array, classes: int, train: Array) -> tuple[npt.NDArray[np.float32], Units | None]:
        """One-hot."""
        hot = np.zeros((len(targets), classes), np.float32)
        hot[np.arange(len(targets)), targets] = 1
        return hot, None

    def smoothed(self, encoded: npt.NDArray[np.float32], amount: float) -> npt.NDArray[np.float32]:
        """`amount` of the mass spread evenly (Szegedy et al. 2016), of targets that may be soft already."""
        found = encoded * (1 - amount)
        found += amount / encoded.shape[1]
        return np.asarray(found, np.float32)

    def hits(self, logits: Array, encoded: Array) -> Array | None:
        """See `Task`."""
        return np.asarray(logits.argmax(-1) == encoded.argmax(-1))

    def sure(self, targets: Array, classes: int) -> Floats:
        """See `Task`."""
        found: Floats = np.full((len(targets), classes), -10.0)
        found[np.arange(len(targets)), targets] = 10.0
        return found

    def guessing(self, classes: int) -> float | None:
        """See `Task`."""
        return float(np.log(classes))

    def answers(self, logits: Array, temperature: float, units: Units | None) -> Floats:
        """Softmax."""
        found: Floats = np.divide(logits, temperature, dtype=np.float64)
        found -= found.max(axis=1, keepdims=True)
        np.exp(found, out=found)
        found /= found.sum(axis=1, keepdims=True)
        return found

    def decide_logits(self, logits: Array) -> npt.NDArray[np.int64]:
        """Softmax keeps the order."""
        return self.decide(logits)

    def output_layers(self, temperature: float, units: Units | None) -> list[Callable[[Any], Any]]:
        """See `Task`."""
        import keras

        return [
            keras.layers.Rescaling(1.0 / temperature, dtype="float32", name="temperature"),
            keras.layers.Activation("softmax", dtype="float32", name="probabilities"),
        ]

    def likelihood(self, logits: Array, targets: Array, temperature: float) -> float:
        """Cross-entropy, never clipped."""
        found = np.empty(len(targets))
        for part in parts(logits):
            scaled = np.divide(logits[part], temperature, dtype=np.float64)
            scaled -= scaled.max(axis=1, keepdims=True)
            chosen = scaled[np.arange(len(scaled)), targets[part]]
            found[part] = np.log(np.exp(scaled, out=scaled).sum(axis=1)) - chosen
        return float(found.mean())


TASK = Classify()
