"""Extraction on Ray, on one machine: what the asking process costs a picture, and what actors give of its cores."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from benches.measuring import MOBILENET, TRASHNET, Bar, in_child, measurement, peak_mb, scratch, turns
from transferkit.console import Reporter

BARS = (
    Bar("peak_mb", "<=", 1500, "asking process, most pictures: peak memory, MB"),
    Bar("milliseconds_a_row", "<=", 0.1, "asking process: processor time of one more row, milliseconds"),
    Bar("ratio", ">=", 0.9, "extraction by two actors of one core each / in one process on the same two cores"),
)
SIZE = 8  # pixels a side of the tiny pictures
SIDES = {"in process": ("local", None), "one actor": ("ray", 1), "two actors": ("ray", 2)}


@measurement("ray", BARS)
@click.option("--sizes", default="10000,1000000", show_default=True, help="Numbers of tiny pictures.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--network", default=str(MOBILENET), show_default=False, help="Weights of MobileNet-0.25.")
def measure(quick: bool, sizes: str, rounds: int, network: str) -> dict[str, Any]:
    """The asking process with tiny pictures, one view each, from the folder to the last answer; and the throughput with
    MobileNet-0.25 on TrashNet at 224 pixels, from the first answer to the last.

    `milliseconds_a_row` is the processor time of the whole process, all threads, between the smallest and the largest
    number of pictures: listing, handing out, Ray's own.
    """
    counts = [200, 400] if quick else [int(part) for part in sizes.split(",")]
    found = {}
    for count in counts:
        with scratch() as folder:
            tiny(folder / "data", count)
            asked = {"data": folder / "data", "network": folder / "tiny.keras"}
            found[str(count)] = in_child("distributed", "asking", asked, folder / "cache")
        click.echo(f"{count} pictures: {found[str(count)]}", err=True)
    small, large = (found[str(count)] for count in (counts[0], counts[-1]))
    figures = {
        "pictures": counts, "asking": found, "peak_mb": large["peak_mb"],
        "growth_mb": large["peak_mb"] - small["peak_mb"],
        "milliseconds_a_row": 1000 * (large["cpu"] - small["cpu"]) / (counts[-1] - counts[0]),
        "milliseconds_a_row_without_listing":
            1000 * (large["cpu"] - large["listing"] - small["cpu"] + small["listing"]) / (counts[-1] - counts[0]),
    }  # fmt: skip
    if not Path(TRASHNET).is_dir():
        return figures | {"ratio": None}
    sides = {name: lambda name=name: speed(name, network, quick) for name in SIDES if not quick or name != "one actor"}
    speeds = turns(sides, 1 if quick else rounds, warm_up=not quick)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    ratio = medians["two actors"] / medians["in process"]
    return figures | {"pictures_per_second": medians, "all": speeds, "ratio": ratio}


def tiny(folder: Path, count: int, classes: int = 10) -> None:
    """Pictures of 8 pixels a side, no two alike, as bitmaps: what they cost is their number."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    Image.new("RGB", (SIZE, SIZE)).save(folder / "one.bmp")
    head = (folder / "one.bmp").read_bytes()[:54]
    (folder / "one.bmp").unlink()
    rng = np.random.default_rng(0)
    for number in range(classes):
        (folder / f"class_{number}").mkdir()
    for number in range(count):
        (folder / f"class_{number % classes}" / f"{number:07}.bmp").write_bytes(head + rng.bytes(3 * SIZE * SIZE))


def asking(data: str, network: str) -> dict[str, Any]:
    """One extraction by an actor on this machine, in a process that does nothing else but ask for it."""
    import transferkit as tk
    from transferkit import compute

    compute.start()
    _network(Path(network))
    note = Noting()
    started, cpu = time.perf_counter(), time.process_time()
    found = tk.extract_features(
        data, network, engine="ray", workers=max(1, (os.cpu_count() or 2) - 1), augment="none", reporter=note,
        precision="float32",
    )  # fmt: skip
    assert found.computed == found.pictures
    return {
        "rows": found.computed, "seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu,
        "listing": note.cpu[0] - cpu, "peak_mb": peak_mb(), "before_mb": note.before,
    }  # fmt: skip


def _network(path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    keras.Model(inputs, keras.layers.Conv2D(16, 3, activation="relu")(inputs)).save(path)


class Noting(Reporter):
    """Notes the processor time and the peak of the memory when the work begins, and when answers come."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.cpu: list[float] = []
        self.answers: list[tuple[float, float]] = []  # when, and how many pictures
        self.before = 0.0

    @contextmanager
    def progress(self, title: str, total: int, unit: str = "pictures", done: float = 0) -> Iterator[Any]:
        self.cpu.append(time.process_time())
        self.before = peak_mb()
        yield lambda count=1, note="": self.answers.append((time.perf_counter(), count))

    def speed(self) -> float:
        """Pictures a second between the first answer and the last."""
        (first, _), (last, _) = self.answers[0], self.answers[-1]
        return sum(count for _, count in self.answers[1:]) / (last - first)


def speed(side: str, network: str, quick: bool) -> float:
    """Pictures a second of one side, from an empty cache."""
    engine, workers = SIDES[side]
    with scratch() as folder:
        arguments = {"engine": engine, "workers": workers, "network": network, "quick": quick}
        return float(in_child("distributed", "extraction", arguments, folder / "cache")["speed"])


def extraction(engine: Any, workers: int | None, network: str, quick: bool) -> dict[str, Any]:
    """One side, in a process of its own."""
    import transferkit as tk

    note = Noting()
    more = {"engine": engine} if workers is None else {"engine": engine, "workers": workers, "worker_cpus": 1}
    skip = ("metal", "paper", "plastic", "trash") if quick else ()
    found = tk.extract_features(
        str(TRASHNET), "mobilenet_0.25", weights=network, augment="none", exclude=skip, on_bad_file="skip",
        offline=True, reporter=note, **more,
    )  # fmt: skip
    return {"speed": note.speed(), "pictures": found.pictures, "precision": found.precision}
