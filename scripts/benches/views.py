"""Augmented views a second against the same augmentations as Keras' own layers, on decoded pictures."""

from __future__ import annotations

import statistics
import time
from typing import Any

import click
import numpy as np

from benches.measuring import TRASHNET, Bar, measurement, turns

BARS = (
    Bar("ratio/light", ">=", 5, "augmented views a second, preset light / the same augmentations as Keras layers"),
    Bar("ratio/medium", ">=", 5, "augmented views a second, preset medium / the same augmentations as Keras layers"),
)
SIZE, BATCH, VIEWS = 224, 32, 4


@measurement("views", BARS)
@click.option("--pictures", default=512, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def measure(quick: bool, pictures: int, rounds: int) -> dict[str, Any]:
    """Augmented views a second, decoding excluded on both sides: four views of each picture, 224 pixels a side."""
    from transferkit.data.augmentation.augment import augmentation
    from transferkit.data.images.decode import DecodeSettings, decode, open_picture
    from transferkit.data.source import scan

    pictures, rounds = (64, 1) if quick else (pictures, rounds)
    settings, samples = DecodeSettings(SIZE), scan(TRASHNET)
    chosen = np.linspace(0, len(samples) - 1, pictures).astype(int)
    sources = [samples.source(int(index)) for index in chosen]
    opened = [open_picture(source, settings) for source in sources]
    # The guides' readers hand out float32 at the final size, and augment that.
    sized = np.stack([decode(source, settings) for source in sources]).astype(np.float32)
    speeds: dict[str, dict[str, list[float]]] = {}
    for preset in ("light", "medium"):
        ranges = augmentation(preset)
        sides = {
            "transferkit": lambda ranges=ranges: _ours(opened, settings, ranges),
            "keras_layers": _Layers(sized, ranges).speed,
        }
        speeds[preset] = turns(sides, rounds)
    medians = {name: {side: statistics.median(some) for side, some in found.items()} for name, found in speeds.items()}
    return {
        "pictures": pictures,
        "size": SIZE,
        "rounds": rounds,
        "views_per_second": medians,
        "all": speeds,
        "ratio": {name: found["transferkit"] / found["keras_layers"] for name, found in medians.items()},
    }


def _ours(opened: list[Any], settings: Any, ranges: Any) -> float:
    """Views a second on all cores, sizing included."""
    from transferkit.data.augmentation.augment import render
    from transferkit.data.threads import map_ordered

    started = time.perf_counter()
    seeds = range(1, VIEWS + 1)
    count = sum(len(views) for views in map_ordered(lambda image: render(image, settings, ranges, seeds), opened))
    return count / (time.perf_counter() - started)


class _Layers:
    """The Keras side: the layers mapped over batches by tf.data on all cores, as the guides augment."""

    def __init__(self, sized: np.ndarray, ranges: Any) -> None:
        import tensorflow as tf

        augment = keras_layers(ranges)

        def augmented(batch: Any) -> Any:
            for layer in augment:
                batch = layer(batch, training=True)
            return batch

        dataset = tf.data.Dataset.from_tensor_slices(sized).repeat(VIEWS).batch(BATCH)
        self.dataset = dataset.map(augmented, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
        self.count = VIEWS * len(sized)

    def speed(self) -> float:
        """Views a second."""
        started = time.perf_counter()
        for _ in self.dataset:
            pass
        return self.count / (time.perf_counter() - started)


def keras_layers(a: Any) -> list[Any]:
    """The layers of Keras whose ranges are those of the augmentation `a`, on pixels 0…255; unused ones left out."""
    from keras import layers

    found: list[Any] = []
    if a.flip_horizontal or a.flip_vertical:
        both = a.flip_horizontal and a.flip_vertical
        found.append(layers.RandomFlip("horizontal_and_vertical" if both else "horizontal"))
    if a.rotate:
        found.append(layers.RandomRotation(a.rotate / 360))
    if a.zoom != (1.0, 1.0):
        # Both name the share of the frame that is seen: 1 + factor here, the zoom there.
        found.append(layers.RandomZoom((a.zoom[0] - 1, a.zoom[1] - 1)))
    if a.shift:
        found.append(layers.RandomTranslation(a.shift, a.shift))
    if a.shear:
        found.append(layers.RandomShear(a.shear / 90, 0.0))
    if a.brightness:
        found.append(layers.RandomBrightness(a.brightness, value_range=(0, 255)))
    if a.contrast:
        found.append(layers.RandomContrast(a.contrast, value_range=(0, 255)))
    if a.saturation:
        # Its factor f scales saturation by f / (1 - f).
        ends = [(1 + side * a.saturation) / (2 + side * a.saturation) for side in (-1, 1)]
        found.append(layers.RandomSaturation((ends[0], ends[1]), value_range=(0, 255)))
    if a.hue:
        found.append(layers.RandomHue(a.hue, value_range=(0, 255)))
    if a.erase:
        found.append(layers.RandomErasing(scale=(0.0, a.erase), value_range=(0, 255)))
    return found
