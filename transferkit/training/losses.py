"""Losses on logits, one number a picture, written with keras.ops so that they run on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute, tasks
from transferkit.tasks.task import parts

if TYPE_CHECKING:
    from transferkit.training.batches import Smoothed

HUBER_DELTA = 1.0  # in standard deviations of the target


def cross_entropy(targets: Any, logits: Any) -> Any:
    """Softmax cross-entropy.

    Args:
        targets: soft, [b, classes], each row summing to 1.
        logits: [b, classes].

    Returns:
        In nats, [b].
    """
    from keras import ops

    return ops.categorical_crossentropy(targets, logits, from_logits=True)  # one kernel on TensorFlow


def binary_cross_entropy(targets: Any, logits: Any) -> Any:
    """Mean sigmoid cross-entropy over labels.

    Args:
        targets: [b, labels] in 0…1.
        logits: [b, labels].

    Returns:
        In nats, [b].
    """
    from keras import ops

    # max(x,0) - x·t + log(1+e^-|x|): no overflow for any logit.
    each = ops.maximum(logits, 0.0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))
    return ops.mean(each, axis=-1)


def squared(targets: Any, outputs: Any) -> Any:
    """Mean squared error over targets.

    Args:
        targets, outputs: [b, targets], standardised.

    Returns:
        [b].
    """
    from keras import ops

    return ops.mean(ops.square(targets - outputs), axis=-1)


def absolute(targets: Any, outputs: Any) -> Any:
    """Mean absolute error over targets: less moved by outliers.

    Args:
        targets, outputs: [b, targets], standardised.

    Returns:
        [b].
    """
    from keras import ops

    return ops.mean(ops.abs(targets - outputs), axis=-1)


def huber(targets: Any, outputs: Any) -> Any:
    """Huber loss (Huber 1964): squared near zero, absolute beyond one standard deviation.

    Args:
        targets, outputs: [b, targets], standardised.

    Returns:
        [b].
    """
    from keras import ops

    error = ops.abs(targets - outputs)
    near = ops.minimum(error, HUBER_DELTA)
    return ops.mean(0.5 * ops.square(near) + HUBER_DELTA * (error - near), axis=-1)


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "squared": squared,
    "absolute": absolute,
    "huber": huber,
}
# By the name of the task and that of the loss.
LOSSES: dict[tuple[str, str], Callable[[Any, Any], Any]] = {
    (task.name, loss): FUNCTIONS[name] for task in tasks.every() for loss, name in task.losses.items()
}


def choose(task: str, name: str) -> Callable[[Any, Any], Any]:
    """The loss function of a task.

    Args:
        task: a name of `tasks.NAMES`.
        name: one of its losses, or "auto", its usual one.

    Returns:
        Targets [b, t] and outputs [b, t] → [b].
    """
    return LOSSES[task, tasks.of(task).default_loss if name == "auto" else name]


def mean_loss(loss: Callable[[Any, Any], Any], targets: np.ndarray | Smoothed, outputs: np.ndarray) -> float:
    """Average of `loss` over rows, as a plain number.

    Args:
        loss: targets [b, t] and outputs [b, t] → [b].
        targets: [n, t].
        outputs: [n, t].
    """
    # What computes makes copies of what it is given.
    found = [compute.each(loss, targets[rows], outputs[rows]) for rows in parts(outputs)]
    return float(np.mean(np.concatenate(found)))
