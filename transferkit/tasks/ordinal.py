"""Ordered classes: grades, stages, stars. One logit a threshold between neighbours: whether the class lies above it.

Of C classes the network has C - 1 logits, the log-odds of P(class > k), each trained by its own binary cross-entropy:
a cumulative-link model with a free slope at each threshold (Frank & Hall 2001; Niu et al. 2016). The answer counts the
thresholds that are more likely passed than not, which is the median class and has the smallest expected distance.
Probabilities of classes are differences of neighbouring thresholds. Where two contradict each other (a higher one is
passed more likely than a lower one) they change places, which brings the whole nearer to the truth whatever that is
(rearrangement: Chernozhukov, Fernández-Val & Galichon 2010), and leaves the number that is passed as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.errors import DataError
from transferkit.tasks.classify import Classes
from transferkit.tasks.task import TINY, Array, Floats, Units
from transferkit.text import shown

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
LISTED = 10  # classes that a message names


class Ordinal(Classes):
    """One class each, of classes that have an order."""

    name = "ordinal"
    ordered = True
    losses = {"crossentropy": "binary_cross_entropy"}  # noqa: RUF012
    candidates = ("ridge", "logistic by label", "neighbours", "kernel")
    link = "sigmoid"
    share_shift = 0.5
    top_is_answer = False
    metrics = (
        "mae", "qwk", "accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "precision", "macro_precision",
        "weighted_precision", "recall", "macro_recall", "weighted_recall", "kappa", "mcc", "brier", "loss", "log_loss",
    )  # fmt: skip
    default_metric = "mae"
    faultless = ("mae", 0)
    judged_by = "accuracy"
    shown_first = ("mae", "qwk", "accuracy", "balanced_accuracy", "macro_f1")
    hub_metrics = ("mae", "accuracy")
    headline = "off"
    unit = " classes"
    kind, output, outputs = "grading of images", "class", "classes"
    does = "Grades a picture: names its class among ordered ones."
    majority = ("always the middle class of training", "always answering the middle class of training")
    ignorant = "always giving the middle class of training"
    keras_loss, keras_metric = "sparse_categorical_crossentropy", "accuracy"
    card_answer = "print(classes[(scores.cumsum() < 0.5).sum()], scores)  # the median class"

    def arranged(self, names: Sequence[str], order: Sequence[str] | None) -> tuple[str, ...] | None:
        """As `order` says, lowest first, else by number. Raises DataError where two are one number."""
        if order is not None:
            return _declared(names, order)
        values = {name: float(name) for name in names if NUMBER.fullmatch(name)}
        if len(values) < len(names):
            return None
        if len(set(values.values())) < len(values):
            raise DataError(f"--task ordinal: two of the classes {_listed(names)} are one number; write it one way")
        return tuple(sorted(names, key=values.__getitem__))

    def unordered(self, names: Sequence[str]) -> str:
        """See `Task`."""
        return (
            f"--task ordinal: the order of the classes {_listed(names)} is not known. Give all of them, the lowest "
            "first, with --classes A,B,C; or name them by numbers"
        )

    def logits(self, classes: int) -> int:
        """One a threshold."""
        return classes - 1

    def encoded(self, targets: Array, classes: int, train: Array) -> tuple[npt.NDArray[np.float32], Units | None]:
        """Which thresholds lie below the class."""
        return (targets[:, None] > np.arange(classes - 1)).astype(np.float32), None

    def hits(self, logits: Array, encoded: Array) -> Array | None:
        """See `Task`."""
        return np.asarray((logits > 0).sum(-1) == (encoded > 0.5).sum(-1))

    def sure(self, targets: Array, classes: int) -> Floats:
        """See `Task`."""
        return np.asarray(10 * (2 * (targets[:, None] > np.arange(classes - 1)) - 1), np.float64)

    def answers(self, logits: Array, temperature: float, units: Units | None) -> Floats:
        """Probabilities of classes; see the head of this module."""
        falling = -np.sort(np.asarray(logits, np.float64) / -temperature, axis=1)
        above = np.exp(-np.logaddexp(0.0, -falling))
        return np.asarray(
            -np.diff(np.pad(above, ((0, 0), (1, 0)), constant_values=1.0), axis=1, append=0.0), np.float64
        )

    def output_layers(self, temperature: float, units: Units | None) -> list[Callable[[Any], Any]]:
        """See `Task`."""
        import keras
        from keras import ops

        def differences(above: Any) -> Any:
            falling = -ops.sort(-above, axis=-1)
            return ops.pad(falling, [[0, 0], [1, 0]], constant_values=1.0) - ops.pad(falling, [[0, 0], [0, 1]])

        return [
            # Not called "temperature": what lies before it are thresholds, and none of them explains a class.
            keras.layers.Rescaling(1.0 / temperature, dtype="float32", name="threshold_temperature"),
            keras.layers.Activation("sigmoid", dtype="float32", name="above_threshold"),
            differences,
            keras.layers.Activation("linear", dtype="float32", name="probabilities"),
        ]

    def likelihood(self, logits: Array, targets: Array, temperature: float) -> float:
        """Of the class; floored far below any probability that float64 tells from 0."""
        chosen = self.answers(logits, temperature, None)[np.arange(len(targets)), targets]
        return float(-np.log(np.maximum(chosen, TINY**2)).mean())

    def decide_logits(self, logits: Array) -> npt.NDArray[np.int64]:
        """The thresholds that are passed."""
        return np.asarray((np.asarray(logits) > 0).sum(axis=1), np.int64)

    def decide(self, answers: Array) -> npt.NDArray[np.int64]:
        """The median class."""
        p = np.asarray(answers, np.float64)
        return np.asarray(np.minimum((p.cumsum(axis=-1) < 0.5).sum(axis=-1), p.shape[-1] - 1), np.int64)

    def scores(self, targets: Array, answers: Floats) -> dict[str, float | None]:
        """`mae` in classes, and `qwk`: Cohen's kappa with quadratic weights (Cohen 1968), undefined for one class."""
        guess = self.decide(answers)
        count = answers.shape[1]
        joint = np.zeros((count, count))
        np.add.at(joint, (targets, guess), 1.0 / len(targets))
        weights = (np.arange(count)[:, None] - np.arange(count)) ** 2
        chance = float((weights * np.outer(joint.sum(1), joint.sum(0))).sum())
        return {
            "mae": float(np.abs(guess - targets).mean()),
            "qwk": 1 - float((weights * joint).sum()) / chance if chance > 0 else None,
        }

    def per_picture(self, key: str, targets: Array, answers: Floats) -> Floats | None:
        """See `Task`."""
        if key == "mae":
            return np.asarray(np.abs(self.decide(answers) - targets), np.float64)
        return super().per_picture(key, targets, answers)

    def gains(self, key: str, targets: Array, answers: Floats, units: Units | None) -> Floats | None:
        """See `Task`."""
        if key == "mae":
            return -np.asarray(np.abs(self.decide(answers) - targets), np.float64)
        return super().gains(key, targets, answers, units)

    def agreement(self, reference: Array, outputs: Array, thresholds: Array | None, tie: float) -> float | None:
        """See `Task`."""
        chosen = self.decide(outputs)[:, None]
        below = np.pad(np.asarray(reference, np.float64).cumsum(axis=1), ((0, 0), (1, 0)))
        start, end = (np.take_along_axis(below, chosen + i, axis=1)[:, 0] for i in (0, 1))
        return float(((start < 0.5 + tie) & (end >= 0.5 - tie)).mean())


def _declared(names: Sequence[str], order: Sequence[str]) -> tuple[str, ...]:
    problems = (
        ("the data has no", [n for n in order if n not in names]),
        ("it leaves out", [n for n in names if n not in order]),
        ("it names twice", sorted({n for n in order if list(order).count(n) > 1})),
    )
    said = [f"{text} {_listed(some)}" for text, some in problems if some]
    if said:
        raise DataError(
            f"--classes {shown(','.join(order))}: {'; '.join(said)}. Give every class of the data once, the lowest "
            f"first; they are {_listed(names)}"
        )
    return tuple(order)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(shown(name) for name in names[:LISTED]) + (", …" if len(names) > LISTED else "")


TASK = Ordinal()
