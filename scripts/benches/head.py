"""A head on cached features, thirty epochs, against plain `fit` of the same head on the same features."""

from __future__ import annotations

import statistics
import time
from typing import Any

import click
import numpy as np

from benches.measuring import Bar, measurement, scratch, turns

BARS = (
    Bar("ratio", ">=", 5, "head training, 30 epochs on 10,000 × 1,024 features / plain `fit`"),
    Bar("accuracy_difference", "<=", 0.01, "… difference of the two validation accuracies"),
)
WIDTH, CLASSES, HIDDEN, DROPOUT, RATE, BATCH = 1024, 10, 256, 0.3, 1e-3, 32


@measurement("head", BARS)
@click.option("--rows", default=10_000, show_default=True)
@click.option("--epochs", default=30, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def measure(quick: bool, rows: int, epochs: int, rounds: int) -> dict[str, Any]:
    """Seconds of the whole training, tracing and validation included, with a new model each time."""
    from transferkit import compute

    rows, epochs, rounds = (1000, 3, 1) if quick else (rows, epochs, rounds)
    compute.start()
    features, targets = made_up(rows + rows // 10)
    with scratch():
        ours = _Ours(features, targets, rows, epochs)
        sides = {"transferkit": ours.train, "keras_fit": lambda: plain(features, targets, rows, epochs)}
        found = turns(sides, rounds, warm_up=False)
    seconds = {name: statistics.median(run["seconds"] for run in runs) for name, runs in found.items()}
    scores = {name: statistics.median(run["val_accuracy"] for run in runs) for name, runs in found.items()}
    return {
        "rows": rows,
        "epochs": epochs,
        "rounds": rounds,
        "seconds": seconds,
        "val_accuracy": scores,
        "accuracy_difference": abs(scores["transferkit"] - scores["keras_fit"]),
        "all": found,
        "ratio": seconds["keras_fit"] / seconds["transferkit"],
    }


def made_up(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Features [count, 1024] like a network's, not negative, and classes [count] that they tell apart mostly."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, CLASSES, count)
    centres = rng.normal(0, 0.12, (CLASSES, WIDTH))
    features = np.maximum(centres[targets] + rng.normal(0.2, 1.0, (count, WIDTH)), 0)
    return features.astype(np.float32), targets


def plain(features: np.ndarray, targets: np.ndarray, rows: int, epochs: int) -> dict[str, float]:
    """Keras as its guides write it; the initial weights are those of the other side, so that the scores compare."""
    import keras

    keras.utils.set_random_seed(0)
    started, initial = time.perf_counter(), keras.initializers
    model = keras.Sequential(
        [
            keras.Input((WIDTH,)),
            keras.layers.Dense(HIDDEN, activation="relu", kernel_initializer=initial.HeNormal(seed=1)),
            keras.layers.Dropout(DROPOUT),
            keras.layers.Dense(CLASSES, kernel_initializer=initial.GlorotUniform(seed=0)),
        ]
    )
    model.compile(
        keras.optimizers.Adam(RATE),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    train, val = (features[:rows], targets[:rows]), (features[rows:], targets[rows:])
    history = model.fit(*train, batch_size=BATCH, epochs=epochs, validation_data=val, verbose=0).history
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "val_accuracy": max(history["val_accuracy"]), "val_loss": min(history["val_loss"])}


class _Ours:
    """The same features in the store; a phase of training as `finetune` runs it, with Keras' plain settings."""

    def __init__(self, features: np.ndarray, targets: np.ndarray, rows: int, epochs: int) -> None:
        from transferkit.config import make
        from transferkit.data.augmentation.augment import augmentation
        from transferkit.data.images.decode import DecodeSettings
        from transferkit.data.samples import Samples
        from transferkit.features.row_sources import Stored, Views
        from transferkit.features.store import open_set
        from transferkit.runs.results import judge
        from transferkit.training.problem import problem

        count = len(features)
        names = [f"{index:064x}"[::-1] for index in range(count)]  # the first half of a hash names a row
        samples = Samples(
            None, tuple(names), targets, tuple(map(str, range(CLASSES))), "classify", (None,) * count, (None,) * count,
            tuple(names), None, "made up",
        )  # fmt: skip
        views = Views(DecodeSettings(224), augmentation("none"), 0, 0)
        stored = open_set({"network": "made up"}, [(WIDTH,)])
        stored.append([views.name(name, 0) for name in names], features)
        self.source = Stored(stored, views, samples, {index: range(1) for index in range(count)})
        self.settings = make(
            {"backbone": "mini", "augment": "none", "views": 0, "epochs": epochs, "patience": epochs - 1, "ema": False,
             "optimizer": "adam", "learning_rate": RATE, "schedule": "constant", "label_smoothing": 0.0,
             "head_width": (HIDDEN,), "dropout": DROPOUT, "normalize": False, "batch_size": BATCH, "metric": "accuracy"}
        )  # fmt: skip
        self.problem = problem(
            samples, np.arange(rows), np.arange(rows, count), lambda some, units: judge(some, "accuracy", units)
        )

    def train(self) -> dict[str, float]:
        """Build, trace and train one head."""
        from transferkit.console import Reporter
        from transferkit.training import models
        from transferkit.training.compiled_heads import HeadPool
        from transferkit.training.phase import Phase, Trainer

        started = time.perf_counter()
        sample = self.source.take(self.problem.train[:64], np.zeros(64, np.int64))[0]
        body = models.head(sample, "pooled:avg", CLASSES, self.settings)
        trainer = Trainer(self.settings, self.problem, 0, Reporter(quiet=True), rate=RATE, pool=HeadPool())
        trainer.train(Phase("head", "head only", RATE, self.settings.epochs, warmup=False), body, self.source)
        epochs = len(trainer.history)
        if epochs != self.settings.epochs:
            raise AssertionError(f"{epochs} epochs instead of {self.settings.epochs}: the comparison is unfair")
        seconds, history = time.perf_counter() - started, trainer.history
        best = {name: pick(row[name] for row in history) for name, pick in (("val_accuracy", max), ("val_loss", min))}
        return {"seconds": seconds, **best}
