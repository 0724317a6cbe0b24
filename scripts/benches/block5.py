"""VGG16 with its last block trained, against plain Keras that does the same two phases from the same weights."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import click

from benches.measuring import TRASHNET, Bar, in_child, measurement, scratch
from benches.pictures import as_the_guide_reads, parts

BARS = (
    Bar("ratio", ">=", 10, "VGG16, from:block5, 5 epochs on 400 pictures / plain Keras"),
    Bar("loss_difference", "<=", 0.02, "… relative difference of the final training losses"),
)
SIZE, BATCH, HIDDEN, DROPOUT, RATE, CLIP = 224, 32, 256, 0.3, 1e-3, 5.0


@measurement("block5", BARS)
@click.option("--epochs", default=5, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="Of transferkit, after one that is not counted.")
@click.option("--plain-rounds", default=3, show_default=True, help="Of plain Keras, ten minutes each.")
def measure(quick: bool, epochs: int, rounds: int, plain_rounds: int) -> dict[str, Any]:
    """Seconds from the folder to the tested model, each side in a process of its own, imports excluded.

    Both sides train the head for all epochs, then head and block5 for all epochs (Keras' guide, and LP-FT), from the
    same random weights, with the same head, optimizer, rates and batch, without augmentation. Every round has a seed
    of its own, from which both sides draw the head's first weights. transferkit's time is that of the whole `finetune`,
    baselines, explanations and report included, with no features stored before. Its probes of precisions, once a
    network and machine, are in the first run, which is shown and not counted.
    """
    epochs, rounds, plain_rounds = (2, 1, 1) if quick else (epochs, rounds, plain_rounds)
    size, shares = (64, (32, 12, 12)) if quick else (SIZE, (400, 48, 48))
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "plain": []}
    with scratch() as folder:
        counts = parts(TRASHNET, folder / "data", shares, 0)
        weights, cache = folder / "vgg16.weights.h5", folder / "cache"
        in_child("block5", "random_weights", {"path": weights, "size": size})
        for number in range(-1, max(rounds, plain_rounds)):
            for side, first, last in (("ours", -1, rounds), ("plain", 0, plain_rounds)):
                if first <= number < last:
                    arguments = {"data": folder / "data", "weights": weights, "epochs": epochs, "seed": max(number, 0)}
                    found[side].append(in_child("block5", side, {**arguments, "size": size}, cache))
                    click.echo(f"{side}: {found[side][-1]}", err=True)
            shutil.rmtree(cache / "features", ignore_errors=True)
    first = found["ours"].pop(0)
    return {"pictures": counts, "size": size, "epochs": epochs, "rounds": {"ours": rounds, "plain": plain_rounds},
            "first_run_with_probes": first, **compared(found)}  # fmt: skip


def compared(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of the seconds and of the last losses, and how the sides compare."""

    def median(side: str, key: str) -> float:
        return statistics.median(run[key] for run in found[side])

    losses = {side: statistics.median(run["losses"][-1] for run in runs) for side, runs in found.items()}
    whole = median("ours", "seconds")
    return {
        "seconds": {side: median(side, "seconds") for side in found},
        "final_loss": losses,
        "loss_difference": abs(losses["ours"] / losses["plain"] - 1),
        "ratio_to_the_trained_model": median("plain", "trained_seconds") / median("ours", "trained_seconds"),
        "ratio_if_plain_had_only_its_second_phase": median("plain", "second_phase_seconds") / whole,
        "all": found,
        "ratio": median("plain", "seconds") / whole,
    }


def random_weights(path: str, size: int) -> dict[str, Any]:
    """Write the weights that both sides start from."""
    import keras

    keras.utils.set_random_seed(0)
    keras.applications.VGG16(include_top=False, weights=None, input_shape=(size, size, 3)).save_weights(path)
    return {}


def ours(data: str, weights: str, epochs: int, seed: int, size: int) -> dict[str, Any]:
    """`finetune` with the optimizer, the rates and the head of the plain side."""
    import transferkit as tk
    from transferkit import compute

    compute.start()
    started = time.perf_counter()
    run = tk.finetune(
        data, "vgg16", weights=weights, unfreeze="from:block5", epochs=epochs, patience=epochs - 1, augment="none",
        views=0, image_size=size, optimizer="adam", learning_rate=RATE, schedule="constant", ema=False,
        label_smoothing=0.0, head_width=HIDDEN, dropout=DROPOUT, normalize=False, batch_size=BATCH, metric="loss",
        seed=seed, offline=True, quiet=True, output=Path(data).parent / "run",
    )  # fmt: skip
    seconds = time.perf_counter() - started
    done = [phase["epochs"] for phase in run.manifest["phases"]]
    if done != [epochs, epochs]:
        raise AssertionError(f"{done} epochs instead of twice {epochs}: the comparison is unfair")
    stages = run.manifest["timings"]
    trained = sum(stages[name] for name in ("check", "splits", "backbone", "features", "head", "tail"))
    figures = {"seconds": seconds, "trained_seconds": trained, "losses": [float(row["loss"]) for row in run.history],
               "stages": stages, "precision": [phase["precision"] for phase in run.manifest["phases"]]}  # fmt: skip
    shutil.rmtree(run.folder)  # the next round is one of its own
    return figures


def plain(data: str, weights: str, epochs: int, seed: int, size: int) -> dict[str, Any]:
    """Keras' transfer-learning guide: a frozen base and a new head, then its last block at a low rate, recompiled."""
    import keras
    import tensorflow as tf

    from transferkit.training.planning import TAIL_RATE

    keras.utils.set_random_seed(seed)
    tf.constant(0)
    started = time.perf_counter()
    folders, val, test = as_the_guide_reads(data, size, BATCH, seed)
    train = folders.prefetch(tf.data.AUTOTUNE)
    base = keras.applications.VGG16(include_top=False, weights=None, input_shape=(size, size, 3))
    base.load_weights(weights)
    base.trainable = False
    model = classifier(base, len(folders.class_names), seed)
    losses: list[float] = []
    for rate in (RATE, RATE * TAIL_RATE):
        phase_started = time.perf_counter()
        model.compile(
            keras.optimizers.Adam(rate, global_clipnorm=CLIP), "categorical_crossentropy", metrics=["accuracy"]
        )
        losses += model.fit(train, validation_data=val, epochs=epochs, verbose=0).history["loss"]
        base.trainable = True
        for layer in base.layers:
            layer.trainable = layer.name.startswith("block5")
    ended = time.perf_counter()
    accuracy = model.evaluate(test, verbose=0)[1]
    return {"seconds": time.perf_counter() - started, "trained_seconds": ended - started,
            "second_phase_seconds": ended - phase_started, "losses": losses, "test_accuracy": accuracy}  # fmt: skip


def classifier(base: Any, classes: int, seed: int) -> Any:
    """The guide's model with the head that transferkit uses, which begins with the same weights."""
    import keras

    hidden, last = keras.initializers.HeNormal(seed=seed + 1), keras.initializers.GlorotUniform(seed=seed)
    inputs = keras.Input(base.input_shape[1:])
    x = base(keras.applications.vgg16.preprocess_input(inputs), training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(HIDDEN, activation="relu", kernel_initializer=hidden)(x)
    x = keras.layers.Dropout(DROPOUT)(x)
    x = keras.layers.Dense(classes, activation="softmax", kernel_initializer=last)(x)
    return keras.Model(inputs, x)
