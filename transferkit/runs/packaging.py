"""From a trained network to what is shipped and said of it: calibrated, saved, scored; the test split last, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from transferkit import heads
from transferkit.evaluation import abstention, calibration, metric_registry, metrics
from transferkit.evaluation.metrics_record import FoldScores, MetricsRecord
from transferkit.evaluation.scores import CountedScores
from transferkit.record import SCHEMA_VERSION
from transferkit.runs import analysis, model_file, scoring
from transferkit.runs.context import RunContext
from transferkit.runs.half_weights import Halved
from transferkit.runs.model_facts import DecodeRecord, ModelFacts
from transferkit.runs.results import answer, write_predictions
from transferkit.tasks.task import parts
from transferkit.training.recipe import Trained

if TYPE_CHECKING:
    import keras


@dataclass(kw_only=True)
class Packaging:
    """The steps after training, in their order: `ship`, `scores`, `test`."""

    context: RunContext
    trained: Trained
    facts: ModelFacts = field(init=False)  # what travels in the model's file; `ship` finds them
    halved: Halved | None = field(init=False, default=None)  # what of that file is float16
    shipped: keras.Model | None = field(init=False, default=None)  # as it was loaded from its file, to be tested

    def ship(self) -> tuple[np.ndarray, np.ndarray]:
        """Calibrate on validation, add the output layers, save. Calibrated answers on validation and training."""
        import keras

        context, trained = self.context, self.trained
        samples, task, problem = context.samples, context.task, context.problem
        temperature, thresholds = 1.0, None
        rows, outputs = trained.calibration or (problem.val, trained.val_outputs)
        if samples.kind.calibrated:
            temperature = calibration.fit_temperature(outputs, samples.targets[rows], task)
        val = answer(task, trained.val_outputs, temperature, problem.units)
        train = answer(task, trained.train_outputs, temperature, problem.units)
        if samples.kind.has_thresholds:
            answers = answer(task, outputs, temperature, problem.units)
            thresholds = metrics.best_thresholds(samples.targets[rows], answers)
        x = trained.model.outputs[0]
        for layer in heads.output_layers(task, temperature, problem.units):
            x = layer(x)
        model = keras.Model(trained.model.inputs, x, name="transferkit")
        self.facts = ModelFacts(
            task=context.task,
            classes=context.classes,
            decode=DecodeRecord.read(context.views.decode.key()),
            temperature=temperature,
            thresholds=None if thresholds is None else [float(t) for t in thresholds],
            backbone=trained.joined or context.backbone.row.name,
            scaling="as each network expects" if trained.joined else context.backbone.scaling,
            weights=context.backbone.weights,
            pooling=context.settings.pooling,
        )
        self.halved = model_file.save(model, self.facts, context.layout.model)
        return val, train

    @property
    def _extra(self) -> tuple[str, ...]:
        """The goal, where it is a plugin's metric: no other plugin is asked, so that others change nothing."""
        return metric_registry.goal(self.context.settings.metric, self.context.task).extra

    def scores(self, val: np.ndarray, train: np.ndarray) -> MetricsRecord:
        """metrics.json as far as training and validation pictures give it; the test split is not scored yet."""
        context, trained, facts = self.context, self.trained, self.facts
        samples, problem, seed = context.samples, context.problem, context.settings.seed
        thresholds = facts.limits()
        found = MetricsRecord(
            schema_version=SCHEMA_VERSION,
            task=context.task,
            classes=context.classes,
            goal=problem.goal.name,
            val=scoring.scores(samples.select(problem.val), val, seed, thresholds, extra=self._extra),
            temperature=facts.temperature,
            thresholds=facts.thresholds,
            test=CountedScores(n=0),
            baselines={},
        )
        if len(trained.train_judged):
            judged = samples.select(trained.train_judged)
            found.train = scoring.scores(judged, train, seed, thresholds, bounded=False, extra=self._extra)
        if trained.fold_scores:
            found.folds = FoldScores(
                metric=problem.goal.name,
                scores=trained.fold_scores,
                mean=float(np.mean(trained.fold_scores)),
                std=float(np.std(trained.fold_scores, ddof=1)),
            )
        if samples.kind.abstains:
            self._calibrated(found)
        return found

    def _calibrated(self, found: MetricsRecord) -> None:
        """What validation says of probabilities: their error before calibration, and thresholds to abstain below."""
        problem, targets = self.context.problem, self.context.samples.targets
        assert found.val is not None
        plain = self._sureness(self.trained.val_outputs, targets[problem.val], 1.0)
        found.val["ece_uncalibrated"] = calibration.ece(*plain)
        rows, outputs = self.trained.calibration or (problem.val, self.trained.val_outputs)
        found.abstention = abstention.levels(*self._sureness(outputs, targets[rows], self.facts.temperature))

    def _sureness(self, outputs: np.ndarray, targets: np.ndarray, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        """`calibration.confidence_of` answers at `temperature`, which of many classes are large: some at a time."""
        found = [
            calibration.confidence_of(
                answer(self.context.task, outputs[rows], temperature, self.context.problem.units), targets[rows]
            )
            for rows in parts(outputs)
        ]
        confidence, right = (np.concatenate(column) for column in zip(*found, strict=True))
        return confidence, right

    def test(
        self, found: MetricsRecord, beside: Callable[[keras.Model], tuple[keras.Model, slice] | None]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The test split, read here and nowhere else: every choice has been made and the model is on disk.

        Args:
            found: its `test` is filled in.
            beside: gives of the saved model one that also has what else is wanted, and in which of its further columns
                that is; or None (`one_pass.both`).

        Returns:
            The model's answers [n, t], and those columns [n, d], out of one pass of the saved graph.
        """
        context, facts, test = self.context, self.facts, self.context.test
        samples = context.samples.select(test)
        if not len(test):
            context.reporter.warn("there is no test split, so nothing here says how good the model is on new pictures")
            nothing = np.zeros((0, context.problem.outputs))
            write_predictions(context.layout, samples, nothing, facts.thresholds)
            return nothing, None
        self.shipped = model_file.load(context.layout.model)
        model, columns = beside(self.shipped) or (self.shipped, None)
        rows = scoring.predictions(model, samples, facts.decoding(), context.reporter, "scoring the test pictures")
        outputs, below = np.split(rows, [len(context.classes)], axis=1)
        scores = scoring.scores(samples, outputs, context.settings.seed, facts.limits(), extra=self._extra)
        found.test = CountedScores(scores)
        write_predictions(context.layout, samples, outputs, facts.thresholds)
        if samples.kind.abstains:
            analysis.abstain_on_test(found, outputs, samples)
        return outputs, None if columns is None else below[:, columns]
