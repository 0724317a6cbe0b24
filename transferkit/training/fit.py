"""One loop for every phase, cached or streamed, head or tail, and the hooks by which callbacks watch and steer it.

What a phase does besides training and validating (stopping early, averaging, saving, telling) is a `Callback` each:
those that belong to every run are in `callbacks` and `checkpoint`, those a caller passes come through
`user_callbacks`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from transferkit import compute, tasks, terms
from transferkit.data.threads import ahead
from transferkit.errors import TrainingError
from transferkit.features.row_sources import ResidentRows
from transferkit.record import HistoryRow, number_of
from transferkit.training import schedules
from transferkit.training.batches import CHUNK_BYTES, Batches, Chunk, Smoothed
from transferkit.training.losses import LOSSES, mean_loss

# Inputs, targets, weights and, where the inputs are held in memory, the rows that each batch takes of them
_Batches = tuple[list[Any], np.ndarray, np.ndarray, np.ndarray | None]
# What a checkpoint keeps of a callback: plain data, and NumPy arrays.
StateValue = str | float | bool | np.ndarray | Sequence["StateValue"] | dict[str, "StateValue"] | None
CallbackState = dict[str, StateValue]


@dataclass(frozen=True)
class StoppingMetric:
    """What validation is judged by. `score(outputs [n, t]) -> float`; higher is better where `maximise`."""

    name: str
    maximise: bool
    score: Callable[[np.ndarray], float]

    @property
    def words(self) -> str:
        """The score in words, as it stands beside a bar; empty where it is none that anybody wants to read."""
        return terms.score(self.name)

    def better(self, new: tuple[float, float], old: tuple[float, float] | None) -> bool:
        """Whether one epoch validates better than another.

        Args:
            new: its (score, loss); equal scores are told apart by the loss, lower being better.
            old: those of the other; None means that there is none, so that any is better.
        """
        if old is None:
            return True
        sign = 1 if self.maximise else -1
        return (sign * new[0], -new[1]) > (sign * old[0], -old[1])


@dataclass
class _SoFar:
    """Of the epoch in training: mean losses of some steps each and how many, pictures answered rightly, pictures."""

    losses: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    hits: float = 0.0
    seen: float = 0.0

    @property
    def loss(self) -> float:
        """The mean of all steps."""
        return float(np.average(self.losses, weights=self.counts))


@dataclass
class Progress:
    """How far a phase is; what a checkpoint holds of it besides the variables and the callbacks' states.

    `epoch` counts finished epochs, `rows` are theirs of history.csv; `best` is the best (score, loss), of epoch number
    `best_epoch` counted from 0; `seconds` are those of training and validating; `done` says that nothing will follow.
    """

    epoch: int = 0
    rows: list[HistoryRow] = field(default_factory=list)
    best: tuple[float, float] | None = None
    best_epoch: int = -1
    seconds: float = 0.0
    done: bool = False


class Callback:
    """Watches a phase of training and may end it: subclass it, and override the hooks you need.

    A phase is what one call of Keras' `fit` would be: the head, then the tail, or each step of gradual unfreezing. The
    hooks are called like nested `with` blocks: those that begin something in the order of the callbacks, those that
    end it in the opposite order. `loop` is the phase's `Loop`; its model is read by `loop.current_model()`, not
    written to. An exception from a hook ends the run.
    """

    def on_train_begin(self, loop: Loop) -> None:
        """The phase begins, or goes on after `loop.epoch` epochs; `load_state_dict` follows then."""

    def on_epoch_begin(self, loop: Loop) -> None:
        """An epoch begins; `loop.epoch` are finished."""

    def on_chunk_end(self, loop: Loop, steps: int, loss: float) -> None:
        """`steps` optimizer steps were taken in one compiled call; `loss` is the mean of the epoch so far.

        On a GPU the steps after these may have been taken too.
        """

    def on_validation_begin(self, loop: Loop) -> None:
        """The epoch's steps are taken; validation comes next."""

    def on_epoch_end(self, loop: Loop) -> None:
        """An epoch was judged: `loop.rows[-1]` is its row, the model has the weights that were judged."""

    def on_train_end(self, loop: Loop) -> None:
        """The phase is over: the model has its best weights. Not called where an error or interrupt ends it."""

    def state_dict(self) -> CallbackState:
        """What a checkpoint keeps of this callback: numbers, texts, None, NumPy arrays, lists and dictionaries of them.

        Asked for at the end of epochs. What a hook decides by has to be in it, or a resumed phase ends otherwise.
        """
        return {}

    def load_state_dict(self, state: CallbackState) -> None:
        """Take back what `state_dict` gave; called after `on_train_begin` where a phase goes on."""


