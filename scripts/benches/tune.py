"""A search over frozen features, against the plain Keras Tuner script: same space, trials, epochs and pictures."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import click

from benches.measuring import MOBILENET, TRASHNET, Bar, in_child, measurement, scratch
from benches.pictures import parts

BARS = (
    Bar("mobilenet/ratio", ">=", 15, "20 random trials × 10 epochs, MobileNet-0.25 / the plain Keras Tuner script"),
    Bar("vgg16/ratio", ">=", 100, "… VGG16 (random weights; the plain script timed on few trials and scaled)"),
    Bar("vgg16/share_of_plain_epoch", "<", 1, "VGG16: the whole search / one epoch of the plain script"),
    Bar("mobilenet/overhead_per_trial", "<=", 0.15, "seconds a trial takes beyond head training, median"),
    Bar("memory_growth_mb", "<=", 100, "memory growth from trial 5 to trial 50 in one process, in MB"),
)
SIZE, EPOCHS, DROPOUT = 224, 10, 0.3
RATES, BATCHES, WIDTHS = (1e-4, 1e-2), (16, 32, 64), (64, 128, 256, 512)
NETWORKS = {"mobilenet": ("mobilenet_0.25", str(MOBILENET)), "vgg16": ("vgg16", "random")}


@measurement("tune", BARS)
@click.option("--trials", default=20, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="Of transferkit.")
@click.option("--plain-rounds", default=1, show_default=True, help="Of the plain script, with MobileNet.")
@click.option("--plain-vgg16-trials", default=2, show_default=True, help="Timed, then scaled to all.")
@click.option("--plain-vgg16-epochs", default=2, show_default=True, help="Of these, timed, then scaled to all.")
@click.option("--duel-seeds", default=5, show_default=True, help="Seeds of Bayesian against random search.")
def measure(
    quick: bool, trials: int, rounds: int, plain_rounds: int, plain_vgg16_trials: int, plain_vgg16_epochs: int,
    duel_seeds: int,
) -> dict[str, Any]:  # fmt: skip
    """Seconds of searches, each in a process of its own on an empty cache, imports excluded.

    transferkit's time is that of checks, split, features, all trials and the choice of the winner: what the plain
    script does too. `whole_seconds` adds the winner's training, its judgement and the report, which the plain script
    does not have. Both sides try the same space with as many epochs, without augmentation.
    """
    if quick:
        trials, rounds, plain_vgg16_trials, duel_seeds = 3, 1, 1, 1
    found: dict[str, Any] = {"trials": trials, "epochs": EPOCHS}
    with scratch() as folder:
        found["pictures"] = parts(TRASHNET, folder / "data", (48, 16, 16) if quick else (300, 50, 50), 0)
        found["mobilenet"] = _versus(folder, "mobilenet", trials, (trials, EPOCHS), rounds, plain_rounds)
        timed = (1, 1) if quick else (plain_vgg16_trials, plain_vgg16_epochs)
        found["vgg16"] = _versus(folder, "vgg16", trials, timed, rounds, 1)
        memory = in_child("tune", "growth", {"data": folder / "data", "trials": 8 if quick else 50}, folder / "cache")
        found["memory"], found["memory_growth_mb"] = memory, memory["growth_mb"]
    found["bayesian_against_random"] = _duel(duel_seeds, 3 if quick else 20)
    return found


def _versus(
    folder: Path, name: str, trials: int, timed: tuple[int, int], rounds: int, plain_rounds: int
) -> dict[str, Any]:
    sides: dict[str, list[dict[str, Any]]] = {"ours": [], "plain": []}
    for number in range(max(rounds, plain_rounds)):
        common = {"data": folder / "data", "network": name, "seed": number}
        if number < rounds:
            output = folder / f"run-{name}-{number}"
            wanted = {**common, "trials": trials, "output": output}
            sides["ours"].append(in_child("tune", "ours", wanted, folder / f"cache-{name}-{number}"))
            click.echo(f"{name}, transferkit: {sides['ours'][-1]}", err=True)
        if number < plain_rounds:
            sides["plain"].append(in_child("tune", "plain", {**common, "trials": timed[0], "epochs": timed[1]}))
            click.echo(f"{name}, plain: {sides['plain'][-1]}", err=True)
    seconds = statistics.median(run["seconds"] for run in sides["ours"])
    plain_trial = statistics.median(run["seconds_per_trial"] for run in sides["plain"])
    return {
        "seconds": {"ours": seconds, "plain": plain_trial * trials},
        "plain_timed": {"trials": timed[0], "epochs": timed[1], "scaled_to": [trials, EPOCHS]},
        "whole_seconds": statistics.median(run["whole_seconds"] for run in sides["ours"]),
        "overhead_per_trial": statistics.median(run["overhead_per_trial"] for run in sides["ours"]),
        "best_validation": {s: statistics.mean(run["best"] for run in runs) for s, runs in sides.items()},
        "share_of_plain_epoch": seconds / statistics.median(run["seconds_per_epoch"] for run in sides["plain"]),
        "ratio": plain_trial * trials / seconds,
        "all": sides,
    }


def ours(data: str, network: str, seed: int, trials: int, output: str) -> dict[str, Any]:
    """`transferkit.tune` on the space of the plain script; one seed a setting, as there."""
    import transferkit as tk
    from transferkit import compute

    backbone, weights = NETWORKS[network]
    compute.start()
    started = time.perf_counter()
    run = tk.tune(
        data, backbone, weights=weights, output=output, trials=trials, algorithm="random", seed=seed, epochs=EPOCHS,
        patience=EPOCHS - 1, augment="none", seeds=1, dropout=DROPOUT, offline=True, quiet=True,
        search={"learning_rate": f"{RATES[0]}:{RATES[1]}:log", "batch_size": BATCHES, "head_width": WIDTHS},
    )  # fmt: skip
    whole = time.perf_counter() - started
    found, timings = run.metrics["search"], run.manifest["timings"]
    told = [json.loads(line) for line in (Path(output) / "trials.jsonl").read_text().splitlines()]
    told = [event for event in told if event.get("event") == "tell"]
    assert len(told) == trials
    return {
        "seconds": timings["check"] + found["seconds"],
        "whole_seconds": whole,
        "overhead_per_trial": statistics.median(e["seconds"] - e["training"] for e in told),
        "seconds_per_trial": statistics.median(e["seconds"] for e in told),
        "best": max(e["score"] for e in told),
        "stages": timings,
    }


def plain(data: str, network: str, seed: int, trials: int, epochs: int) -> dict[str, Any]:
    """Keras Tuner as its guide writes it, on a frozen application as Keras' guide writes that.

    To its favour the pictures are read once, into memory, and no checkpoint is reloaded afterwards.
    """
    import tempfile

    import keras
    import keras_tuner
    import numpy as np
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.constant(0)
    started = time.perf_counter()
    arrays = {}
    for part in ("train", "val"):
        folder = keras.utils.image_dataset_from_directory(
            Path(data) / part, label_mode="int", image_size=(SIZE, SIZE), batch_size=64, shuffle=False, verbose=False
        )
        batches = list(folder.as_numpy_iterator())
        arrays[part] = [np.concatenate(column) for column in zip(*batches, strict=True)]
    classes = len(folder.class_names)

    class Frozen(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            rate = hp.Float("learning_rate", *RATES, sampling="log")
            model = classifier(network, classes, hp.Choice("head_width", list(WIDTHS)))
            model.compile(keras.optimizers.AdamW(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
            return model

        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            return model.fit(*args, batch_size=hp.Choice("batch_size", list(BATCHES)), **kwargs)

    with tempfile.TemporaryDirectory() as folder_name:
        tuner = keras_tuner.RandomSearch(
            Frozen(), objective="val_accuracy", max_trials=trials, seed=seed + 1, directory=folder_name
        )
        tuner.search(*arrays["train"], validation_data=tuple(arrays["val"]), epochs=epochs, verbose=0)
        best = tuner.oracle.get_best_trials(1)[0].score
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "seconds_per_trial": seconds / trials / epochs * EPOCHS,
        "seconds_per_epoch": seconds / trials / epochs,
        "best": float(best),
    }


def classifier(network: str, classes: int, width: int) -> Any:
    """The guide's model: preprocessing, a frozen base in inference mode, pooling, a hidden layer, dropout."""
    import keras

    inputs = keras.Input((SIZE, SIZE, 3))
    if network == "vgg16":
        base = keras.applications.VGG16(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
        x = keras.applications.vgg16.preprocess_input(inputs)
    else:
        base = keras.applications.MobileNet(
            input_shape=(SIZE, SIZE, 3), alpha=0.25, include_top=False, weights=str(MOBILENET)
        )
        x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    base.trainable = False
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    x = keras.layers.Dense(width, activation="relu")(x)
    x = keras.layers.Dropout(DROPOUT)(x)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))


