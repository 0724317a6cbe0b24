"""Learning rates over time."""

from __future__ import annotations

from typing import Any

WARMUP_SHARE = 0.05  # of all steps; a trained tail must not be shaken by Adam's first, badly scaled steps
PLATEAU_FACTOR = 0.3
PLATEAU_PATIENCE = 3


def build(name: str, peak: float, steps: int, *, warmup: bool) -> Any:
    """A learning rate that keras optimizers take: a schedule for cosine, a number otherwise.

    cosine: linear warm-up (where `warmup`), then half a cosine to zero (Loshchilov & Hutter 2017).
    constant and plateau: `peak`; `Plateau` lowers it between epochs.
    """
    import keras

    if name != "cosine":
        return peak
    rise = max(1, round(WARMUP_SHARE * steps)) if warmup else 0
    if not rise:
        return keras.optimizers.schedules.CosineDecay(peak, max(1, steps))
    return keras.optimizers.schedules.CosineDecay(0.0, max(1, steps - rise), warmup_target=peak, warmup_steps=rise)


class Plateau:
    """Multiply the rate by 0.3 after 3 epochs without improvement; for `--schedule plateau`."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.waited = 0

    def after_epoch(self, improved: bool) -> None:
        """Count epochs without improvement and lower the rate when there are enough."""
        self.waited = 0 if improved else self.waited + 1
        if self.waited >= PLATEAU_PATIENCE:
            self.waited = 0
            self.optimizer.learning_rate = float(self.optimizer.learning_rate) * PLATEAU_FACTOR
