"""What a phase does besides training and validating, one small class each: see `fit.Callback` for the hooks."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import compute, terms
from transferkit.compute.keras_private import averages
from transferkit.console import Advance, Reporter
from transferkit.quantities import duration, figure
from transferkit.training import optimizers, schedules
from transferkit.training.checkpoint import Checkpoint
from transferkit.training.fit import Callback, CallbackState, Loop


def phase_callbacks(
    own: Sequence[Callback], optimizer: Any, patience: int, reporter: Reporter, *, plateau: bool = False,
    checkpoint: Path | None = None, deadline: float | None = None,
) -> list[Callback]:  # fmt: skip
    """All callbacks of a phase, in their order: what begins first ends last.

    Args:
        own: those of the caller. As an epoch ends they see the weights that were judged, and at the end the best ones.
        optimizer: the phase's; where it averages weights, the averages are what is judged.
        patience: see `EarlyStopping`.
        reporter: is told of the progress.
        plateau: whether the rate is lowered where validation stands still.
        checkpoint: the file that the phase is saved to.
        deadline: of `time.monotonic`, in seconds.
    """
    found: list[Callback] = [] if checkpoint is None else [Checkpoint(checkpoint, reporter)]
    found.append(ProgressBar(reporter))
    if optimizers.averaging(optimizer) is not None:
        found.append(WeightAverage())
    if deadline is not None:
        found.append(Budget(deadline))
    if plateau:
        found.append(Plateau())
    return [*found, EarlyStopping(patience), *own, BestWeights()]


class _Counting(Callback):
    """A callback whose state is some of its attributes, named in `counted`."""

    counted: tuple[str, ...] = ()

    def state_dict(self) -> CallbackState:
        """The attributes."""
        return {name: getattr(self, name) for name in self.counted}

    def load_state_dict(self, state: CallbackState) -> None:
        """See `state_dict`."""
        for name in self.counted:
            setattr(self, name, state[name])


class EarlyStopping(_Counting):
    """Ends a phase after `patience` epochs in which neither the score nor the loss of validation improved.

    The loss counts because a score over few pictures moves in steps.
    """

    counted = ("waited", "lowest_loss")

    def __init__(self, patience: int) -> None:
        self.patience, self.waited, self.lowest_loss = patience, 0, math.inf

    def on_epoch_end(self, loop: Loop) -> None:
        """Count."""
        loss = loop.newest("val_loss")
        self.waited = 0 if loop.improved or loss < self.lowest_loss else self.waited + 1
        self.lowest_loss = min(self.lowest_loss, loss)
        if self.waited >= self.patience:
            loop.stop()


class Plateau(_Counting):
    """`--schedule plateau`: lowers the optimizer's rate where validation stands still (see `schedules.after_epoch`)."""

    counted = ("waited",)  # the rate itself is a variable of the optimizer
    waited = 0

    def on_epoch_end(self, loop: Loop) -> None:
        """Count, and lower the rate."""
        self.waited = schedules.after_epoch(loop.optimizer, loop.improved, self.waited)


class Budget(Callback):
    """Ends a phase once `deadline` (of `time.monotonic`, in seconds) has passed.

    At least one epoch is trained, however small the budget: a phase without weights is of no use to anyone.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def on_train_begin(self, loop: Loop) -> None:
        """A phase that goes on has its one epoch already."""
        if loop.epoch:
            self.on_epoch_end(loop)

    def on_epoch_end(self, loop: Loop) -> None:
        """Look at the clock."""
        if time.monotonic() > self.deadline:
            loop.stop()


class WeightAverage(Callback):
    """`--ema`: validation sees the moving average of the weights, training goes on with its own.

    The average is the optimizer's, and among its variables.
    """

    def on_validation_begin(self, loop: Loop) -> None:
        """Swap the average in."""
        variables = loop.model.trainable_variables
        self._live = compute.values(variables)
        compute.assign(variables, compute.values(averages(optimizers.averaging(loop.optimizer))))

    def on_epoch_end(self, loop: Loop) -> None:
        """Swap the live weights back in."""
        compute.assign(loop.model.trainable_variables, self._live)


class BestWeights(_Counting):
    """Keeps the weights of the best epoch, and leaves the model with them."""

    counted = ("weights",)

    def __init__(self) -> None:
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, loop: Loop) -> None:
        """Copy."""
        if loop.improved:
            self.weights = compute.values(loop.model.weights)

    def on_train_end(self, loop: Loop) -> None:
        """Put them back."""
        compute.assign(loop.model.weights, self.weights)


class ProgressBar(Callback):
    """A bar over a phase's epochs, and a line that stays on what came of it."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self._advance: Advance | None = None
        self._moved = 0.0  # of the epoch in training, which is one unit

    def on_epoch_begin(self, loop: Loop) -> None:
        """Open the bar, where it is not."""
        self._moved = 0.0
        if self._advance is None:
            bar = self.reporter.progress(terms.phase(loop.name), loop.last, "epochs", loop.epoch)
            self._open = loop.exits.enter_context(ExitStack())
            self._advance = self._open.enter_context(bar)

    def on_chunk_end(self, loop: Loop, steps: int, loss: float) -> None:
        """Move it. Validation takes its share of an epoch: as much as of its pictures."""
        pictures = len(loop.batches.pictures)
        part = pictures / (pictures + len(loop.validation_targets)) * steps / loop.batches.steps
        self._moved += part
        self._move(loop, part, loss)

    def on_epoch_end(self, loop: Loop) -> None:
        """Move it to the end of the epoch."""
        self._move(loop, 1 - self._moved, loop.newest("loss"))

    def on_train_end(self, loop: Loop) -> None:
        """Take the bar away and say what came of the phase."""
        if self._advance is not None:
            self._open.close()
        progress = loop.progress
        if progress.best is not None and loop.goal.words:
            self.reporter.say(
                f"{terms.phase(loop.name)}: validation {loop.goal.words} {figure(progress.best[0])} after epoch "
                f"{progress.best_epoch + 1} of {progress.epoch}, {duration(progress.seconds)}"
            )

    def _move(self, loop: Loop, part: float, loss: float) -> None:
        assert self._advance is not None
        self._advance(part, _standing(loop, loss))


def _standing(loop: Loop, loss: float) -> str:
    """What stands beside the bar: the loss of this epoch so far, the newest validation score, the best."""
    parts = [f"loss {figure(loss)}"]
    if loop.progress.best is not None and loop.goal.words:
        newest = loop.newest(f"val_{loop.goal.name}")
        parts += [f"validation {loop.goal.words} {figure(newest)}", f"best {figure(loop.progress.best[0])}"]
    return "; ".join(parts)
