"""Pictures a second of the decoder against Keras' own reader of folders."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benches.measuring import TRASHNET, Bar, measurement, turns

BARS = (
    Bar("ratio", ">=", 1.6, "decode throughput relative to `keras.utils.image_dataset_from_directory`"),
)  # fmt: skip


@measurement("decode", BARS)
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=TRASHNET)
@click.option("--size", default=224, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def measure(quick: bool, data: Path, size: int, rounds: int) -> dict[str, Any]:
    """Pictures a second of the decoder and of image_dataset_from_directory, in turns, medians of the rounds."""
    import keras

    from transferkit.data.images.decode import DecodeSettings, decode_many
    from transferkit.data.source import scan

    samples, settings = scan(data), DecodeSettings(size)
    rounds = 1 if quick else rounds

    def ours() -> int:
        return sum(1 for _ in decode_many(samples.sources(), settings))

    def theirs() -> int:
        dataset = keras.utils.image_dataset_from_directory(
            data, image_size=(size, size), batch_size=32, shuffle=False, verbose=False
        )
        return sum(len(pictures) for pictures, _ in dataset)

    sides = {"transferkit": lambda: _speed(ours), "image_dataset_from_directory": lambda: _speed(theirs)}
    found = turns(sides, rounds)
    speeds = {name: [speed for speed, _ in rows] for name, rows in found.items()}
    medians = {name: statistics.median(some) for name, some in speeds.items()}
    return {
        "pictures": len(samples),
        "size": size,
        "rounds": rounds,
        "pictures_per_second": medians,
        "processor_ms_per_picture": {n: statistics.median(ms for _, ms in rows) for n, rows in found.items()},
        "all": speeds,
        "ratio": medians["transferkit"] / medians["image_dataset_from_directory"],
    }


def _speed(work: Callable[[], int]) -> tuple[float, float]:
    """Pictures a second, and milliseconds of processor time a picture on all threads together."""
    started, spent = time.perf_counter(), time.process_time()
    count = work()
    return count / (time.perf_counter() - started), 1000 * (time.process_time() - spent) / count