@dataclass
class Loop:
    """A phase: `model` (inputs → logits) is trained on `batches` for at most `epochs`, told to `callbacks`.

    `validate(model)` gives the logits [n, t] of the validation pictures, `validation_targets` float32 [n, t] are
    theirs. `loss_key` is a key of `losses.LOSSES`.
    """

    name: str
    model: Any
    optimizer: Any
    loss_key: tuple[str, str]
    batches: Batches
    validate: Callable[[Any], np.ndarray]
    validation_targets: np.ndarray | Smoothed
    goal: StoppingMetric
    epochs: int
    top_rate: float  # the rate asked for at its peak, for advice
    callbacks: Sequence[Callback] = ()
    pause: int | None = None  # stop after this epoch; with a checkpoint, a later call goes on from there
    rates: schedules.Curve | None = None  # of all steps; the optimizer's own rate where there is none
    resident: ResidentRows | None = None  # the batches' rows, where they are in memory
    steps: compute.Steps | None = None  # compiled before, for this model and optimizer
    # Where another model is trained in its place: gives the one the phase is about, with the weights of now.
    mirror: Callable[[], Any] | None = None
    progress: Progress = field(default_factory=Progress, init=False)
    improved: bool = field(default=False, init=False)  # whether the newest epoch is the best one
    restored: dict[int, CallbackState] = field(default_factory=dict, init=False)  # states of callbacks, by place

    def run(self) -> Progress:
        """Train.

        Returns:
            How it went.

        Raises:
            TrainingError: the loss is no longer a number.
            StorageError: the disk is full.
        """
        self.steps = self.steps or compute.steps(self.model, self.optimizer, LOSSES[self.loss_key])
        with ExitStack() as self.exits:  # what callbacks open is closed, however the phase ends
            self._begin()
            while not self.finished:
                self._each("on_epoch_begin")
                started = time.monotonic()
                row = self._train()
                self._each("on_validation_begin")
                self._note(row, self._judge(), time.monotonic() - started)
                self._each("on_epoch_end", -1)
            self._each("on_train_end", -1)
        return self.progress

    # -- what callbacks read and say

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.progress.epoch

    @property
    def rows(self) -> list[HistoryRow]:
        """The finished epochs' rows of history.csv."""
        return self.progress.rows

    def newest(self, column: str) -> float:
        """A number of the newest finished epoch's row, by its column of history.csv."""
        return number_of(self.rows[-1], column)

    @property
    def last(self) -> int:
        """Epochs after which this call ends at the latest."""
        return self.epochs if self.pause is None else min(self.pause, self.epochs)

    @property
    def finished(self) -> bool:
        """Whether no epoch will follow in this call."""
        return (self.progress.done and self.epoch > 0) or self.epoch >= self.last

    def stop(self) -> None:
        """End the phase after the epoch that is in training; a phase that has none yet trains its first."""
        self.progress.done = True

    def current_model(self) -> Any:
        """The Keras model of the phase as it stands: the head on features, or the tail with the head.

        It is to be read. What is written to its weights may be lost.
        """
        return self.model if self.mirror is None else self.mirror()

    # -- the parts of an epoch

    def _begin(self) -> None:
        for number, callback in enumerate(self.callbacks):
            callback.on_train_begin(self)
            if number in self.restored:
                callback.load_state_dict(self.restored[number])

    def _each(self, hook: str, order: int = 1, *more: Any) -> None:
        for callback in self.callbacks[::order]:
            getattr(callback, hook)(self, *more)

    def _train(self) -> HistoryRow:
        """Take the steps of one epoch; returns the beginning of its row."""
        assert self.steps is not None
        so_far = _SoFar()
        first, planned = self.epoch * self.batches.steps, self.epochs * self.batches.steps
        untold: list[tuple[tuple[float, np.ndarray], np.ndarray, np.ndarray]] = []
        # A GPU is given its next steps before anybody looks at what came of these: it would wait meanwhile.
        behind = 1 if self.resident is None and compute.gpu_count() else 0
        steps = partial(self.steps, wait=False) if behind else self.steps
        with closing(self._chunks()) as chunks:
            for inputs, targets, weights, rows in chunks:
                rates = None if self.rates is None else self.rates(first + np.arange(len(targets)))
                taken = steps(inputs, targets, weights, rates, rows, planned)
                untold.append((taken, targets, weights))
                first += len(targets)
                del inputs, targets, weights, rows, taken  # of many classes they are large, and the next ones as well
                while len(untold) > behind:
                    self._tell(so_far, *untold.pop(0))
        for last in untold:
            self._tell(so_far, *last)
        return {
            "phase": self.name,
            "epoch": self.epoch + 1,
            "loss": so_far.loss,
            "accuracy": so_far.hits / so_far.seen if so_far.seen else None,
            "learning_rate": schedules.current(self.optimizer),
        }

    def _tell(self, so_far: _SoFar, taken: tuple[float, np.ndarray], targets: np.ndarray, weights: np.ndarray) -> None:
        """Note what came of some steps, and tell the callbacks."""
        value, outputs = float(taken[0]), np.asarray(taken[1])
        self._require_finite(value)
        so_far.losses.append(value)
        so_far.counts.append(len(targets))
        self._each("on_chunk_end", 1, len(targets), so_far.loss)
        right = tasks.of(self.loss_key[0]).hits(outputs, targets)
        if right is not None:
            so_far.hits += float((right * (weights > 0)).sum())
            so_far.seen += float((weights > 0).sum())

    def _chunks(self) -> Generator[_Batches]:
        """Those of the epoch, in its order."""
        if self.resident is not None:
            for numbers, targets, weights in self.batches.picked(self.epoch, self.resident):
                yield self._held(numbers, targets, weights)
                del numbers, targets, weights  # as in `_train`
            return
        with closing(ahead(map(_on_its_way, self.batches.epoch(self.epoch)))) as chunks:
            for inputs, targets, weights in chunks:
                yield inputs, targets, weights, None

    def _held(self, numbers: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> _Batches:
        """Some batches with the rows that they take of those in memory."""
        assert self.resident is not None
        tensors, rows = self.resident.taken(numbers)
        return tensors, targets, weights, rows

    def _require_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in phase {self.name}, epoch {self.epoch + 1}; "
                f"lower the rate (--learning-rate {self.top_rate / 10:.1e}) or use --precision float32"
            )

    def _judge(self) -> tuple[float, float]:
        """Validation score and loss."""
        outputs = self.validate(self.model)
        loss = mean_loss(LOSSES[self.loss_key], self.validation_targets, outputs)
        # The last step of an epoch can blow the weights up without any training loss to show it.
        self._require_finite(loss)
        return self.goal.score(outputs), loss

    def _note(self, row: HistoryRow, score: tuple[float, float], seconds: float) -> None:
        """Write a judged epoch down; `row` is the beginning of its row."""
        progress = self.progress
        self.improved = self.goal.better(score, progress.best)
        if self.improved:
            progress.best, progress.best_epoch = score, progress.epoch
        progress.seconds += seconds
        judged: HistoryRow = {"val_loss": score[1], f"val_{self.goal.name}": score[0], "seconds": round(seconds, 3)}
        progress.rows.append(row | judged)
        progress.epoch += 1
        progress.done = progress.done or progress.epoch >= self.epochs


def _on_its_way(chunk: Chunk) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """A chunk whose inputs are on their way to a GPU while it computes the one before."""
    inputs, targets, weights = chunk
    alone = compute.gpu_count() == 1 and compute.device_count() == 1
    # Several chunks are under way: of wide maps one batch may be larger than a chunk should be, and stays here.
    ahead_of_it = alone and sum(x.nbytes for x in inputs) <= CHUNK_BYTES
    return (compute.hold(inputs) if ahead_of_it else list(inputs)), targets, weights
