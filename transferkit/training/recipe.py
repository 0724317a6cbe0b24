"""LP-FT (Kumar et al. 2022): the head first, on cached features; then, if the policy unfreezes, tail and head together
from there, at a low, layer-wise rate. The phase that validates best is kept.

Fine-tuning from a random head first bends good features towards noise; a trained head avoids that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transferkit import compute, heads
from transferkit.backbones import freeze
from transferkit.backbones.build import LoadedBackbone
from transferkit.backbones.cut import operations_of
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.features.extraction_engines import ExtractionEngine
from transferkit.features.frozen import Frozen
from transferkit.features.precision import Precision, choose_training
from transferkit.features.row_kinds import Rows
from transferkit.features.row_sources import Source, Stored, Views
from transferkit.training import lr_finder, models, planning
from transferkit.training.compiled_heads import HeadPool
from transferkit.training.fit import Callback
from transferkit.training.phase import Phase, Trainer, predict
from transferkit.training.problem import Judge, PhaseReport, Problem, Trained, Units, problem

if TYPE_CHECKING:
    import keras

__all__ = ["Judge", "PhaseReport", "Problem", "Recipe", "Trained", "Units", "predict", "problem"]


@dataclass(frozen=True)
class Again:
    """How a phase went before, to be trained so once more: it is planned as then, and ends after `epochs`.

    `rates` are the learning rates of its epochs where watching validation set them (`--schedule plateau`); None where
    the schedule alone did.
    """

    epochs: int
    precision: Precision
    rates: tuple[float, ...] | None = None


@dataclass
class _Kept:
    """The best state so far."""

    score: tuple[float, float]
    backbone: list[np.ndarray]  # empty: the pretrained weights
    body: list[np.ndarray]
    val: np.ndarray
    train: np.ndarray
    tuned: tuple[keras.Model, Source] | None


@dataclass
class Recipe:
    """One training run of a backbone on a problem."""

    backbone: LoadedBackbone
    settings: Settings
    problem: Problem
    views: Views
    reporter: Reporter
    checkpoints: Path | None = None
    deadline: float | None = None
    cache: bool | None = None
    folds: Sequence[Problem] = ()
    callbacks: Sequence[Callback] = ()  # are told of the head's and the tail's phases, not of folds
    pause: int | None = None  # of the last phase, the one that takes the time (see `Loop`)
    shared: Frozen | None = None  # the frozen side, where several recipes train on the same features
    pool: HeadPool | None = None  # trains heads of several recipes through one compiled trace
    engine: ExtractionEngine | None = None  # extracts the features; None: this process
    again: Mapping[str, Again] | None = None  # by name, the phases to be trained as they were before, and no others

    def __post_init__(self) -> None:
        self.settings = planning.pooled_for(self.settings, self.backbone)
        self.frozen = self.shared or Frozen(
            self.backbone, self.settings, self.views, self.cache, self.reporter, engine=self.engine
        )
        # Always through a reusable head: a run comes to the very numbers of the trial that a search took it from.
        if self.pool is None:  # an empty one is false, and is to be shared all the same
            self.pool = HeadPool()
        self.trainer = self._trainer(self.problem, self.checkpoints, self.callbacks)
        if self.settings.batch_size == "auto":
            self.reporter.say(f"batch size: {self.trainer.batch_size} ({len(self.problem.train)} training pictures)")
        self.notes: list[str] = []
        self.timings: dict[str, float] = {}

    @property
    def rate(self) -> float:
        """The head's learning rate: the setting's value, the optimizer's usual one, or the range test's."""
        return self.trainer.rate

    def run(self) -> Trained:
        """Extract, train the head, train the tail, keep the better.

        Returns:
            The whole network with what its training came to; the backbone's layers are left frozen.

        Raises:
            TrainingError: the loss is no longer a number, or one picture does not fit into memory.
            StorageError: the disk is full.
        """
        model, steps = self.backbone.model, self.steps
        freeze.freeze_at(model, len(operations_of(model)))
        pooled = self.frozen.pooled()
        self._extract(pooled)
        source = self.frozen.source(pooled, self.problem.samples, self.wanted())
        body = self._body(source, pooled, self.problem)
        curve = self._learning_rate(body, source)
        fold_scores = [self._fold(number, part, source, pooled) for number, part in enumerate(self.folds, 1)]
        pretrained = compute.values(model.weights) if steps else None
        judged = planning.judged(self.problem, self.settings.seed)
        phase = self.head_phase("head") if steps else replace(self.head_phase("head"), pause=self.pause)
        score = self.trainer.train(self._as_before(phase), body, source)
        kept = self._keep(score, body, body, source, judged)
        if isinstance(source, Stored):
            source.let_go()
        kept = self._tails(body, judged, kept) or kept
        return self._result(body, kept, pretrained, judged, pooled, self._chosen(), curve, fold_scores)

    def tuned(self, body: keras.Model, features: Rows) -> Trained | None:
        """Train the tail from a head `body` that is there already; None where the time budget was spent before.

        Args:
            body: vectors of the network's output → logits. It is trained further.
            features: rows of the network as it came, which the result names as its own.

        Returns the best phase. The network has its weights then; `pretrained` of the result are those before.
        """
        pretrained, judged, before = (
            compute.values(self.backbone.model.weights),
            planning.judged(self.problem, self.settings.seed),
            len(self.trainer.phases),
        )
        kept = self._tails(body, judged)
        if kept is None:
            return None
        return self._result(body, kept, pretrained, judged, features, self._chosen(before))

    def _tails(self, body: keras.Model, judged: np.ndarray, kept: _Kept | None = None) -> _Kept | None:
        """Train the tails one after the other. The best of them and of `kept`."""
        steps = self.steps
        for policy in steps:
            if self._skipped(planning.tail_name(policy, len(steps))) or self._late(policy):
                break
            pause = self.pause if policy == steps[-1] else None
            trainee, source, score = self._tail_phase(policy, body, len(steps), pause)
            if kept is None or self.problem.goal.better(score, kept.score):
                kept = self._keep(score, body, trainee, source, judged)
        return kept

    def _result(
        self, body: keras.Model, kept: _Kept, pretrained: list[np.ndarray] | None, judged: np.ndarray, features: Rows,
        chosen: str, curve: Sequence[dict[str, float]] = (), fold_scores: Sequence[float] = (),
    ) -> Trained:  # fmt: skip
        """What was kept, in one network from pixels to logits."""
        model = self.backbone.model
        compute.assign(body.weights, kept.body)
        if pretrained is not None:
            compute.assign(model.weights, kept.backbone or pretrained)
        freeze.freeze_at(model, len(operations_of(model)))
        whole = models.whole(self.backbone, body, self.settings.pooling)
        self.timings |= {phase.name: phase.seconds for phase in self.trainer.phases}
        return Trained(
            whole, self.trainer.phases, chosen, self.trainer.history, kept.val, kept.train, judged, features,
            pretrained, self.notes, list(curve), list(fold_scores), kept.tuned,
        )  # fmt: skip

    def head_alone(self, pooled: Rows, source: Source, name: str = "head") -> keras.Model:
        """Train a head on features that are there already: what a search does many times.

        Args:
            pooled: what the features are.
            source: the features, by picture and view.
            name: of the phase, whose report is the last of `trainer.phases`.

        Returns:
            The head, features [b, …] → logits [b, t], with its best weights; it is the caller's until the next call
            (see `HeadPool.body`).

        Raises:
            TrainingError: as `Trainer.train`.
        """
        body = self._reused_body(pooled, source)
        self._learning_rate(body, source)
        self.trainer.train(replace(self.head_phase(name), pause=self.pause), body, source)
        return body

    def head_again(self, pooled: Rows, source: Source, weights: Sequence[np.ndarray]) -> keras.Model:
        """The head that `head_alone` gave, of a recipe like this one.

        Args:
            pooled, source: as there.
            weights: that it had then.
        """
        body = self._reused_body(pooled, source)
        compute.assign(body.weights, weights)
        self.trainer.take(self.head_phase("head"), body, source)
        return body

    def left_out(self, parts: Sequence[Problem]) -> list[np.ndarray]:
        """What heads that are trained on each part's training pictures answer to its validation pictures.

        Args:
            parts: of the training pictures.

        Returns:
            Of each part, logits float32 [n, t].
        """
        freeze.freeze_at(self.backbone.model, len(operations_of(self.backbone.model)))
        pooled = self.frozen.pooled()
        self._extract(pooled)
        source, found = self.frozen.source(pooled, self.problem.samples, self.wanted()), []
        for part in parts:
            trainer, body = self._trainer(part, None), self._body(source, pooled, part)
            trainer.train(self.head_phase("left out"), body, source)
            found.append(trainer.outputs(body, source, part.val))
        return found

    # -- inputs

    def wanted(self) -> dict[int, range]:
        """Views per picture: all of them for training, the clean one for validation."""
        return planning.wanted(self.problem, self.folds, self.views.count)

    @property
    def steps(self) -> list[str]:
        """The freeze policies of the phases after the head's."""
        return planning.tail_steps(self.settings, self.backbone.row)

    def _extract(self, pooled: Rows) -> None:
        started = time.monotonic()
        samples, wanted = self.problem.samples, self.wanted()
        kinds = planning.kinds(self.frozen, self.settings, pooled)
        if self.again is None:
            self.frozen.choose_precision(pooled, samples, wanted)
        self.frozen.prepare(kinds, samples, wanted)
        self.timings["features"] = time.monotonic() - started

    def first(self, policy: str) -> int:
        """The operation of the network that a tail of `policy` begins with."""
        return freeze.first_trainable(self.backbone.model, self.backbone.row, policy)

    # -- the head

    def _trainer(self, part: Problem, checkpoints: Path | None, callbacks: Sequence[Callback] = ()) -> Trainer:
        s = self.settings
        rate, views = planning.head_rate(s), self.views.count
        return Trainer(s, part, views, self.reporter, checkpoints, self.deadline, rate, callbacks, self.pool)

    def _reused_body(self, pooled: Rows, source: Source) -> keras.Model:
        assert self.pool is not None
        return self._body(source, pooled, self.problem, self.pool.body)

    def _body(
        self, source: Source, pooled: Rows, part: Problem, body: Callable[..., keras.Model] = heads.body
    ) -> keras.Model:
        some = planning.sampled(source, part.train, self.views.count, self.settings.seed)
        return models.head(some, pooled.label, part.outputs, self.settings, body)

    def _learning_rate(self, body: keras.Model, source: Source) -> list[dict[str, float]]:
        if self.settings.learning_rate != "auto":
            return []
        trainer = self.trainer
        trainer.rate, curve = lr_finder.find(
            body, lambda rate: trainer.optimizer(rate, {}), trainer.loss_key, trainer.batches(source)
        )
        self.notes.append(f"learning rate {self.rate:.2g}, from a range test over {len(curve)} steps")
        self.reporter.say(f"learning rate: {self.rate:.2g} (range test)")
        return curve

    def head_phase(self, name: str) -> Phase:
        """The training of a head, as it is planned."""
        features = self.frozen.precision  # another engine's are float32, and heads are trained by Keras
        return planning.head_phase(name, self.rate, self.settings, Precision() if features.engine else features)

    def _fold(self, number: int, part: Problem, source: Source, pooled: Rows) -> float:
        """Validation score of a head trained on one fold's training pictures."""
        trainer = self._trainer(part, None)
        phase = self.head_phase(f"fold {number}/{len(self.folds)}")
        score, _ = trainer.train(phase, self._body(source, pooled, part), source)
        return score

    # -- the tail

    def _skipped(self, phase: str) -> bool:
        return self.again is not None and phase not in self.again

    def _as_before(self, phase: Phase) -> Phase:
        """`phase` with the epochs, rates and precision that it had before, where this is another time."""
        if self.again is None:
            return phase
        before = self.again[phase.name]
        return replace(phase, pause=before.epochs, rates=before.rates, precision=before.precision)

    def _late(self, policy: str) -> bool:
        """Whether the time budget is spent before `policy` could be trained; logged."""
        if self.deadline is None or time.monotonic() < self.deadline:
            return False
        self.notes.append(f"the time budget was spent before {policy} could be trained")
        self.reporter.warn(f"{self.notes[-1]}; give more with --budget")
        return True

    def _tail_phase(
        self, policy: str, body: keras.Model, phases: int, pause: int | None
    ) -> tuple[keras.Model, Source, tuple[float, float]]:
        """Train everything above the cut of `policy` together with the head."""
        first = self.first(policy)
        parts, rows = self.frozen.at(first)
        source = self._below(rows)
        trainee, adapted = models.tail(self.backbone, first, parts, rows, body, self.settings)
        planned = planning.tail_phase(policy, phases, self.rate, self.backbone, self.settings, adapted)
        phase = replace(planned, pause=pause)
        if self.again is None:
            phase = replace(phase, precision=self._tail_precision(phase, first, trainee, source))
        score = self.trainer.train(self._as_before(phase), trainee, source)
        adapted.merge()
        return trainee, source, score

    def _below(self, rows: Rows | None) -> Source:
        """What a tail above `rows` is fed with; above None, pixels."""
        samples, wanted = self.problem.samples, self.wanted()
        if rows is None:
            return self.frozen.pixels(samples)
        self.frozen.prepare([rows], samples, wanted)
        return self.frozen.source(rows, samples, wanted)

    def _tail_precision(self, phase: Phase, first: int, trainee: keras.Model, source: Source) -> Precision:
        """What was asked for, or what a probe finds faster and as good."""
        backbone, trainer = self.backbone, self.trainer
        key = {"network": backbone.row.name, "weights": backbone.weights_sha256, "size": backbone.size}
        key |= {"first": first, "batch": trainer.batch_size, "optimizer": self.settings.optimizer}
        pictures = phase.epochs * len(self.problem.train)
        trial = trainer.trial(phase, trainee, source)
        chosen = choose_training(self.settings.precision, trainee, trial, pictures, key, self.reporter)
        asked = self.settings.precision
        if chosen.name != "float32":
            self.notes.append(f"{phase.name} trained in {chosen.name}: {chosen.reason}")
        elif asked not in ("auto", "float32"):
            self.reporter.warn(f"--precision {asked}: {chosen.reason}; {phase.name} is trained in float32")
        return chosen

    # -- results

    def _keep(
        self, score: tuple[float, float], body: keras.Model, trained: keras.Model, source: Source, judged: np.ndarray
    ) -> _Kept:
        weights = compute.values(self.backbone.model.weights) if trained is not body else []
        val, train = (self.trainer.outputs(trained, source, part) for part in (self.problem.val, judged))
        tuned = (trained, source) if trained is not body else None
        return _Kept(score, weights, compute.values(body.weights), val, train, tuned)

    def _chosen(self, before: int = 0) -> str:
        """The best phase, but for those `before`."""
        signed = 1 if self.problem.goal.maximise else -1
        return max(self.trainer.phases[before:], key=lambda p: (signed * p.score, -p.loss)).name
