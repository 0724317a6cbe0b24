"""Answers of a saved model by workers on Ray, on one machine, against one process on the same cores."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from benches.distributed import Noting
from benches.extraction import Extraction
from benches.measuring import MOBILENET, TRASHNET, Bar, in_child, measurement, scratch, turns
from benches.predict import untrained

BARS = (Bar("ratio", ">=", 0.9, "processor time a picture: predict in one process / by two actors of one core each"),)
SIDES = {"in process": None, "two actors": 2}
TIMES = 4  # that each picture is answered, so that what comes in one burst at the beginning is little of all
PAGE, MARK = "distributed.md", "throughput of answers"  # the part of a page of docs/ that `text` gives


@measurement("predict-ray", BARS)
@click.option("--rounds", default=2, show_default=True)
def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """The model of a run with MobileNet-0.25 on TrashNet at 224 pixels, each picture four times: pictures a second, and
    milliseconds of processor time a picture (this process, workers and Ray's own), from the first answer to the last;
    and seconds of the whole, with loading, starting Ray and its workers. The bar is of processor time: where other work
    runs beside it, the speeds of two sides that take turns compare nothing.
    """
    with scratch() as folder:
        file = in_child("predict_ray", "save", {"folder": folder}, folder / "cache")["file"]
        sides = {name: lambda workers=workers: side(file, workers, folder, quick) for name, workers in SIDES.items()}
        found = turns(sides, 1 if quick else rounds, warm_up=False)
    speeds = {name: statistics.median(one["speed"] for one in values) for name, values in found.items()}
    seconds = {name: statistics.median(one["seconds"] for one in values) for name, values in found.items()}
    processor = {name: statistics.median(one["processor_ms"] for one in values) for name, values in found.items()}
    return {
        "pictures": found["in process"][0]["pictures"], "rounds": len(found["in process"]),
        "pictures_per_second": speeds, "processor_ms_a_picture": processor, "seconds": seconds,
        "all": {name: [one["speed"] for one in values] for name, values in found.items()},
        "ratio": processor["in process"] / processor["two actors"],
    }  # fmt: skip


def save(folder: str) -> dict[str, Any]:
    """The model's file."""
    from transferkit.runs import model_file

    file = Path(folder) / "model.keras"
    work = Extraction("mobilenet_0.25", str(MOBILENET), 64, Path(folder), "float32")
    model_file.save(*untrained(work), file)
    return {"file": str(file)}


def side(file: str, workers: int | None, folder: Path, quick: bool) -> dict[str, Any]:
    """One side, in a process of its own and with nothing remembered."""
    cache = folder / f"cache-{time.monotonic_ns()}"
    return in_child("predict_ray", "answers", {"file": file, "workers": workers, "quick": quick}, cache)


def answers(file: str, workers: int | None, quick: bool) -> dict[str, Any]:
    """Answers to all pictures, none of them kept."""
    from transferkit.delivery.inputs import find
    from transferkit.delivery.ray_predict import predictor_of
    from transferkit.features.extraction_engines import engine_of

    pictures = find([TRASHNET])[: 256 if quick else None] * (1 if quick else TIMES)
    note = Counting()
    where = engine_of("local", None, None, None, None) if workers is None else engine_of("ray", None, workers, 1, None)
    started = time.perf_counter()
    predictor = predictor_of(where, file, reporter=note)
    count = sum(1 for _ in predictor.stream(pictures, note))
    seconds = time.perf_counter() - started
    return {"speed": note.speed(), "processor_ms": note.processor_ms(), "seconds": seconds, "pictures": count}


class Counting(Noting):
    """Notes the processor time of this process and all that it has begun as well, at each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.spent: list[float] = []

    @contextmanager
    def progress(self, title: str, total: int, unit: str = "pictures", done: float = 0) -> Iterator[Any]:
        with super().progress(title, total, unit, done) as advance:

            def noted(count: float = 1, note: str = "") -> None:
                # Looking at all processes takes a millisecond or more: at the first answer, and towards the end.
                if not self.spent or total - sum(c for _, c in self.answers) - count <= 0:
                    self.spent.append(_spent())
                advance(count, note)

            yield noted

    def processor_ms(self) -> float:
        """Milliseconds a picture, from the first answer to the last."""
        return 1000 * (self.spent[-1] - self.spent[0]) / sum(count for _, count in self.answers[1:])


def _spent() -> float:
    """Processor seconds of this process and of all below it."""
    import psutil

    this = psutil.Process()
    total = 0.0
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def text(found: Mapping[str, Any], machine: Mapping[str, Any]) -> Iterator[str]:
    """The part of docs/distributed.md that these figures give."""
    load = machine.get("load")
    yield (
        f"Measured by `scripts/bench.py predict-ray` on {machine['cores']} cores of {machine['cpu']}"
        + ("." if load is None else f", load {load:.1f} when it ended.")
        + " One actor has one core."
    )
    yield "Other work slows the sides down by shares of their own; the processor time compares them there too."
    yield ""
    yield (
        f"| a run with MobileNet-0.25, {found['pictures']:,} pictures of TrashNet | pictures a second, first answer to "
        "last | processor time a picture | the whole, with what starts |"
    )
    yield "|---|---|---|---|"
    speeds, seconds, processor = found["pictures_per_second"], found["seconds"], found["processor_ms_a_picture"]
    for name in SIDES:
        yield f"| {name} | {speeds[name]:.0f} | {processor[name]:.2f} ms | {seconds[name]:.0f} s |"
