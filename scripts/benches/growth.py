"""How a run grows with its pictures: seconds a picture and peak memory of each stage, from a thousand to many."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import click

from benches.measuring import Bar, in_child, measurement, peak_mb, scratch
from benches.noting import Noting
from benches.pictures import synthetic

BARS = (
    Bar("steepest", "<=", 1.1, "growth of the seconds of the steepest stage between the two largest: exponent"),
    Bar("report_mb", "<=", 5, "report.html of the largest, in MB"),
    Bar("metrics_mb", "<=", 2, "metrics.json of the largest, in MB"),
    Bar("peak_mb", "<=", 2500, "memory held at the most by the run of the largest, TensorFlow included, in MB"),
)
SIZE = 32
STAGES = {"check": ("check",), "split": ("splits",), "extraction": ("features",), "choice": ("choice",),
          "head": ("head",), "test": ("test",)}  # fmt: skip
NOISE = 1.0  # seconds below which a stage's growth is chance


@measurement("growth", BARS)
@click.option("--sizes", default="1000,10000,100000", show_default=True, help="Numbers of pictures.")
@click.option("--classes", default=10, show_default=True, help="Classes they are in.")
@click.option("--head", default="auto", show_default=True, help="As of `finetune`.")
def measure(quick: bool, sizes: str, classes: int, head: str) -> dict[str, Any]:
    """`finetune` of mini with its classifier chosen, on generated pictures of 32 pixels, and the report by itself.

    Each size in a process of its own on an empty cache. `exponents` are those of the seconds between the two largest
    sizes, of stages that take longer than a second: 1 is linear.
    """
    counts = [60, 120] if quick else [int(part) for part in sizes.split(",")]
    found: dict[str, dict[str, Any]] = {}
    for count in counts:
        with scratch() as folder:
            synthetic(folder / "data", count, (SIZE, SIZE), classes)
            found[str(count)] = in_child("growth", "whole", {"data": folder / "data", "head": head}, folder / "cache")
        click.echo(f"{count} pictures: {found[str(count)]}", err=True)
    exponents = grown(found, counts[-2:])
    largest = found[str(counts[-1])]
    return {
        "size": SIZE, "classes": classes, "head": head, "counts": counts, "stages": found, "exponents": exponents,
        "steepest": max(exponents.values(), default=None),
        **{name: largest[name] for name in ("report_mb", "metrics_mb", "peak_mb")},
    }  # fmt: skip


def grown(found: dict[str, dict[str, Any]], counts: list[int]) -> dict[str, float]:
    """The exponent of each stage's seconds between two sizes; of those that are long enough to tell."""
    small, large = (found[str(count)]["seconds"] for count in counts)
    step = math.log(counts[1] / counts[0])
    return {
        stage: math.log(large[stage] / max(small[stage], 1e-3)) / step
        for stage in large
        if large[stage] >= NOISE and small.get(stage, 0) > 0
    }


def whole(data: str, head: str) -> dict[str, Any]:
    """One run, in a process that does nothing else."""
    import transferkit as tk
    from transferkit import compute
    from transferkit.delivery.report.publish import publish
    from transferkit.runs.layout import Layout

    compute.start()
    before = peak_mb()
    stages: dict[str, float] = {}
    reporter = Noting(stages, before)
    output = Path(data).parent / "run"
    tk.finetune(data, "mini", head=head, augment="none", views=0, output=output, offline=True, reporter=reporter)
    layout = Layout(output)
    started = time.perf_counter()
    publish(layout, reporter)
    report = time.perf_counter() - started
    timings = layout.read_manifest().timings
    seconds = {stage: sum(timings.get(name, 0.0) for name in names) for stage, names in STAGES.items()}
    seconds |= {"report": report, "total": timings["total"]}
    pictures = layout.read_manifest().data.n
    return {
        "seconds": seconds, "milliseconds_a_picture": {k: 1000 * v / pictures for k, v in seconds.items()},
        "peak_above_import_mb": stages, "report_mb": layout.report.stat().st_size / 1e6,
        "metrics_mb": layout.metrics.stat().st_size / 1e6, "peak_mb": peak_mb(),
    }  # fmt: skip
