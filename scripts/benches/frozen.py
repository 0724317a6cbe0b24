"""Thirty epochs on a frozen network with four views, against plain Keras as its guides write it, on one split."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from benches.measuring import MOBILENET, TRASHNET, Bar, in_child, measurement, scratch
from benches.pictures import as_the_guide_reads, parts

BARS = (
    Bar("ratio", ">=", 10, "frozen fine-tuning, 30 epochs, MobileNet-0.25, TrashNet, 4 views / plain Keras"),
    Bar("accuracy_gain", ">=", 0, "… test accuracy above plain Keras, mean over the seeds"),
)
SIZE, BATCH, HIDDEN, DROPOUT, SMOOTHING, RATE = 224, 32, 256, 0.3, 0.1, 1e-3


@measurement("frozen", BARS)
@click.option("--epochs", default=30, show_default=True)
@click.option("--seeds", default=3, show_default=True, help="Each seed is a split of its own, and one round.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=TRASHNET)
def measure(quick: bool, epochs: int, seeds: int, data: Path) -> dict[str, Any]:
    """Seconds from the folder to the tested model, each side in a process of its own, imports excluded.

    transferkit: the whole `finetune`, with checks, calibration, baselines, diagnosis and report. Plain Keras: reading,
    `fit` with the same augmentations as layers, `evaluate`. Same split, size, batch, head, epochs, label smoothing.
    """
    epochs, seeds = (2, 1) if quick else (epochs, seeds)
    rounds: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for seed in range(seeds):
        with scratch() as folder:
            shares = (96, 32, 32) if quick else (0.7, 0.15, 0.15)
            counts = parts(data, folder / "data", shares, seed)
            arguments = {"data": folder / "data", "seed": seed, "epochs": epochs}
            sides = ["ours", "plain"] if seed % 2 == 0 else ["plain", "ours"]
            found = {side: in_child("frozen", side, arguments, folder / "cache") for side in sides}
            click.echo(f"seed {seed}: {found}", err=True)
            rounds.append(found)
    return {"pictures": counts, "epochs": epochs, "seeds": seeds, **compared(rounds)}


def compared(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the seconds, means of the accuracies, and how the sides compare."""
    seconds = {side: statistics.median(found[side]["seconds"] for found in rounds) for side in ("ours", "plain")}
    accuracy = {side: statistics.mean(found[side]["test_accuracy"] for found in rounds) for side in ("ours", "plain")}
    return {
        "seconds": seconds,
        "test_accuracy": accuracy,
        "seconds_of_each": {side: [found[side]["seconds"] for found in rounds] for side in ("ours", "plain")},
        "accuracy_gain": accuracy["ours"] - accuracy["plain"],
        "ratio": seconds["plain"] / seconds["ours"],
        "all": rounds,
    }


def ours(data: str, seed: int, epochs: int) -> dict[str, Any]:
    """`finetune` with its defaults: augmentation light, four views, a head of 256, batches of 32."""
    import transferkit as tk
    from transferkit import compute

    compute.start()
    started = time.perf_counter()
    run = tk.finetune(
        data, "mobilenet_0.25", weights=MOBILENET, output=Path(data).parent / "run", offline=True, quiet=True,
        seed=seed, epochs=epochs, patience=epochs - 1, augment="light", views=4, batch_size=BATCH,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    done = [phase["epochs"] for phase in run.manifest["phases"]]
    if done != [epochs]:
        raise AssertionError(f"{done} epochs instead of {epochs}: the comparison is unfair")
    return {"seconds": seconds, "test_accuracy": run.metrics["test"]["accuracy"], "stages": run.manifest["timings"]}


def plain(data: str, seed: int, epochs: int) -> dict[str, Any]:
    """Keras' transfer-learning guide: image_dataset_from_directory, augmentation layers in tf.data, a frozen base.

    To the guide's favour, the weights of the best validation epoch are tested, as in its callbacks' examples.
    """
    import keras
    import tensorflow as tf

    from benches.views import keras_layers
    from transferkit.data.augmentation.augment import augmentation

    keras.utils.set_random_seed(seed)
    tf.constant(0)
    started = time.perf_counter()

    augment = keras_layers(augmentation("light"))

    def augmented(pictures: Any, labels: Any) -> Any:
        for layer in augment:
            pictures = layer(pictures, training=True)
        return pictures, labels

    folders, val, test = as_the_guide_reads(data, SIZE, BATCH, seed)
    train = folders.map(augmented, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    model = classifier(len(folders.class_names))
    model.compile(
        keras.optimizers.Adam(RATE),
        keras.losses.CategoricalCrossentropy(label_smoothing=SMOOTHING),
        metrics=["accuracy"],
    )
    best = Path(data).parent / "best.weights.h5"
    keep = keras.callbacks.ModelCheckpoint(best, "val_accuracy", save_best_only=True, save_weights_only=True)
    history = model.fit(train, validation_data=val, epochs=epochs, callbacks=[keep], verbose=0)
    model.load_weights(best)
    accuracy = model.evaluate(test, verbose=0)[1]
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "test_accuracy": accuracy,
        "best_val_accuracy": float(np.max(history.history["val_accuracy"])),
    }


def classifier(classes: int) -> Any:
    """The guide's model: scaling, the frozen base in inference mode, pooling, and the head that transferkit uses."""
    import keras

    base = keras.applications.MobileNet(
        input_shape=(SIZE, SIZE, 3), alpha=0.25, include_top=False, weights=str(MOBILENET)
    )
    base.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = base(x, training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(HIDDEN, activation="relu")(x)
    x = keras.layers.Dropout(DROPOUT)(x)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))
