"""What is to be learnt, as the losses want it, and how learning it went: plain records, no computing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from transferkit.data.samples import Samples
from transferkit.errors import DataError
from transferkit.features.row_kinds import Rows
from transferkit.features.row_sources import Source
from transferkit.record import HistoryRow
from transferkit.training.batches import Encoded, Smoothed
from transferkit.training.fit import StoppingMetric

if TYPE_CHECKING:
    import keras

Units = tuple[np.ndarray, np.ndarray]
LARGE = 1 << 24  # pictures times classes above which targets are encoded when they are asked for
STEP = 0.01  # of a target's deviation, that neighbouring float32 numbers may lie apart
Judge = Callable[[Samples, Units | None], StoppingMetric]


@dataclass(frozen=True)
class Problem:
    """What is to be learnt. `train` and `val` are row numbers of `samples`; `targets` float32 [N, t] for the loss."""

    samples: Samples
    train: np.ndarray
    val: np.ndarray
    targets: np.ndarray | Encoded
    units: Units | None  # mean and deviation of regression targets, float64
    goal: StoppingMetric

    @property
    def outputs(self) -> int:
        """Width of the logits."""
        return int(self.targets.shape[1])

    @property
    def validation(self) -> np.ndarray | Smoothed:
        """Targets of the validation pictures, float32 [n, t], or what gives those of some."""
        if isinstance(self.targets, Encoded):
            return Smoothed(self.targets, self.val, lambda table: table)
        found: np.ndarray = self.targets[self.val]
        return found


def problem(samples: Samples, train: np.ndarray, val: np.ndarray, judge: Judge) -> Problem:
    """What is to be learnt, with targets as the losses want them (see `tasks.task.Task.encoded`).

    Args:
        samples: all pictures.
        train: row numbers of the training pictures, int [n].
        val: those of the validation pictures.
        judge: (validation samples, units) → what validation is scored by.

    Raises:
        DataError: `train` or `val` is empty.
    """
    for name, part in (("training", train), ("validation", val)):
        if not len(part):
            raise DataError(f"there are no {name} pictures; give the {name} part more, e.g. --split .7,.15,.15")
    kind, count = samples.kind, len(samples.classes)
    if kind.exclusive and len(samples) * count > LARGE:
        table = Encoded(kind, samples.targets, count)
        return Problem(samples, train, val, table, None, judge(samples.select(val), None))
    targets, units = kind.encoded(samples.targets, count, train)
    return Problem(samples, train, val, targets, units, judge(samples.select(val), units))


def coarse(units: Units | None, names: Sequence[str]) -> Iterator[str]:
    """A warning for each target that float32, in which models answer, cannot resolve: 1700000000 and the next number
    it has are 128 apart.

    Args:
        units: mean and deviation of each target; None for what is no number.
        names: of the targets.
    """
    for name, mean, deviation in zip(names, *units, strict=True) if units is not None else ():
        step = float(np.spacing(np.float32(abs(mean))))
        if step > STEP * deviation:
            yield (
                f"target '{name}' varies by {deviation:.3g} (standard deviation) about {mean:.10g}, where the model's "
                f"answers, in float32, lie {step:.3g} apart: what it learns is lost in them. Subtract a constant from "
                f"the target, e.g. {round(mean)}, and add it to the answers"
            )


@dataclass
class PhaseReport:
    """How a phase went. `score` and `loss` are validation's, at `best_epoch` (counted from 1)."""

    name: str
    trained: str
    parameters: int
    epochs: int
    best_epoch: int
    score: float
    loss: float
    seconds: float
    source: str  # "cached", "held in memory" or "computed each epoch"
    precision: str  # of the layers in training; weights, losses and softmax are float32 always


@dataclass
class Trained:
    """What the recipe gives back. `model` maps uint8 pictures [n, size, size, 3] to logits [n, t], in float32."""

    model: keras.Model
    phases: list[PhaseReport]
    chosen: str
    history: list[HistoryRow]
    val_outputs: np.ndarray
    train_outputs: np.ndarray
    train_judged: np.ndarray
    features: Rows
    pretrained: list[np.ndarray] | None
    notes: list[str] = field(default_factory=list)
    rate_curve: list[dict[str, float]] = field(default_factory=list)
    fold_scores: list[float] = field(default_factory=list)
    tuned: tuple[keras.Model, Source] | None = None  # the trained tail with its head, and what feeds it
    # Where `features` hold several depths: the columns of the "last" layer, and those that the "head" uses.
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    # Row numbers and logits of pictures that were left out when they were answered, to calibrate on; else validation's
    calibration: tuple[np.ndarray, np.ndarray] | None = None
    joined: str = ""  # names of the networks where they are several, so that no one vector goes into a head
    refitted: bool = False  # whether the shipped model has learnt from validation pictures too

    def without_answers(self) -> Trained:
        """The same without outputs, which of many pictures and classes are large."""
        none = np.zeros((0, self.val_outputs.shape[1]), np.float32)
        return replace(self, val_outputs=none, train_outputs=none, calibration=None)
