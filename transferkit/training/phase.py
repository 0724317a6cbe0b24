"""One phase of training: settings become batches, an optimizer, a rate over time and a loop; the phase is reported."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from transferkit import compute, tasks
from transferkit.config import Settings
from transferkit.config.declarations import HEADS
from transferkit.console import Reporter
from transferkit.errors import TrainingError
from transferkit.features import working_arrays
from transferkit.features.precision import PROBE_REPEATS, Precision, Trial, applied
from transferkit.features.row_sources import ResidentRows, Source, Stored, Streamed
from transferkit.features.store import ResidentSet
from transferkit.record import HistoryRow
from transferkit.training import batches as b
from transferkit.training import callbacks, losses, schedules
from transferkit.training.fit import Callback, Loop, Progress
from transferkit.training.optimizers import OptimizerConfig
from transferkit.training.problem import PhaseReport, Problem

if TYPE_CHECKING:
    import keras

    from transferkit.training.compiled_heads import HeadPool, ReusableHead

LABEL_SMOOTHING = 0.1  # where the user leaves the choice; none for regression
AVERAGE_EPOCHS = 2.0  # the span of the moving average of weights
OUTPUT_BATCH = 64
T = TypeVar("T")
OUTPUTS_AT_ONCE = 8192  # where the rows are in memory


@dataclass(frozen=True)
class Phase:
    """What is special about a phase. `trained` says in words what it trains; `factors` are layer-wise (by path)."""

    name: str
    trained: str
    rate: float
    epochs: int
    warmup: bool = True
    factors: dict[str, float] = field(default_factory=dict)
    precision: Precision = field(default_factory=Precision)
    pause: int | None = None  # see `Loop`
    rates: tuple[float, ...] | None = None  # of the epochs one by one, in place of the schedule's


@dataclass
class Trainer:
    """Trains phases on one problem, one after the other, and keeps their reports.

    `rate` is the setting's value, `deadline` one of `time.monotonic`; `callbacks` are told of every phase, besides
    those that belong to each.
    """

    settings: Settings
    problem: Problem
    views: int
    reporter: Reporter
    checkpoints: Path | None = None
    deadline: float | None = None
    rate: float = 1e-3
    callbacks: Sequence[Callback] = ()
    pool: HeadPool | None = None  # trains heads of like shape through one trace

    def __post_init__(self) -> None:
        self.batch_size = b.batch_size(self.settings, len(self.problem.train))
        self.accumulate = 1  # steps that make one update
        self._halved = 0  # times that the batch did not fit into memory
        self.history: list[HistoryRow] = []
        self.phases: list[PhaseReport] = []
        self._forward_of: tuple[Any, compute.Forward] | None = None
        self._stand_in: ReusableHead | None = None  # was trained last, in the place of a head

    def train(self, phase: Phase, model: keras.Model, source: Source) -> tuple[float, float]:
        """Train one phase. Where memory runs out the batch is halved and the phase begins again.

        Args:
            phase: what is special about it.
            model: rows of `source` → logits [n, t]; it is left with its best weights.
            source: the inputs, by picture and view.

        Returns:
            Score and loss of validation with these weights, in float32.

        Raises:
            TrainingError: nothing is left to halve, or the loss is no longer a number.
        """
        return self._fitting(lambda: self._train(phase, model, source), model)

    def take(self, phase: Phase, model: keras.Model, source: Source) -> None:
        """Have `outputs` answer for a head as if it had been trained here, to the last digit.

        Args:
            phase, model, source: as for `train`.
        """
        self._stand_in = self._reusable(phase, model, self.batches(source).steps)

    def _train(self, phase: Phase, model: keras.Model, source: Source) -> tuple[float, float]:
        batches, problem = self.batches(source), self.problem
        resident = None if batches.mixes else _resident(source)
        reusable = self._reusable(phase, model, batches.steps) if resident else None
        trained, optimizer = model, self._optimizer(phase, batches.steps) if reusable is None else reusable.optimizer
        if reusable is not None:
            trained, self._forward_of = reusable.model, (reusable.model, reusable.forward)
        loop = Loop(
            name=phase.name, model=trained, optimizer=optimizer, loss_key=self.loss_key, batches=batches,
            validate=lambda m: self.outputs(m, source, problem.val), validation_targets=problem.validation,
            goal=problem.goal, epochs=phase.epochs, top_rate=self.rate, callbacks=self._callbacks(phase, optimizer),
            pause=phase.pause, rates=self._rates(phase, batches.steps), resident=resident,
            steps=None if reusable is None else reusable.steps,
            mirror=None if reusable is None else partial(reusable.give, model),
        )  # fmt: skip
        with applied(model, phase.precision):
            progress = loop.run()
        if reusable is not None:
            reusable.give(model)
            self._stand_in = reusable
        assert progress.best is not None
        best = progress.best
        if phase.precision.how == "policy":
            self._forward_of = None  # what was traced inside computes in low precision; outputs are to be float32
            best = self._judged(model, source)
        self.history += progress.rows
        self.phases.append(_report(phase, model, source, progress, best))
        return best

    def _callbacks(self, phase: Phase, optimizer: Any) -> list[Callback]:
        # Of smaller batches, other checkpoints: gradients that are being accumulated are part of them.
        name = f"phase-{len(self.phases)}{'-halved' * self._halved}.npz"
        return callbacks.phase_callbacks(
            self.callbacks, optimizer, self.settings.patience, self.reporter, deadline=self.deadline,
            plateau=self.settings.schedule == "plateau" and phase.rates is None,
            checkpoint=None if self.checkpoints is None else self.checkpoints / name,
        )  # fmt: skip

    def _judged(self, model: keras.Model, source: Source) -> tuple[float, float]:
        """Validation score and loss in float32, in which the model is shipped: by these, phases are compared."""
        problem = self.problem
        outputs = self.outputs(model, source, problem.val)
        loss = losses.mean_loss(losses.LOSSES[self.loss_key], problem.validation, outputs)
        return problem.goal.score(outputs), loss

    def _rates(self, phase: Phase, steps: int) -> schedules.Curve | None:
        """The learning rate of every step; steps that make one update share theirs."""
        warmup = schedules.WARMUP_SHARE if phase.warmup else 0.0
        together = self.accumulate
        if phase.rates is not None:
            by_epoch = np.asarray(phase.rates, np.float32)
            return lambda numbers: by_epoch[np.minimum(numbers // steps, len(by_epoch) - 1)]
        updates = -(-phase.epochs * steps // together)
        curve = schedules.curve(self.settings.schedule, phase.rate, updates, warmup=warmup)
        return None if curve is None else lambda numbers: curve(numbers // together)

    def _fitting(self, work: Callable[[], T], model: keras.Model) -> T:
        """What `work` gives, with batches small enough for the memory there is; `model` starts again each time."""
        before = compute.values(model.weights)
        while True:
            try:
                return work()
            except Exception as error:
                if not compute.out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            # Not inside the handler: the error holds on to what was computed.
            self._halve(reason)
            compute.assign(model.weights, before)

    def _halve(self, reason: str) -> None:
        if self.batch_size == 1:
            raise TrainingError(
                f"a step on one picture does not fit into memory ({reason}); use a smaller --image-size, "
                "or unfreeze less"
            )
        before, self.batch_size = self.batch_size, -(-self.batch_size // 2)
        self.accumulate, self._halved = 2 * self.accumulate, self._halved + 1
        self.reporter.warn(
            f"out of memory with {before} pictures a step: going on with {self.batch_size}, the gradients of "
            f"{self.accumulate} steps making one update, so that an update sees as many as before"
        )
        self._forward_of = None
        if self.pool is not None:
            self.pool.clear()
        gc.collect()

    def _reusable(self, phase: Phase, model: keras.Model, steps: int) -> ReusableHead | None:
        """What trains `model` in its place without compiling again, where there is a pool and the phase is a head's."""
        if self.pool is None or phase.factors or phase.precision.how != "plain" or self.settings.head not in HEADS:
            return None
        return self.pool.head_for(model, self.loss_key, self._configured(phase.rate, steps))

    def _optimizer(self, phase: Phase, steps: int) -> Any:
        return self.optimizer(phase.rate, phase.factors, steps, phase.precision.name == "float16")

    def trial(self, phase: Phase, model: keras.Model, source: Source) -> Trial:
        """What measures one step of `phase`.

        Returns:
            precision → (seconds of a step once it is compiled, logits [b, t] of the first batch); `model` is left as
            it came.
        """

        def measure(precision: Precision) -> tuple[float, np.ndarray]:
            return self._fitting(lambda: once(precision), model)

        def once(precision: Precision) -> tuple[float, np.ndarray]:
            inputs, targets, weights = next(self.batches(source).epoch(0))
            one = [x[:1] for x in inputs], targets[:1], weights[:1]
            before = compute.values(model.variables)
            with applied(model, precision):
                outputs = compute.forward(model)([x[0] for x in one[0]])[0]
                step = compute.steps(model, self.optimizer(phase.rate, phase.factors), losses.LOSSES[self.loss_key])
                seconds = []
                for _ in range(PROBE_REPEATS + 1):
                    started = time.perf_counter()
                    step(*one)
                    seconds.append(time.perf_counter() - started)
            compute.assign(model.variables, before)
            return min(seconds[1:]), outputs  # the first step was traced

        return measure

    @property
    def loss_key(self) -> tuple[str, str]:
        """The key of the loss in `losses.LOSSES`."""
        task = self.problem.samples.task
        return task, tasks.of(task).default_loss if self.settings.loss == "auto" else self.settings.loss

    def optimizer(self, rate: Any, factors: dict[str, float], steps: int = 0, loss_scale: bool = False) -> Any:
        """The settings' optimizer.

        Args:
            rate: the learning rate, a number or a keras schedule.
            factors: of the learning rate, by variable path.
            steps: in an epoch; 0 keeps no average of the weights, whatever the settings say.
            loss_scale: see `optimizers.build`.
        """
        return self._configured(rate, steps).build(rates=factors, loss_scale=loss_scale)

    def _configured(self, rate: Any, steps: int) -> OptimizerConfig:
        s = self.settings
        span = max(2, round(AVERAGE_EPOCHS * steps)) if s.ema and steps else 0
        return OptimizerConfig(
            name=s.optimizer, learning_rate=rate, weight_decay=s.weight_decay, average_steps=span,
            accumulate=self.accumulate,
        )  # fmt: skip

    def batches(self, source: Source) -> b.Batches:
        """The settings' batches of the training pictures; each phase has an order of its own."""
        s, train = self.settings, self.problem.train
        views = self.views
        if isinstance(source, Streamed) and source.network is None and views and "views" not in s.model_fields_set:
            views = s.epochs  # of pixels nothing is ever kept, so every epoch may as well draw new views
        weights = np.ones(len(train), np.float32)
        if s.class_weights == "balanced":
            weights = b.balanced_weights(self.problem.samples.targets[train], len(self.problem.samples.classes))
        seed = s.seed + 1000 * len(self.phases)
        return b.Batches(source, train, self._targets(), weights, self.batch_size, views, seed, s.mixup, s.cutmix)

    def _targets(self) -> b.Smoothed:
        """Training targets, smoothed."""
        problem, soft = self.problem, self.settings.label_smoothing
        amount = LABEL_SMOOTHING if soft is None else soft
        return b.Smoothed(problem.targets, problem.train, partial(problem.samples.kind.smoothed, amount=amount))

    def outputs(self, model: keras.Model, source: Source, pictures: np.ndarray) -> np.ndarray:
        """What a model answers to clean pictures.

        Args:
            model: rows of `source` → logits.
            source: the inputs, by picture and view.
            pictures: row numbers, int [n].

        Returns:
            Logits float32 [n, t], in the order of `pictures`.
        """
        run = self._forward(model)
        resident = _resident(source)
        if resident is None:
            return predict(run, source, pictures)
        parts = np.array_split(np.arange(len(pictures)), -(-len(pictures) // min(OUTPUTS_AT_ONCE, resident.most)))
        outputs = (run(*resident.taken(resident.rows(pictures[some], 0)))[0] for some in parts)
        return np.asarray(working_arrays.filled(len(pictures), outputs))

    def _forward(self, model: keras.Model) -> compute.Forward:
        """One trace a phase, not one an epoch; and none for a head that another has just been trained for."""
        if self._stand_in is not None and self._stand_in.stands_for(model):
            return self._stand_in.forward
        if self._forward_of is None or self._forward_of[0] is not model:
            self._forward_of = (model, compute.halving(compute.forward(model), self.reporter.warn))
        return self._forward_of[1]


def _resident(source: Source) -> ResidentRows | None:
    return source.resident() if isinstance(source, Stored) else None


def _report(
    phase: Phase, model: keras.Model, source: Source, progress: Progress, best: tuple[float, float]
) -> PhaseReport:
    return PhaseReport(
        phase.name,
        phase.trained,
        sum(int(np.prod(w.shape)) for w in model.trainable_weights),
        progress.epoch,
        progress.best_epoch + 1,
        *best,
        progress.seconds,
        _kept(source),
        phase.precision.name,
    )


def _kept(source: Source) -> str:
    if isinstance(source, Streamed):
        return "computed each epoch"
    return "held in memory" if isinstance(getattr(source, "features", None), ResidentSet) else "cached"


def predict(run: Callable[..., list[np.ndarray]], source: Source, pictures: np.ndarray) -> np.ndarray:
    """Answers to the clean view of pictures, in batches of one shape.

    Args:
        run: a batch of inputs → a list of outputs (see `compute.forward`).
        source: the inputs, by picture and view.
        pictures: row numbers, int [n].

    Returns:
        The first output, float32 [n, …].
    """

    def parts() -> Iterator[np.ndarray]:
        for start in range(0, len(pictures), OUTPUT_BATCH):
            some = pictures[start : start + OUTPUT_BATCH]
            inputs = source.take(np.resize(some, OUTPUT_BATCH), np.zeros(OUTPUT_BATCH, np.int64))
            yield run(inputs)[0][: len(some)]

    return np.asarray(working_arrays.filled(len(pictures), parts()))
