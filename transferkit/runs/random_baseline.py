"""A baseline for the pretraining itself: the same network with random weights, its head trained by the same recipe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from transferkit import compute
from transferkit.backbones.build import LoadedBackbone, build
from transferkit.compute import keras_private
from transferkit.console import Reporter
from transferkit.data.samples import Samples
from transferkit.evaluation import calibration, metrics
from transferkit.evaluation.baselines import Baseline
from transferkit.features.row_sources import Views
from transferkit.files import sha256_bytes
from transferkit.quantities import duration
from transferkit.runs import scoring
from transferkit.runs.context import RunContext
from transferkit.runs.results import answer
from transferkit.training import recipe

SETTLING = 64  # training pictures by which BatchNorm is settled


def random_weights(context: RunContext, work: recipe.Recipe, test: Samples) -> Baseline:
    """Test scores and answers of the head phase on the run's network with random weights.

    Same pictures, views, settings and seed; the network's weights are drawn from the seed and stay frozen, as those of
    the head phase do. Random features carry a good deal (Saxe et al. 2011; Rosenfeld & Tsotsos 2019), so only what the
    run has above this is owed to the pretraining.

    Args:
        context: of the run.
        work: its recipe.
        test: the test pictures.

    Returns:
        `chosen` holds the epochs that were trained and the best one.
    """
    backbone, problem, views = context.backbone, context.problem, context.views
    changes = {"weights": "random", "unfreeze": "none", "folds": 0, "budget": None}
    settings = work.settings.model_copy(update=changes)
    pooler = settings.pooling == "pooler"
    drawn = build(settings.backbone, "random", backbone.size, settings.seed, True, backbone.scaling, pooler=pooler)
    drawn = _settled(drawn, problem, views, settings.seed)
    quiet = Reporter(quiet=True)
    training = recipe.Recipe(drawn, settings, problem, views, quiet, cache=work.cache)
    trained = training.run()
    task, units = test.task, problem.units
    temperature, thresholds = 1.0, None
    if test.kind.calibrated:
        temperature = calibration.fit_temperature(trained.val_outputs, problem.samples.targets[problem.val], task)
    if test.kind.has_thresholds:
        val = answer(task, trained.val_outputs, temperature, units)
        thresholds = metrics.best_thresholds(problem.samples.targets[problem.val], val)
    logits = scoring.predictions(trained.model, test, views.decode, quiet, "random weights")
    outputs = answer(task, np.asarray(logits), temperature, units)
    found = metrics.score(task, test.targets, outputs, list(test.classes), thresholds=thresholds)
    phase = trained.phases[0]
    spent = duration(phase.seconds + training.timings["features"])
    context.reporter.say(
        f"baseline: {backbone.row.name} with random weights trained for {phase.epochs} epochs ({spent})"
    )
    return Baseline(found, outputs, {"epochs": phase.epochs, "best_epoch": phase.best_epoch}, thresholds)


def _settled(drawn: LoadedBackbone, problem: recipe.Problem, views: Views, seed: int) -> LoadedBackbone:
    """The network with BatchNorm statistics of some training pictures.

    Fresh statistics (0 and 1) fit no random weights: the signal fades from layer to layer, MobileNet's features are
    the same for every picture, and the baseline would say nothing.
    """
    import keras

    layers = [
        layer for layer in keras_private.all_layers(drawn.model) if isinstance(layer, keras.layers.BatchNormalization)
    ]
    if not layers:
        return drawn
    chosen = np.random.default_rng(seed).permutation(problem.train)[:SETTLING]
    pixels = views.pixels(problem.samples, chosen).astype(np.float32)
    x = drawn.prepared(pixels)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # the statistics of this one batch, whole
    drawn.model(x, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    values = b"".join(np.ascontiguousarray(value).tobytes() for value in compute.values(drawn.model.weights))
    # Features are cached by the weights' hash.
    return replace(drawn, weights_sha256=sha256_bytes(values))
