"""Extraction on Ray, on one machine: what the asking process costs a picture, and what actors give of its cores."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Mapping
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
SIDES = {"in process": ("local", None), "two actors": ("ray", 2)}  # whose ratio is judged: in turns, several times
BESIDE = {"one actor": ("ray", 1), "four actors": ("ray", 4)}  # for the page, once
PAGE, MARK = "distributed.md", "throughput of extraction"  # the part of a page of docs/ that `text` gives
# What is assumed where figures are extrapolated; all of it is named on the page.
PICTURES, NODES, CORES, PRICE = 1_000_000_000, 100, 16, 0.04  # dollars an hour of a core
PART = 10_000_000  # pictures of one command
WIDTH, NAME = 256, 40  # numbers of 4 bytes in a row of MobileNet-0.25, and bytes of its name in the index
PICTURE = 100_000  # bytes of a file


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
    counts = [200] if quick else [int(part) for part in sizes.split(",")]
    found = {}
    for count in counts:
        with scratch() as folder:
            tiny(folder / "data", count)
            asked = {"data": folder / "data", "network": folder / "tiny.keras"}
            found[str(count)] = in_child("distributed", "asking", asked, folder / "cache")
        click.echo(f"{count} pictures: {found[str(count)]}", err=True)
    small, large = (found[str(count)] for count in (counts[0], counts[-1]))
    more = counts[-1] - counts[0] or 1  # of the small form, which has one number, nothing is told by the row
    figures = {
        "pictures": counts, "asking": found, "peak_mb": large["peak_mb"],
        "growth_mb": large["peak_mb"] - small["peak_mb"],
        "milliseconds_a_row": 1000 * (large["cpu"] - small["cpu"]) / more,
        "milliseconds_a_row_without_listing":
            1000 * (large["cpu"] - large["listing"] - small["cpu"] + small["listing"]) / more,
    }  # fmt: skip
    if not Path(TRASHNET).is_dir():
        return figures | {"ratio": None}
    speeds = turns(_sides(SIDES, network, quick), 1 if quick else rounds, warm_up=not quick)
    if not quick:
        speeds |= turns(_sides(BESIDE, network, quick), 1, warm_up=False)
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


def _sides(sides: dict[str, tuple[str, int | None]], network: str, quick: bool) -> dict[str, Any]:
    return {name: lambda how=how: speed(*how, network, quick) for name, how in sides.items()}


def speed(engine: str, workers: int | None, network: str, quick: bool) -> float:
    """Pictures a second of one side, from an empty cache."""
    with scratch() as folder:
        arguments = {"engine": engine, "workers": workers, "network": network, "quick": quick}
        return float(in_child("distributed", "extraction", arguments, folder / "cache")["speed"])


def extraction(engine: Any, workers: int | None, network: str, quick: bool) -> dict[str, Any]:
    """One side, in a process of its own."""
    import transferkit as tk

    note = Noting()
    cpus = min(1, (os.cpu_count() or 1) / (workers or 1))  # four actors on two cores have half of one each
    more = {"engine": engine} if workers is None else {"engine": engine, "workers": workers, "worker_cpus": cpus}
    skip = ("glass", "metal", "paper", "plastic", "*[5-9].jpg") if quick else ()
    found = tk.extract_features(
        str(TRASHNET), "mobilenet_0.25", weights=network, augment="none", exclude=skip, on_bad_file="skip",
        offline=True, reporter=note, **more,
    )  # fmt: skip
    return {"speed": note.speed(), "pictures": found.pictures, "precision": found.precision}


def text(found: Mapping[str, Any], machine: Mapping[str, Any]) -> Iterator[str]:
    """The part of docs/distributed.md that these figures give, and what they extrapolate to."""
    small, large = found["pictures"][0], found["pictures"][-1]
    first, last = (found["asking"][str(count)] for count in (small, large))
    load = machine.get("load")
    yield (
        f"Measured by `scripts/bench.py ray` on {machine['cores']} cores of {machine['cpu']}"
        + ("." if load is None else f", load {load:.1f} when it ended.")
    )
    yield ""
    yield f"| the asking process, tiny pictures (8 × 8 pixels, one view) | {small:,} | {large:,} | a further row |"
    yield "|---|---|---|---|"
    for what, key in (("processor time, all of it", "cpu"), ("of it until the first shard is handed out", "listing")):
        more = 1000 * (last[key] - first[key]) / (large - small)
        yield f"| {what} | {first[key]:.2f} s | {last[key]:.2f} s | {more:.4f} ms |"
    memory = found["growth_mb"] / (large - small)  # MB a row
    yield f"| most memory | {first['peak_mb']:.0f} MB | {last['peak_mb']:.0f} MB | {1024 * memory:.2f} KB |"
    speeds = found.get("pictures_per_second")
    if speeds is None:
        return
    yield ""
    yield "| MobileNet-0.25 on TrashNet, 224 pixels | pictures a second | of the same cores in one process |"
    yield "|---|---|---|"
    for name in ("in process", "one actor", "two actors", "four actors"):
        share = "" if name == "one actor" else f"{speeds[name] / speeds['in process']:.2f}"
        yield f"| {name} | {speeds[name]:.0f} | {share} |"
    yield ""
    yield f"One actor has one core of the {machine['cores']}; four actors share them all. **Extrapolated** from these:"
    yield ""
    yield from _extrapolated(found, speeds["two actors"] / min(2, machine["cores"]), last["peak_mb"], memory)


def _extrapolated(found: Mapping[str, Any], core: float, peak: float, memory: float) -> Iterator[str]:
    """A table: `core` pictures a second, `peak` MB at the most pictures, `memory` MB a further row."""
    seconds = PICTURES / (core * NODES * CORES)
    asking = found["milliseconds_a_row"] * PICTURES / 1000
    slower = max(seconds, asking)
    most = peak + max(0, PART - found["pictures"][-1]) * memory
    stored = PICTURES * (4 * WIDTH + NAME)
    yield f"| {NODES} machines of {CORES} cores | assumed | {PICTURES:,} pictures |"
    yield "|---|---|---|"
    yield f"| the workers | {core:.0f} pictures a second of each core, as of an actor here | {seconds:,.0f} s |"
    yield (
        f"| the asking process | {found['milliseconds_a_row']:.4f} ms a picture, in {PICTURES // PART} parts one after "
        f"the other | {asking:,.0f} s, beside the workers |"
    )
    yield f"| its memory | {1024 * memory:.2f} KB a picture of a part, above what it has here | {most / 1024:.1f} GB |"
    yield f"| the store | {WIDTH} numbers of 4 bytes a row, and {NAME} bytes of its name | {stored / 1e12:.1f} TB |"
    yield f"| writing to it | all that time | {stored / slower / 1e6:,.0f} MB a second |"
    yield f"| reading | {PICTURE // 1000} KB a picture | {PICTURES * PICTURE / slower / 1e9:.1f} GB a second |"
    dollars = PRICE * NODES * CORES * slower / 3600
    yield f"| price | {PRICE:g} $ an hour of a core, all machines to the end | {dollars:,.0f} $ |"