def growth(data: str, trials: int) -> dict[str, Any]:
    """Memory of one process over a long search whose trials have twelve shapes."""
    import transferkit as tk

    output = Path(data).parent / "run-growth"
    tk.tune(
        data, "mobilenet_0.25", weights=str(MOBILENET), output=output, trials=trials, algorithm="random", seed=0,
        epochs=EPOCHS, patience=EPOCHS - 1, augment="none", seeds=1, offline=True, quiet=True,
        search={"learning_rate": f"{RATES[0]}:{RATES[1]}:log", "batch_size": BATCHES, "head_width": WIDTHS},
    )  # fmt: skip
    lines = [json.loads(line) for line in (output / "trials.jsonl").read_text().splitlines()]
    held = [line["memory"] / (1 << 20) for line in lines if line.get("event") == "tell"]
    return {"growth_mb": held[-1] - held[4], "at_trial_5_mb": held[4], "at_the_end_mb": held[-1], "trials": trials}


def _duel(seeds: int, trials: int) -> dict[str, Any]:
    """Best validation accuracy of Bayesian and of random search, on all of TrashNet; features are shared."""
    found: dict[str, list[float]] = {"bayesian": [], "random": []}
    with scratch() as folder:
        for seed in range(seeds):
            for algorithm in found:
                arguments = {
                    "algorithm": algorithm,
                    "seed": seed,
                    "trials": trials,
                    "output": folder / f"{algorithm}-{seed}",
                }
                found[algorithm].append(in_child("tune", "searched", arguments, folder / "cache")["best"])
                click.echo(f"{algorithm}, seed {seed}: {found[algorithm][-1]:.4f}", err=True)
    wins = sum(b > r for b, r in zip(found["bayesian"], found["random"], strict=True))
    return {
        "best_validation": found,
        "mean": {name: statistics.mean(values) for name, values in found.items()},
        "spread": {name: statistics.stdev(values) if len(values) > 1 else None for name, values in found.items()},
        "bayesian_wins": wins,
    }


def searched(algorithm: str, seed: int, trials: int, output: str) -> dict[str, Any]:
    """The best trial of one search; the split is the same for all seeds of the search."""
    import transferkit as tk

    data = tk.load_data(TRASHNET)
    run = tk.tune(
        data, "mobilenet_0.25", weights=str(MOBILENET), output=output, trials=trials, algorithm=algorithm, seed=seed,
        seeds=1, offline=True, quiet=True, augment="none",
        search={"learning_rate": "1e-4:3e-2:log", "batch_size": BATCHES, "head_width": WIDTHS, "dropout": "0:0.6"},
    )  # fmt: skip
    lines = [json.loads(line) for line in (run.folder / "trials.jsonl").read_text().splitlines()]
    return {"best": max(line["score"] for line in lines if line.get("event") == "tell")}
