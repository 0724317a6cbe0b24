"""One loop for every phase, cached or streamed, head or tail: watches validation, keeps the best, resumes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from transferkit import compute, terms
from transferkit.console import Advance, Reporter, duration, figure
from transferkit.data.threads import ahead
from transferkit.errors import TrainingError
from transferkit.features.extract import ResidentRows
from transferkit.files import atomic_path
from transferkit.training import optimizers, schedules
from transferkit.training.batches import Batches
from transferkit.training.losses import LOSSES, mean_loss

Watch = Callable[[dict[str, Any]], None]  # is shown each finished epoch's row of history.csv
SAVE_EVERY = 20.0  # seconds between two checkpoints: what a kill can cost


def ignore(row: dict[str, Any]) -> None:
    """Watch nothing."""


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
        """Compare (score, loss); equal scores are told apart by the loss."""
        if old is None:
            return True
        sign = 1 if self.maximise else -1
        return (sign * new[0], -new[1]) > (sign * old[0], -old[1])


@dataclass
class Progress:
    """Everything that changes while a phase runs; what a checkpoint holds besides the variables."""

    epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, float] | None = None
    best_epoch: int = -1
    lowest_loss: float = math.inf
    waited: int = 0
    plateau_waited: int = 0
    seconds: float = 0.0
    done: bool = False


@dataclass
class Loop:
    """A phase: `model` (inputs → logits) is trained on `batches` for at most `epochs`, then holds its best weights."""

    name: str
    model: Any
    optimizer: Any
    loss_key: tuple[str, str]
    batches: Batches
    validate: Callable[[Any], np.ndarray]
    validation_targets: np.ndarray
    goal: StoppingMetric
    epochs: int
    patience: int
    plateau: bool
    checkpoint: Path | None
    deadline: float | None
    reporter: Reporter
    top_rate: float  # the rate asked for at its peak, for advice
    watch: Watch = ignore
    pause: int | None = None  # stop after this epoch, with a checkpoint from which a later call goes on
    rates: schedules.Curve | None = None  # of all steps; the optimizer's own rate where there is none
    held: ResidentRows | None = None  # the batches' rows, where they are in memory
    steps: compute.Steps | None = None  # compiled before, for this model and optimizer

    def run(self) -> Progress:
        """Train. Raises TrainingError when the loss is no longer a number, StorageError when the disk is full."""
        progress, last = Progress(), self.epochs if self.pause is None else min(self.pause, self.epochs)
        steps = self.steps or compute.steps(self.model, self.optimizer, LOSSES[self.loss_key])
        best = self._resume(progress, compute.values(self.model.weights))
        saved = time.monotonic()
        with self.reporter.progress(terms.phase(self.name), last, "epochs", progress.epoch) as advance:
            while progress.epoch < last and not self._finished(progress):
                best = self._epoch(progress, steps, best, advance)
                if self.checkpoint and time.monotonic() - saved > SAVE_EVERY:
                    self._save(progress, best)
                    saved = time.monotonic()
        if self.checkpoint and not progress.done:
            progress.done = last == self.epochs or self._finished(progress)
            self._save(progress, best)
        compute.assign(self.model.weights, best)
        self._tell(progress)
        return progress

    def _tell(self, progress: Progress) -> None:
        """What came of the phase, in a line that stays."""
        if progress.best is None or not self.goal.words:
            return
        self.reporter.say(
            f"{terms.phase(self.name)}: validation {self.goal.words} {figure(progress.best[0])} after epoch "
            f"{progress.best_epoch + 1} of {progress.epoch}, {duration(progress.seconds)}"
        )

    def _standing(self, progress: Progress, loss: float) -> str:
        """What stands beside the bar: the loss of this epoch so far, the newest validation score, the best."""
        said = [f"loss {figure(loss)}"]
        if progress.rows and progress.best is not None and self.goal.words:
            newest = progress.rows[-1][f"val_{self.goal.name}"]
            said.append(f"validation {self.goal.words} {figure(newest)}")
            said.append(f"best {figure(progress.best[0])}")
        return "; ".join(said)

    def _epoch(
        self, progress: Progress, steps: compute.Steps, best: list[np.ndarray], advance: Advance
    ) -> list[np.ndarray]:
        """One epoch and its judgement, noted in `progress`; returns the best weights so far."""
        started, moved = time.monotonic(), 0.0
        # Validation takes its share of an epoch: as much as of its pictures.
        share = len(self.batches.pictures) / (len(self.batches.pictures) + len(self.validation_targets))

        def on(steps_done: int, loss: float) -> None:
            nonlocal moved
            part = share * steps_done / self.batches.steps
            moved += part
            advance(part, self._standing(progress, loss))

        row = self._train(steps, progress.epoch, on)
        with self._averaged():
            score = self._judge(row)
            self._wait(progress, score)
            improved = self.goal.better(score, progress.best)
            if improved:
                progress.best, progress.best_epoch = score, progress.epoch
                best = compute.values(self.model.weights)
        if self.plateau:
            progress.plateau_waited = schedules.after_epoch(self.optimizer, improved, progress.plateau_waited)
        seconds = time.monotonic() - started
        progress.seconds += seconds
        progress.rows.append({**row, "seconds": round(seconds, 3)})
        self.watch(progress.rows[-1])
        advance(1 - moved, self._standing(progress, row["loss"]))
        progress.epoch += 1
        return best

    def _wait(self, progress: Progress, score: tuple[float, float]) -> None:
        """Count epochs in which neither the score nor the loss improved: a score over few pictures moves in steps."""
        better = self.goal.better(score, progress.best)
        progress.waited = 0 if better or score[1] < progress.lowest_loss else progress.waited + 1
        progress.lowest_loss = min(progress.lowest_loss, score[1])

    def _finished(self, progress: Progress) -> bool:
        if progress.done or progress.waited >= self.patience:
            return True
        # At least one epoch, however small the budget: a phase without weights is of no use to anyone.
        return self.deadline is not None and progress.epoch > 0 and time.monotonic() > self.deadline

    def _train(self, steps: compute.Steps, number: int, on: Callable[[int, float], None]) -> dict[str, Any]:
        losses, counts, hits, seen = [], [], 0.0, 0.0
        first, planned = number * self.batches.steps, self.epochs * self.batches.steps
        with closing(self._chunks(number)) as chunks:
            for inputs, targets, weights, rows in chunks:
                rates = None if self.rates is None else self.rates(first + np.arange(len(targets)))
                value, outputs = steps(inputs, targets, weights, rates, rows, planned)
                first += len(targets)
                self._require_finite(value, number)
                losses.append(value)
                counts.append(len(targets))
                on(len(targets), float(np.average(losses, weights=counts)))
                if self.loss_key[0] == "classify":
                    hits += float(((outputs.argmax(-1) == targets.argmax(-1)) * (weights > 0)).sum())
                    seen += float((weights > 0).sum())
        return {
            "phase": self.name,
            "epoch": number + 1,
            "loss": float(np.average(losses, weights=counts)),
            "accuracy": hits / seen if seen else None,
            "learning_rate": self._rate(),
        }

    def _chunks(self, number: int) -> Generator[tuple[list[Any], np.ndarray, np.ndarray, np.ndarray | None]]:
        """Inputs, targets, weights and, where the inputs are held in memory, the rows that each batch takes of them."""
        if self.held is not None:
            for rows, targets, weights in self.batches.picked(number, self.held):
                yield self.held.tensors, targets, weights, rows
            return
        with closing(ahead(self.batches.epoch(number))) as chunks:
            for inputs, targets, weights in chunks:
                yield inputs, targets, weights, None

    def _require_finite(self, loss: float, number: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in phase {self.name}, epoch {number + 1}; "
                f"lower the rate (--learning-rate {self.top_rate / 10:.1e}) or use --precision float32"
            )

    def _judge(self, row: dict[str, Any]) -> tuple[float, float]:
        """Validation score and loss, also written into `row`."""
        outputs = self.validate(self.model)
        row["val_loss"] = mean_loss(LOSSES[self.loss_key], self.validation_targets, outputs)
        # The last step of an epoch can blow the weights up without any training loss to show it.
        self._require_finite(row["val_loss"], row["epoch"] - 1)
        row[f"val_{self.goal.name}"] = self.goal.score(outputs)
        return row[f"val_{self.goal.name}"], row["val_loss"]

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Inside: the moving average of the weights, where the optimizer keeps one; outside: those it trains."""
        keeper = optimizers.averaging(self.optimizer)
        if keeper is None:
            yield
            return
        live = compute.values(self.model.trainable_variables)
        keeper.finalize_variable_values(self.model.trainable_variables)
        yield
        compute.assign(self.model.trainable_variables, live)

    def _rate(self) -> float:
        return schedules.current(self.optimizer)

    def _save(self, progress: Progress, best: list[np.ndarray]) -> None:
        assert self.checkpoint is not None
        state = json.dumps({**progress.__dict__})
        arrays = {f"m{i}": v for i, v in enumerate(compute.values(self.model.variables))}
        arrays |= {f"o{i}": v for i, v in enumerate(compute.values(self.optimizer.variables))}
        arrays |= {f"b{i}": v for i, v in enumerate(best)}
        with atomic_path(self.checkpoint) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, state=np.array(state), **arrays)  # type: ignore[arg-type]

    def _resume(self, progress: Progress, best: list[np.ndarray]) -> list[np.ndarray]:
        if self.checkpoint is None or not self.checkpoint.exists():
            return best
        try:
            # A file of our own: np.load leaves one open that turns out to be damaged.
            with open(self.checkpoint, "rb") as handle, np.load(handle, allow_pickle=False) as saved:
                state = json.loads(str(saved["state"]))
                groups = (self.model.variables, self.optimizer.variables)
                stored = [
                    [saved[f"{letter}{i}"] for i in range(len(group))]
                    for letter, group in zip("mo", groups, strict=True)
                ]
                best = [saved[f"b{i}"] for i in range(len(best))]
        except (ValueError, KeyError, EOFError, BadZipFile) as error:
            self.reporter.warn(f"{self.checkpoint} is damaged ({error}); phase {self.name} starts anew")
            return best
        for group, content in zip(groups, stored, strict=True):
            compute.assign(group, content)
        progress.__dict__.update(state)
        if progress.best is not None:
            progress.best = (progress.best[0], progress.best[1])
        what = "done before" if progress.done else f"going on after epoch {progress.epoch}"
        self.reporter.say(f"{terms.phase(self.name)}: {what}")
        return best
