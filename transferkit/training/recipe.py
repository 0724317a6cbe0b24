"""LP-FT (Kumar et al. 2022): the head first, on cached features; then, if the policy unfreezes, tail and head together
from there, at a low, layer-wise rate. The phase that validates best is kept.

Fine-tuning from a random head first bends good features towards noise; a trained head avoids that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute, heads
from transferkit.backbones import freeze
from transferkit.backbones.build import Backbone
from transferkit.backbones.cut import operations_of
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.samples import Samples
from transferkit.features.extract import Source, Streamed, Views
from transferkit.features.frozen import Frozen, Rows
from transferkit.features.precision import Precision, applied
from transferkit.training import batches as b
from transferkit.training import losses, optimizers, range_test, schedules
from transferkit.training.fit import Goal, Loop

if TYPE_CHECKING:
    import keras

# Where the user leaves it. Three times Adam's usual 1e-3: features are standardised and weights averaged.
HEAD_RATES = {"adamw": 3e-3, "adam": 3e-3, "rmsprop": 1e-3, "sgd": 1e-1, "momentum": 3e-2}
TAIL_RATE = 0.13  # of the head's learning rate
MIXUP, LABEL_SMOOTHING = 0.2, 0.1  # where the user leaves the choice; both off for regression
AVERAGE_EPOCHS = 2.0  # the span of the moving average of weights
JUDGED_TRAINING = 1000  # training pictures on which the final model is scored, to see over- and underfitting


Units = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Problem:
    """What is to be learnt. `train` and `val` are row numbers of `samples`; `targets` float32 [N, t] for the loss."""

    samples: Samples
    train: np.ndarray
    val: np.ndarray
    targets: np.ndarray
    units: Units | None  # mean and deviation of regression targets
    goal: Goal

    @property
    def outputs(self) -> int:
        """Width of the logits."""
        return int(self.targets.shape[1])


Judge = Callable[[Samples, Units | None], Goal]


def problem(samples: Samples, train: np.ndarray, val: np.ndarray, judge: Judge) -> Problem:
    """Targets as the losses want them: one-hot, 0/1, or standardised by the training pictures.

    `judge(validation samples, units)` makes the goal.
    """
    units = None
    if samples.task == "classify":
        targets = b.one_hot(samples.targets, len(samples.classes), 0.0)
    else:
        targets = samples.targets.astype(np.float32)
    if samples.task == "regress":
        mean, deviation = samples.targets[train].mean(0), samples.targets[train].std(0)
        units = (mean, np.where(deviation > 0, deviation, 1.0))
        targets = ((samples.targets - units[0]) / units[1]).astype(np.float32)
    return Problem(samples, train, val, targets, units, judge(samples.select(val), units))


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
    source: str


@dataclass
class Trained:
    """What the recipe gives back. `model` maps uint8 pictures [n, size, size, 3] to logits [n, t], in float32."""

    model: keras.Model
    phases: list[PhaseReport]
    chosen: str
    history: list[dict[str, Any]]
    val_outputs: np.ndarray
    train_outputs: np.ndarray
    train_judged: np.ndarray
    features: Rows
    pretrained: list[np.ndarray] | None
    notes: list[str] = field(default_factory=list)
    rate_curve: list[dict[str, float]] = field(default_factory=list)
    fold_scores: list[float] = field(default_factory=list)


@dataclass
class Recipe:
    """One training run of a backbone on a problem."""

    backbone: Backbone
    settings: Settings
    problem: Problem
    views: Views
    reporter: Reporter
    checkpoints: Path | None = None
    deadline: float | None = None
    cache: bool = True
    folds: Sequence[Problem] = ()

    def __post_init__(self) -> None:
        self.frozen = Frozen(self.backbone, self.settings, self.views, self.cache, self.reporter)
        self.history: list[dict[str, Any]] = []
        self.phases: list[PhaseReport] = []
        self.notes: list[str] = []
        self.batch_size = self._batch_size()
        self.timings: dict[str, float] = {}

    def run(self) -> Trained:
        """Extract, train the head, train the tail, keep the better."""
        model = self.backbone.model
        freeze.freeze_at(model, len(operations_of(model)))
        steps = self._tail_steps()
        pooled = self.frozen.pooled()
        self._extract(pooled, steps)
        source = self.frozen.source(pooled, self.problem.samples, self._wanted())
        body = self._body(source, pooled)
        curve = self._learning_rate(body, source)
        fold_scores = [self._fold(number, part, source, pooled) for number, part in enumerate(self.folds, 1)]
        best = self._phase("head", body, source, self.rate, "head only", {})
        pretrained = [np.array(w) for w in model.weights] if steps else None
        kept = self._snapshot(body)
        val = self._outputs(body, source, self.problem.val)
        judged = self._judged()
        train = self._outputs(body, source, judged)
        for policy in steps:
            score, outputs = self._tail_phase(policy, body, len(steps), judged)
            if self.problem.goal.better(score, best):
                best, kept, (val, train) = score, self._snapshot(body), outputs
        self._restore(body, kept)
        freeze.freeze_at(model, len(operations_of(model)))
        signed = -1 if not self.problem.goal.maximise else 1
        chosen = max(self.phases, key=lambda p: (signed * p.score, -p.loss)).name
        return Trained(
            self._whole(body), self.phases, chosen, self.history, val, train, judged, pooled, pretrained,
            self.notes, curve, fold_scores,
        )  # fmt: skip

    # -- inputs

    def _wanted(self) -> dict[int, range]:
        """Views per picture: all of them for training, the clean one for validation."""
        wanted = {int(i): range(1) for i in self.problem.val}
        # Under cross-validation every picture of train and validation is trained on in some fold.
        trained_on = np.union1d(self.problem.train, self.problem.val) if self.folds else self.problem.train
        return wanted | {int(i): range(self.views.count + 1) for i in trained_on}

    def _tail_steps(self) -> list[str]:
        if self.settings.unfreeze == "none":
            return []
        if self.settings.unfreeze == "gradual":
            return freeze.gradual_steps(self.backbone.row)
        return [self.settings.unfreeze]

    def _extract(self, pooled: Rows, steps: list[str]) -> None:
        started = time.monotonic()
        samples, wanted = self.problem.samples, self._wanted()
        kinds = [pooled]
        if steps:
            first = self._first(steps[0])
            _, rows = self.frozen.at(first)
            if rows is not None and rows.tail is not None:
                kinds = [rows, pooled]
        self.frozen.choose_precision(pooled, samples, sum(len(v) for v in wanted.values()))
        self.frozen.prepare(kinds, samples, wanted)
        self.timings["features"] = time.monotonic() - started

    def _first(self, policy: str) -> int:
        return freeze.first_trainable(self.backbone.model, self.backbone.row, policy)

    # -- the head

    def _body(self, source: Source, pooled: Rows) -> keras.Model:
        s = self.settings
        widths = () if s.head == "linear" else s.head_width
        settings = heads.HeadSettings(widths, s.dropout, s.l1, s.l2, s.pooling, s.seed)
        moments = None
        rows = self._sample(source)
        if pooled.label == "map":
            return self._map_body(settings, rows)
        if s.normalize:
            moments = (rows.mean(0), rows.std(0))
        return heads.body(rows.shape[1], self.problem.outputs, settings, moments)

    def _map_body(self, settings: heads.HeadSettings, rows: np.ndarray) -> keras.Model:
        """A body that pools by itself, for training on feature maps (CutMix)."""
        import keras

        pool = heads.pool(rows.shape[1:], settings.pooling)
        assert pool is not None
        vectors = compute.forward(pool)([rows])[0]
        moments = (vectors.mean(0), vectors.std(0)) if self.settings.normalize else None
        inner = heads.body(vectors.shape[1], self.problem.outputs, settings, moments)
        inputs = keras.Input(rows.shape[1:], name="feature_map")
        return keras.Model(inputs, inner(pool(inputs)), name="head")

    def _sample(self, source: Source) -> np.ndarray:
        """At most 4,096 training rows over all views: enough for means and deviations to two digits."""
        rng = np.random.default_rng(self.settings.seed)
        train = self.problem.train
        pictures = rng.permutation(np.repeat(train, -(-4096 // len(train))))[:4096]
        views = rng.integers(0, self.views.count + 1, len(pictures))
        return source.take(pictures, views)[0]

    def _learning_rate(self, body: keras.Model, source: Source) -> list[dict[str, float]]:
        if self.settings.learning_rate != "auto":
            self.rate = self.settings.learning_rate or HEAD_RATES[self.settings.optimizer]
            return []
        batches = self._batches(source)
        self.rate, curve = range_test.find(body, lambda rate: self._optimizer(rate, {}), self._loss_key(), batches)
        self.notes.append(f"learning rate {self.rate:.2g}, from a range test over {len(curve)} steps")
        self.reporter.say(f"learning rate: {self.rate:.2g} (range test)")
        return curve

    # -- phases

    def _fold(self, number: int, part: Problem, source: Source, pooled: Rows) -> float:
        """Validation score of a head trained on one fold's training pictures."""
        inner = Recipe(self.backbone, self.settings, part, self.views, self.reporter, None, self.deadline, self.cache)
        inner.rate = self.rate
        body = inner._body(source, pooled)
        score, _ = inner._phase(f"fold {number}/{len(self.folds)}", body, source, self.rate, "head only", {})
        return score

    def _tail_phase(
        self, policy: str, body: keras.Model, phases: int, judged: np.ndarray
    ) -> tuple[tuple[float, float], tuple[np.ndarray, np.ndarray]]:
        """Train everything above the cut of `policy` together with the head."""
        model, samples = self.backbone.model, self.problem.samples
        first = self._first(policy)
        parts, rows = self.frozen.at(first)
        freeze.freeze_at(model, first, self.settings.batchnorm)
        if rows is None:
            source, tail = self.frozen.pixels(samples), self._with_preprocessing()
        else:
            self.frozen.prepare([rows], samples, self._wanted())
            source, tail = self.frozen.source(rows, samples, self._wanted()), parts.tail
        trainee = self._trainee(source, tail, body)
        name = "tail" if phases == 1 else f"tail {policy}"
        trained = f"{policy}: {freeze.describe(model)['trainable']:,} backbone weights + head"
        rates = optimizers.layer_rates(model, self._depths(), self.settings.layer_decay)
        score = self._phase(name, trainee, source, self.rate * TAIL_RATE, trained, rates, phases)
        outputs = (
            self._outputs(trainee, source, self.problem.val),
            self._outputs(trainee, source, judged),
        )
        return score, outputs

    def _with_preprocessing(self) -> keras.Model:
        import keras

        size = self.backbone.size
        x = inputs = keras.Input((size, size, 3), name="pixels")
        for layer in self.backbone.preprocessing():
            x = layer(x)
        return keras.Model(inputs, self.backbone.model(x))

    def _trainee(self, source: Source, tail: keras.Model | None, body: keras.Model) -> keras.Model:
        import keras

        inputs = [keras.Input(shape) for shape in source.shapes]
        x = inputs[0] if len(inputs) == 1 else inputs
        if tail is not None:
            x = tail(x)
        return keras.Model(inputs, self._head_on(x, body))

    def _head_on(self, x: Any, body: keras.Model) -> Any:
        """The head on a backbone's output; a body made for maps pools by itself."""
        pool = heads.pool(x.shape[1:], self.settings.pooling) if len(body.input_shape) == 2 else None
        return body(x if pool is None else pool(x))

    def _depths(self) -> dict[str, float]:
        """Distance of every layer below the top stage, in quarters of the network, however many stages it has."""
        model, row = self.backbone.model, self.backbone.row
        names = list(row.stage_names)
        starts = [freeze.stage_start(model, row, name) for name in names]
        depths = {}
        for index, operation in enumerate(operations_of(model)):
            stage = sum(start <= index for start in starts)
            depths[operation.name] = 4 * (len(names) - max(stage, 1)) / max(len(names) - 1, 1)
        return depths

    def _phase(
        self, name: str, model: keras.Model, source: Source, rate: float, trained: str,
        rates: dict[str, float], phases: int = 1,
    ) -> tuple[float, float]:  # fmt: skip
        s, batches = self.settings, self._batches(source)
        epochs = max(1, s.epochs // phases)
        peak = schedules.build(s.schedule, rate, epochs * batches.steps, warmup=name != "head")
        optimizer = self._optimizer(peak, rates, batches.steps)
        loop = Loop(
            name, model, optimizer, self._loss_key(), batches,
            lambda m: self._outputs(m, source, self.problem.val),
            self.problem.targets[self.problem.val], self.problem.goal, epochs, s.patience,
            s.schedule == "plateau", self._checkpoint(), self.deadline, self.reporter,
        )  # fmt: skip
        with applied(model, self._training_precision()):
            progress = loop.run()
        assert progress.best is not None
        self.history += progress.rows
        parameters = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
        where = "computed each epoch" if isinstance(source, Streamed) else "cached"
        self.phases.append(
            PhaseReport(
                name,
                trained,
                parameters,
                progress.epoch,
                progress.best_epoch + 1,
                *progress.best,
                progress.seconds,
                where,
            )
        )
        self.timings[name] = progress.seconds
        return progress.best

    def _training_precision(self) -> Precision:
        """Low precision is trained through dtype policies, so that weights and loss stay float32."""
        asked = self.settings.precision
        return Precision(asked, "policy") if asked in ("bfloat16", "float16") else Precision()

    def _checkpoint(self) -> Path | None:
        return None if self.checkpoints is None else self.checkpoints / f"phase-{len(self.phases)}.npz"

    def _optimizer(self, rate: Any, rates: dict[str, float], steps: int = 0) -> Any:
        s = self.settings
        span = max(2, round(AVERAGE_EPOCHS * steps)) if s.ema and steps else 0
        return optimizers.build(s.optimizer, rate, weight_decay=s.weight_decay, rates=rates, average_steps=span)

    def _loss_key(self) -> tuple[str, str]:
        task = self.problem.samples.task
        return task, losses.DEFAULTS[task] if self.settings.loss == "auto" else self.settings.loss

    def _batch_size(self) -> int:
        if self.settings.batch_size != "auto":
            return min(self.settings.batch_size, len(self.problem.train))
        # About forty steps an epoch: enough updates for small data, full vectors for large.
        power = int(np.log2(max(1, len(self.problem.train) // 40)))
        size = int(min(128, max(8, 2**power)))
        self.reporter.say(f"batch size: {size} ({len(self.problem.train)} training pictures)")
        return min(size, len(self.problem.train))

    def _batches(self, source: Source) -> b.Batches:
        s, train, samples = self.settings, self.problem.train, self.problem.samples
        views = self.views.count
        if isinstance(source, Streamed) and views and "views" not in s.model_fields_set:
            views = s.epochs  # nothing is kept, so every epoch may as well draw new views
        targets = self.problem.targets[train]
        soft, mixup = (0.0, 0.0) if samples.task == "regress" else (LABEL_SMOOTHING, 0.0 if s.cutmix else MIXUP)
        soft = soft if s.label_smoothing is None else s.label_smoothing
        mixup = mixup if s.mixup is None else s.mixup
        if soft and samples.task == "classify":
            targets = b.one_hot(samples.targets[train], self.problem.outputs, soft)
        elif soft:
            targets = targets * (1 - soft) + soft / 2
        weights = np.ones(len(train), np.float32)
        if s.class_weights == "balanced":
            weights = b.balanced_weights(samples.targets[train], self.problem.outputs)
        return b.Batches(
            source, train, targets, weights, self.batch_size, views,
            s.seed + 1000 * len(self.phases), mixup, s.cutmix,
        )  # fmt: skip

    # -- results

    def _judged(self) -> np.ndarray:
        train = self.problem.train
        if len(train) <= JUDGED_TRAINING:
            return train
        rng = np.random.default_rng(self.settings.seed)
        return np.sort(rng.choice(train, JUDGED_TRAINING, replace=False))

    def _outputs(self, model: keras.Model, source: Source, pictures: np.ndarray) -> np.ndarray:
        """Logits [n, t] of clean pictures."""
        return predict(self._forward(model), source, pictures)

    def _forward(self, model: keras.Model) -> compute.Forward:
        # One trace per phase, not per epoch.
        if getattr(self, "_forward_of", None) is not model:
            self._forward_of, self._run = model, compute.forward(model)
        return self._run

    def _snapshot(self, body: keras.Model) -> list[list[np.ndarray]]:
        weights = self.backbone.model.weights if self._tail_steps() else []
        return [[np.array(w) for w in weights], [np.array(w) for w in body.weights]]

    def _restore(self, body: keras.Model, kept: list[list[np.ndarray]]) -> None:
        for variables, values in zip((self.backbone.model.weights, body.weights), kept, strict=True):
            for variable, value in zip(variables, values, strict=False):
                variable.assign(value)

    def _whole(self, body: keras.Model) -> keras.Model:
        import keras

        size = self.backbone.size
        x = inputs = keras.Input((size, size, 3), dtype="uint8", name="picture")
        for layer in self.backbone.preprocessing():
            x = layer(x)
        return keras.Model(inputs, self._head_on(self.backbone.model(x), body), name="transferkit")


OUTPUT_BATCH = 64


def predict(run: Callable[..., list[np.ndarray]], source: Source, pictures: np.ndarray) -> np.ndarray:
    """First output of `run` for the clean view of `pictures`, in batches of one shape."""
    parts = []
    for start in range(0, len(pictures), OUTPUT_BATCH):
        some = pictures[start : start + OUTPUT_BATCH]
        padded = np.resize(some, OUTPUT_BATCH)
        inputs = source.take(padded, np.zeros(OUTPUT_BATCH, np.int64))
        parts.append(run(inputs)[0][: len(some)])
    return np.concatenate(parts)
