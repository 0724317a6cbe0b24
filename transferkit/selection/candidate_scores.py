"""How candidates are compared: by the run's own goal, picture by picture where the goal is a mean over pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transferkit.evaluation import calibration, metrics
from transferkit.evaluation.metric_registry import Metric

Floats = npt.NDArray[np.float64]
SCALES = np.geomspace(0.5, 200, 24)  # of outputs that are shares rather than logits
Units = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Judge:
    """The goal on some pictures. `targets` as `metrics.score` wants them; `units` are those of regression."""

    task: str
    targets: npt.NDArray[np.generic]
    classes: tuple[str, ...]
    goal: Metric
    units: Units | None = None

    @property
    def maximise(self) -> bool:
        """Whether more is better."""
        return self.goal.direction == "max"

    def score(self, logits: Floats, rows: npt.NDArray[np.int64] | None = None) -> float:
        """The goal of logits [n, C] (all pictures, or those at `rows`, in that order); the worst where undefined."""
        targets = self.targets if rows is None else self.targets[rows]
        if self.goal.key == "accuracy":  # asked for hundreds of times
            return float((logits.argmax(1) == targets).mean())
        found = metrics.score(self.task, targets, self.answers(logits), list(self.classes), extra=self.goal.extra)
        value = found[self.goal.key]
        return float(value) if value is not None else (-np.inf if self.maximise else np.inf)

    def loss(self, logits: Floats) -> float:
        """The loss of logits: cross-entropy in nats, or the mean squared error of standardised numbers."""
        return float(metrics.score(self.task, self.targets, self.answers(logits), list(self.classes))["loss"] or 0.0)

    def answers(self, logits: Floats) -> Floats:
        """Probabilities, or numbers in the user's units."""
        if self.task == "regress":
            mean, deviation = self.units if self.units is not None else (np.zeros(1), np.ones(1))
            return np.asarray(logits * deviation + mean, np.float64)
        return calibration.apply_temperature(logits, 1.0, self.task)

    def by_picture(self, logits: Floats) -> Floats | None:
        """What each picture adds to the goal [n], more is better; None where the goal is no mean over pictures."""
        key = self.goal.key
        if self.task == "classify" and key == "accuracy":
            return np.asarray(logits.argmax(1) == self.targets, np.float64)
        if self.task == "regress" and key in ("mae", "rmse", "r2"):
            # The squared error orders as RMSE and R² do.
            error = np.abs(self.answers(logits) - np.asarray(self.targets, np.float64).reshape(logits.shape))
            if key == "mae":  # in the user's units, as the goal is
                return -np.asarray(error.mean(1))
            scale = np.ones(error.shape[1]) if self.units is None else self.units[1]
            return -np.asarray(((error / scale) ** 2).mean(1))
        if key == "loss" and self.task == "classify":
            probs = calibration.apply_temperature(logits, 1.0, self.task)
            return np.asarray(np.log(np.maximum(probs[np.arange(len(probs)), self.targets.astype(np.int64)], 1e-7)))
        return None


def scaled(outputs: Floats, targets: npt.NDArray[np.generic], task: str) -> tuple[float, float]:
    """`(scale, shift)` that make logits `(outputs - shift) * scale` of shares: the scale with the least log loss.

    Args:
        outputs: out-of-fold shares [n, C], about 0 to 1.
        targets: class numbers [n] (classify) or 0/1 [n, C] (multilabel).
        task: "classify" or "multilabel".
    """
    shift = 0.0 if task == "classify" else 0.5
    losses = [calibration.nll((outputs - shift) * scale, targets, 1.0, task) for scale in SCALES]
    return float(SCALES[int(np.argmin(losses))]), shift
