"""A baseline for the pretraining itself: the same network with random weights, its head trained by the same recipe."""

from __future__ import annotations

from typing import Any

import numpy as np

from transferkit.backbones.build import Backbone, build
from transferkit.console import Reporter, duration
from transferkit.data.samples import Samples
from transferkit.evaluation import calibration, metrics
from transferkit.features.extract import Views
from transferkit.runs import scoring
from transferkit.runs.results import answer
from transferkit.training import recipe


def random_weights(
    backbone: Backbone, work: recipe.Recipe, problem: recipe.Problem, views: Views, test: Samples, reporter: Reporter
) -> dict[str, Any]:
    """Test scores (see `metrics.score`) of the head phase of `work`'s recipe on `backbone` with random weights.

    Same pictures, views, settings and seed; the network's weights are drawn from the seed and stay frozen, as those of
    the head phase do. Random features carry a good deal (Saxe et al. 2011; Rosenfeld & Tsotsos 2019), so only what
    the run has above this is owed to the pretraining. `chosen` holds the epochs that were trained and the best one.
    """
    changes = {"weights": "random", "unfreeze": "none", "folds": 0, "budget": None}
    settings = work.settings.model_copy(update=changes)
    drawn = build(settings.backbone, "random", backbone.size, settings.seed, True, backbone.scaling)
    quiet = Reporter(quiet=True)
    training = recipe.Recipe(drawn, settings, problem, views, quiet, cache=work.cache)
    trained = training.run()
    task, units = test.task, problem.units
    temperature, thresholds = 1.0, None
    if task != "regress":
        temperature = calibration.fit_temperature(trained.val_outputs, problem.samples.targets[problem.val], task)
    if task == "multilabel":
        val = answer(task, trained.val_outputs, temperature, units)
        thresholds = metrics.best_thresholds(problem.samples.targets[problem.val], val)
    logits = scoring.predictions(trained.model, test, views.decode, quiet, "random weights")
    outputs = answer(task, np.asarray(logits), temperature, units)
    found = metrics.score(task, test.targets, outputs, list(test.classes), thresholds=thresholds)
    phase = trained.phases[0]
    spent = duration(phase.seconds + training.timings["features"])
    reporter.say(f"baseline: {backbone.row.name} with random weights trained for {phase.epochs} epochs ({spent})")
    return {**found, "chosen": {"epochs": phase.epochs, "best_epoch": phase.best_epoch}}
