#!/usr/bin/env python3
"""Pretrain the bundled backbone `mini` from scratch and write transferkit/backbones/mini.npz and mini.json.

    python scripts/pretrain_mini.py --data cifar10.zip

DATA is a zip (or a folder) with one folder of 32×32 pictures per class. 200 pictures of each class are held
out by the seed before training and are scored once, at the end, with the weights as they are stored
(float16). Recipe: SGD with Nesterov momentum, one-cycle rate, decoupled weight decay, mild label smoothing;
flips, shifts, cutout, colour jitter and occasional grey. About 20 s an epoch on two free CPU cores. The same
seed gives the same split and batches; sums in another order (threads, precision) move the result a little.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from transferkit.backbones import mini
from transferkit.files import sha256_bytes, write_bytes, write_json

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
SIZE = 32
MOMENTUM = 0.9
SOURCE = "CIFAR-10 (Krizhevsky 2009), 20,000 pictures of its training set"
SUFFIXES = {".png", ".jpg", ".jpeg"}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="zip or folder, one folder of pictures per class")
    parser.add_argument("--output", type=Path, default=mini.WEIGHTS_FILE, help="the .npz (default: the package's)")
    parser.add_argument("--source", default=SOURCE, help="what the record calls the data")
    parser.add_argument("--epochs", type=int, default=45, help="passes over the training pictures")
    parser.add_argument("--batch-size", type=int, default=256, help="pictures a step")
    parser.add_argument("--learning-rate", type=float, default=0.25, help="peak of the one-cycle schedule")
    parser.add_argument("--weight-decay", type=float, default=5e-4, help="as in SGD with an L2 penalty")
    parser.add_argument("--label-smoothing", type=float, default=0.05, help="0 to 1")
    parser.add_argument("--held-out", type=int, default=200, help="held-out pictures per class")
    parser.add_argument(
        "--precision",
        choices=["float32", "mixed_bfloat16"],
        default="mixed_bfloat16",
        help="bfloat16 is a quarter faster with AMX",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the batches")
    return parser.parse_args(arguments)


def read_pictures(source: Path) -> tuple[Pixels, Labels, list[str]]:
    """All pictures as uint8 (n, 32, 32, 3) with label indices and class names, in sorted order."""
    from PIL import Image

    entries = sorted(_entries(source), key=lambda entry: entry[0])
    classes = sorted({PurePosixPath(name).parent.name for name, _ in entries})
    if len(classes) < 2:
        sys.exit(f"{source} holds {len(classes)} class folders; at least 2 are needed")
    pixels = np.empty((len(entries), SIZE, SIZE, 3), np.uint8)
    for index, (_, content) in enumerate(entries):
        with Image.open(io.BytesIO(content)) as picture:
            pixels[index] = np.asarray(picture.convert("RGB").resize((SIZE, SIZE)))
    labels = np.array([classes.index(PurePosixPath(name).parent.name) for name, _ in entries])
    return pixels, labels, classes


def _entries(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in source.rglob("*"):
            if path.suffix.lower() in SUFFIXES:
                yield path.relative_to(source).as_posix(), path.read_bytes()
        return
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            if PurePosixPath(name).suffix.lower() in SUFFIXES:
                yield name, archive.read(name)


def hold_out(labels: Labels, per_class: int, seed: int) -> tuple[Labels, Labels]:
    """Indices for training and held out, `per_class` of each class held out."""
    rng = np.random.default_rng(seed)
    held = [rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels)]
    test = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), test), test


def augment(pixels: Pixels, rng: np.random.Generator) -> NDArray[np.float32]:
    """Random flip, shift by up to 4, colour jitter and one hole of 11×11; float32, scaled to [-1, 1]."""
    count = len(pixels)
    padded = np.pad(pixels, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    top, left = rng.integers(0, 9, (2, count))
    rows = top[:, None] + np.arange(SIZE)
    columns = left[:, None] + np.arange(SIZE)
    columns = np.where(rng.random((count, 1)) < 0.5, columns[:, ::-1], columns)
    x = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]].astype(np.float32)
    x = jitter_colour(x / 127.5 - 1.0, rng)
    centre = rng.integers(0, SIZE, (2, count, 1))
    inside = np.abs(np.arange(SIZE)[None, None] - centre) <= 5
    hole = inside[0][:, :, None] & inside[1][:, None, :] & (rng.random(count) < 0.75)[:, None, None]
    x[hole] = 0.0
    return x


def jitter_colour(x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness ±0.2, contrast and saturation ×[0.7, 1.3] on each picture; one in eight becomes grey."""
    shape = (len(x), 1, 1, 1)
    grey = x.mean(axis=3, keepdims=True)
    saturation = np.where(rng.random(shape) < 0.125, 0.0, rng.uniform(0.7, 1.3, shape)).astype(np.float32)
    x = grey + (x - grey) * saturation
    level = grey.mean(axis=(1, 2), keepdims=True)
    contrast = rng.uniform(0.7, 1.3, shape).astype(np.float32)
    return np.clip(level + (x - level) * contrast + rng.uniform(-0.2, 0.2, shape).astype(np.float32), -1, 1)


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Linear rise over the first fifth, cosine fall to zero (Smith & Topin 2018)."""
    rise = max(1, steps // 5)
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + np.cos(np.pi * (step - rise) / max(1, steps - rise)))


def compile_classifier(base: Any, classes: int, options: argparse.Namespace) -> Any:
    import keras

    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(
        keras.layers.GlobalAveragePooling2D(dtype="float32")(base.output)
    )
    model = keras.Model(base.input, logits)
    # Keras' decay is decoupled: dividing by 1 - momentum gives the pull of the usual L2 penalty.
    optimizer = keras.optimizers.SGD(
        options.learning_rate,
        momentum=MOMENTUM,
        nesterov=True,
        weight_decay=options.weight_decay / (1 - MOMENTUM),
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=options.label_smoothing)
    # XLA is no faster here and takes longer to start.
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model


def train(model: Any, pixels: Pixels, labels: Labels, classes: int, options: argparse.Namespace) -> None:
    """One cycle over `options.epochs`; every batch has the same size, so that one graph is traced."""
    rng = np.random.default_rng([options.seed, 1])
    targets = np.eye(classes, dtype=np.float32)[labels]
    per_epoch = len(pixels) // options.batch_size
    for epoch in range(options.epochs):
        started = time.perf_counter()
        order = rng.permutation(len(pixels))
        for step in range(per_epoch):
            chosen = order[step * options.batch_size : (step + 1) * options.batch_size]
            rate = one_cycle(epoch * per_epoch + step, options.epochs * per_epoch, options.learning_rate)
            model.optimizer.learning_rate.assign(rate)
            scores = model.train_on_batch(augment(pixels[chosen], rng), targets[chosen], return_dict=True)
        seconds = time.perf_counter() - started
        print(
            f"epoch {epoch + 1}/{options.epochs}  loss {float(scores['loss']):.4f}  "
            f"accuracy (last batches) {float(scores['accuracy']):.4f}  {seconds:.1f} s",
            flush=True,
        )
        model.reset_metrics()


def score_stored(content: bytes, trained: Any, classes: int, pixels: Pixels, labels: Labels) -> float:
    """Accuracy on the held-out pictures in float32 with the weights as stored, as users will load them."""
    import keras

    keras.config.set_dtype_policy("float32")
    base = mini.build_mini(SIZE)
    with np.load(io.BytesIO(content)) as archive:
        for layer in base.layers:
            for variable, key in mini.variables_of(layer):
                variable.assign(archive[key].astype(np.float32))
    features = base.predict(pixels.astype(np.float32) / 127.5 - 1, batch_size=256, verbose=0).mean(axis=(1, 2))
    kernel, bias = (np.asarray(variable) for variable in trained.get_layer("logits").weights)
    return float(np.mean((features @ kernel + bias).argmax(axis=1) == labels))


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    import keras

    keras.utils.set_random_seed(options.seed)
    keras.config.set_dtype_policy(options.precision)
    pixels, labels, names = read_pictures(options.data)
    training, test = hold_out(labels, options.held_out, options.seed)
    if min(np.bincount(labels[training], minlength=len(names))) < 1 or len(training) < options.batch_size:
        sys.exit(f"{len(training)} pictures remain to train on: too few; lower --held-out or --batch-size")
    print(f"{len(training)} pictures to train on, {len(test)} held out, {len(names)} classes", flush=True)
    base = mini.build_mini(SIZE)
    model = compile_classifier(base, len(names), options)
    started = time.perf_counter()
    train(model, pixels[training], labels[training], len(names), options)
    minutes = (time.perf_counter() - started) / 60
    content = mini.pack_weights(base)
    accuracy = score_stored(content, model, len(names), pixels[test], labels[test])
    write_bytes(options.output, content)
    write_json(
        options.output.with_suffix(".json"),
        {
            "source": options.source,
            "accuracy": round(accuracy, 4),
            "held_out": len(test),
            "parameters": base.count_params(),
            "sha256": sha256_bytes(content),
            "keras": keras.__version__,
            "epochs": options.epochs,
            "seed": options.seed,
        },
    )
    print(f"held-out accuracy {accuracy:.4f} after {minutes:.1f} min; {len(content):,} bytes in {options.output}")


if __name__ == "__main__":
    main()
