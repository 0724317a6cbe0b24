"""From a trained network to what is shipped and said of it: calibrated, saved, scored; the test split last, once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transferkit import heads
from transferkit.backbones.build import LoadedBackbone
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.images.decode import DecodeSettings
from transferkit.data.samples import Samples
from transferkit.evaluation import calibration, metric_registry, metrics
from transferkit.runs import analysis, model_file, scoring
from transferkit.runs.layout import Layout
from transferkit.runs.results import answer, write_predictions
from transferkit.training.recipe import Problem, Trained


@dataclass
class Finishing:
    """The steps after training, in their order: `ship`, `scores`, `test`."""

    samples: Samples
    settings: Settings
    layout: Layout
    problem: Problem
    trained: Trained
    reporter: Reporter
    facts: dict[str, Any] = field(default_factory=dict)  # what travels in the model's file; `ship` finds them

    def ship(self, decode: DecodeSettings, backbone: LoadedBackbone) -> tuple[np.ndarray, np.ndarray]:
        """Calibrate on validation, add the output layers, save. Calibrated answers on validation and training."""
        import keras

        samples, task, trained, problem = self.samples, self.samples.task, self.trained, self.problem
        temperature, thresholds = 1.0, None
        rows, outputs = trained.calibration or (problem.val, trained.val_outputs)
        if samples.kind.calibrated:
            temperature = calibration.fit_temperature(outputs, samples.targets[rows], task)
        val = answer(task, trained.val_outputs, temperature, problem.units)
        train = answer(task, trained.train_outputs, temperature, problem.units)
        if samples.kind.has_thresholds:
            held = answer(task, outputs, temperature, problem.units)
            thresholds = metrics.best_thresholds(samples.targets[rows], held)
        x = trained.model.outputs[0]
        for layer in heads.output_layers(task, temperature, problem.units):
            x = layer(x)
        model = keras.Model(trained.model.inputs, x, name="transferkit")
        self.facts = {
            "task": task,
            "classes": list(samples.classes),
            "decode": decode.key(),
            "temperature": temperature,
            "thresholds": None if thresholds is None else [float(t) for t in thresholds],
            "backbone": backbone.row.name,
            "scaling": backbone.scaling,
            "weights": backbone.weights,
            "pooling": self.settings.pooling,
        }
        model_file.save(model, self.facts, self.layout.model)
        return val, train

    @property
    def _extra(self) -> tuple[str, ...]:
        """The goal, where it is a plugin's metric: no other plugin is asked, so that others change nothing."""
        return metric_registry.goal(self.settings.metric, self.samples.task).extra

    def scores(self, val: np.ndarray, train: np.ndarray) -> dict[str, Any]:
        """The part of metrics.json that training and validation pictures give."""
        problem, trained, facts = self.problem, self.trained, self.facts
        thresholds = None if facts["thresholds"] is None else np.array(facts["thresholds"])
        seed = self.settings.seed
        uncalibrated = answer(self.samples.task, trained.val_outputs, 1.0, problem.units)
        content = {
            "task": self.samples.task,
            "classes": list(self.samples.classes),
            "goal": problem.goal.name,
            "val": scoring.scores(self.samples.select(problem.val), val, seed, thresholds, extra=self._extra),
            "temperature": facts["temperature"],
            "thresholds": facts["thresholds"],
        }
        if len(trained.train_judged):
            judged = self.samples.select(trained.train_judged)
            content["train"] = scoring.scores(judged, train, seed, thresholds, bounded=False, extra=self._extra)
        if trained.fold_scores:
            content["folds"] = {
                "metric": problem.goal.name,
                "scores": trained.fold_scores,
                "mean": float(np.mean(trained.fold_scores)),
                "std": float(np.std(trained.fold_scores, ddof=1)),
            }
        if self.samples.kind.abstains:
            content["val"]["ece_uncalibrated"] = calibration.ece(uncalibrated, self.samples.targets[problem.val])
            rows, outputs = trained.calibration or (problem.val, trained.val_outputs)
            held = answer(self.samples.task, outputs, facts["temperature"], problem.units)
            analysis.add_abstention(content, held, self.samples.targets[rows])
        return content

    def test(self, content: dict[str, Any], test: np.ndarray) -> np.ndarray:
        """The test split, read here and nowhere else: every choice has been made and the model is on disk.

        Returns the model's answers [n, t].
        """
        facts = self.facts
        content["test"], content["baselines"] = {"n": len(test)}, {}
        if not len(test):
            self.reporter.warn("there is no test split, so nothing here says how good the model is on new pictures")
            nothing = np.zeros((0, len(self.samples.classes)))
            write_predictions(self.layout, self.samples.select(test), nothing, facts)
            return nothing
        samples = self.samples.select(test)
        model = model_file.load(self.layout.model)
        decode = DecodeSettings.from_key(facts["decode"])
        outputs = scoring.predictions(model, samples, decode, self.reporter, "scoring the test pictures")
        thresholds = None if facts["thresholds"] is None else np.array(facts["thresholds"])
        content["test"] = scoring.scores(samples, outputs, self.settings.seed, thresholds, extra=self._extra)
        write_predictions(self.layout, samples, outputs, facts)
        if samples.kind.abstains:
            analysis.abstain_on_test(content, outputs, samples.targets, facts["temperature"])
        return outputs
