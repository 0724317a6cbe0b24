"""Learning rates over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Curve = Callable[[np.ndarray], np.ndarray]  # step numbers [n] → float32 [n]

WARMUP_SHARE = 0.05  # of all steps; a trained tail must not be shaken by Adam's first, badly scaled steps
PLATEAU_FACTOR = 0.3
PLATEAU_PATIENCE = 3


def curve(name: str, peak: float, steps: int, *, warmup: float) -> Curve | None:
    """The learning rates of a phase.

    Args:
        name: cosine, constant or plateau.
        peak: the highest rate.
        steps: of the whole phase.
        warmup: the share of the steps, 0…1, over which a cosine rises to its peak.

    Returns:
        A function of step numbers [n], counted from 0, to float32 rates [n]; None leaves the rate to the optimizer.

    cosine: linear warm-up over the share `warmup` of the steps, then half a cosine to zero (Loshchilov & Hutter 2017).
    constant: `peak`. plateau: None; `after_epoch` lowers the optimizer's own rate between epochs.
    The numbers are those of keras.optimizers.schedules.CosineDecay; they are handed to the compiled steps, so that
    phases of other rates and lengths need no new trace.
    """
    if name == "plateau":
        return None
    # A phase of fewer than ten steps has none to give away: the first step of a warm-up has rate 0.
    rise = round(warmup * steps) if name == "cosine" else 0

    def rates(numbers: np.ndarray) -> np.ndarray:
        if name == "constant":
            return np.full(len(numbers), peak, np.float32)
        share = np.clip((numbers - rise) / max(1, steps - rise), 0, 1)
        falling = peak * 0.5 * (1 + np.cos(np.pi * share))
        return np.asarray(np.where(numbers < rise, peak * numbers / max(1, rise), falling), np.float32)

    return rates


def after_epoch(optimizer: Any, improved: bool, waited: int) -> int:
    """For `--schedule plateau`: multiply the rate by 0.3 after 3 epochs without improvement.

    Args:
        optimizer: whose rate is a number.
        improved: whether the epoch validated best of all.
        waited: what the call after the epoch before returned; 0 at first.

    Returns:
        The epochs waited now: the caller keeps it, and with it the state, which has to outlive a kill.
    """
    waited = 0 if improved else waited + 1
    if waited < PLATEAU_PATIENCE:
        return waited
    optimizer.learning_rate = current(optimizer) * PLATEAU_FACTOR
    return 0


def current(optimizer: Any) -> float:
    """The learning rate that `optimizer` is at."""
    from keras import ops

    return float(ops.convert_to_numpy(optimizer.learning_rate))
