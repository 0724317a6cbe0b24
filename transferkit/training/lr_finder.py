"""The learning-rate range test (Smith 2017): raise the rate each step, and stay well below the edge it shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from transferkit import compute
from transferkit.training.batches import Batches
from transferkit.training.losses import LOSSES

LOWEST, HIGHEST, STEPS = 1e-5, 1.0, 100
BLOWN = 4.0  # stop when the loss is this many times its lowest
SMOOTHING = 0.9
FALLBACK = 1e-3
ENOUGH = 10  # points below which a curve says nothing
MARGIN = 0.2


def find(
    model: Any, optimizer: Callable[[float], Any], loss_key: tuple[str, str], batches: Batches
) -> tuple[float, list[dict[str, float]]]:
    """Take up to 100 steps at rates that rise from 1e-5 to 1, and read a learning rate from the losses.

    Args:
        model: inputs → outputs [b, t]; it leaves as it came.
        optimizer: makes one of a given rate.
        loss_key: a key of `losses.LOSSES`.
        batches: what the steps see, epoch after epoch.

    Returns:
        The rate, and the curve it was read from: rows {"learning_rate", "loss"}, the loss smoothed. A curve of fewer
        than 10 points gives 1e-3.
    """
    before = compute.values(model.variables)
    instance = optimizer(LOWEST)
    step = compute.steps(model, instance, LOSSES[loss_key])
    curve: list[dict[str, float]] = []
    smooth, lowest = 0.0, float("inf")
    for number, (inputs, targets, weights) in zip(range(STEPS), _single(batches), strict=False):
        rate = LOWEST * (HIGHEST / LOWEST) ** (number / (STEPS - 1))
        instance.learning_rate = rate
        value, _ = step(inputs, targets, weights)
        if not np.isfinite(value):
            break
        smooth = SMOOTHING * smooth + (1 - SMOOTHING) * value
        level = smooth / (1 - SMOOTHING ** (number + 1))
        curve.append({"learning_rate": rate, "loss": level})
        lowest = min(float(lowest), float(level))
        if number > 10 and level > BLOWN * lowest:
            break
    compute.assign(model.variables, before)
    return _choose(curve), curve


def _single(batches: Batches) -> Any:
    """Batches one by one, epoch after epoch."""
    epoch = 0
    while True:
        for inputs, targets, weights in batches.epoch(epoch):
            for i in range(len(targets)):
                yield [x[i : i + 1] for x in inputs], targets[i : i + 1], weights[i : i + 1]
        epoch += 1


def _choose(curve: list[dict[str, float]]) -> float:
    """A fifth of the rate at which the loss was lowest: beyond that rate training is about to come apart.

    The steepest fall, the other usual rule, is often found in the noise of the first steps.
    """
    if len(curve) < ENOUGH:
        return FALLBACK
    return min(curve, key=lambda row: row["loss"])["learning_rate"] * MARGIN
