"""Learning rates over time."""

from __future__ import annotations

from typing import Any

import numpy as np

WARMUP_SHARE = 0.05  # of all steps; a trained tail must not be shaken by Adam's first, badly scaled steps
PLATEAU_FACTOR = 0.3
PLATEAU_PATIENCE = 3


def build(name: str, peak: float, steps: int, *, warmup: bool) -> Any:
    """A learning rate that keras optimizers take: a schedule for cosine, a number otherwise.

    cosine: linear warm-up (where `warmup`), then half a cosine to zero (Loshchilov & Hutter 2017).
    constant and plateau: `peak`; `after_epoch` lowers it between epochs.
    """
    import keras

    if name != "cosine":
        return peak
    # A phase of fewer than ten steps has none to give away: the first step of a warm-up has rate 0.
    rise = round(WARMUP_SHARE * steps) if warmup else 0
    if not rise:
        return keras.optimizers.schedules.CosineDecay(peak, max(1, steps))
    return keras.optimizers.schedules.CosineDecay(0.0, max(1, steps - rise), warmup_target=peak, warmup_steps=rise)


def after_epoch(optimizer: Any, improved: bool, waited: int) -> int:
    """For `--schedule plateau`: multiply the rate by 0.3 after 3 epochs without improvement.

    `waited` is what the call after the epoch before returned, 0 at first. Returns it anew: the caller keeps it, and
    with it the state, which has to outlive a kill.
    """
    waited = 0 if improved else waited + 1
    if waited < PLATEAU_PATIENCE:
        return waited
    optimizer.learning_rate = float(np.asarray(optimizer.learning_rate)) * PLATEAU_FACTOR
    return 0
