#!/usr/bin/env python3
"""The measurements that claims rest on: each writes its figures to docs/benchmarks.json and docs/benchmarks.md.

    .venv/bin/python scripts/bench.py decode            # needs the real pictures: TRANSFERKIT_TEST_ASSETS or ../shared
    .venv/bin/python scripts/bench.py memory

A measurement compares within one run, because machines differ and are busy; bars are ratios or limits, and a missed
bar ends with exit code 1.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ASSETS = Path(os.environ.get("TRANSFERKIT_TEST_ASSETS", ROOT.parent / "shared"))
JSON, PAGE = ROOT / "docs" / "benchmarks.json", ROOT / "docs" / "benchmarks.md"

# measurement: (figure, comparison, bar, what it says)
BARS: dict[str, tuple[str, str, float, str]] = {
    "decode": ("ratio", ">=", 1.6, "decode throughput relative to `keras.utils.image_dataset_from_directory`"),
    "memory": ("peak_above_import_mb", "<", 600, "peak memory above the TensorFlow import, 20,000 pictures, in MB"),
}


@click.group()
def bench() -> None:
    """Measure, compare with the bar, record."""


@bench.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=ASSETS / "data" / "trashnet")
@click.option("--size", default=224, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def decode(data: Path, size: int, rounds: int) -> None:
    """Pictures a second of the decoder and of image_dataset_from_directory, in turns, medians of the rounds."""
    import keras

    from transferkit.data.decode import DecodeSettings, decode_many
    from transferkit.data.source import scan

    samples, settings = scan(data), DecodeSettings(size)

    def ours() -> int:
        return sum(1 for _ in decode_many(samples.sources(), settings))

    def theirs() -> int:
        dataset = keras.utils.image_dataset_from_directory(
            data, image_size=(size, size), batch_size=32, shuffle=False, verbose=False
        )
        return sum(len(pictures) for pictures, _ in dataset)

    speeds: dict[str, list[float]] = {"transferkit": [], "image_dataset_from_directory": []}
    work_ms: dict[str, list[float]] = {name: [] for name in speeds}
    for number in range(rounds + 1):
        for name, work in zip(speeds, (ours, theirs), strict=True):
            speed, spent = _speed(work)
            if number:  # the first round fills the page cache and is not counted
                speeds[name].append(speed)
                work_ms[name].append(spent)
                click.echo(f"{name}: {speed:.0f} pictures/s, {spent:.2f} ms of processor time each")
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    ratio = medians["transferkit"] / medians["image_dataset_from_directory"]
    _record("decode", {"pictures": len(samples), "size": size, "rounds": rounds, "pictures_per_second": medians,
                       "processor_ms_per_picture": {n: statistics.median(found) for n, found in work_ms.items()},
                       "all": speeds, "ratio": ratio})  # fmt: skip


def _speed(work: Callable[[], int]) -> tuple[float, float]:
    """Pictures a second, and milliseconds of processor time a picture on all threads together."""
    started, spent = time.perf_counter(), time.process_time()
    count = work()
    return count / (time.perf_counter() - started), 1000 * (time.process_time() - spent) / count


@bench.command()
@click.option("--pictures", default=20_000, show_default=True)
@click.option("--size", default=64, show_default=True, help="Side at which mini looks at them.")
def memory(pictures: int, size: int) -> None:
    """Peak memory of scan, check, hashing and extraction with mini, above that of importing TensorFlow."""
    with tempfile.TemporaryDirectory() as folder:
        _synthetic(Path(folder) / "data", pictures)
        environment = {**os.environ, "TRANSFERKIT_CACHE": f"{folder}/cache", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, __file__, "memory-of-one", f"{folder}/data", "--size", str(size)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    _record("memory", {"pictures": pictures, "size": size, **json.loads(done.stdout.splitlines()[-1])})


@bench.command(hidden=True)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--size", default=64)
def memory_of_one(data: Path, size: int) -> None:
    """What `memory` measures, in a process of its own: the way of `finetune` up to the stored features."""
    from transferkit import compute

    compute.start()
    import tensorflow as tf

    from transferkit.backbones.build import build
    from transferkit.config import make
    from transferkit.console import Reporter
    from transferkit.data.audit import quick
    from transferkit.data.augment import augmentation
    from transferkit.data.decode import DecodeSettings
    from transferkit.data.source import scan
    from transferkit.features.extract import Views
    from transferkit.features.frozen import Frozen
    from transferkit.runs.intake import readable

    tf.constant(0)  # the runtime is part of the import
    before, reporter, stages = _peak_mb(), Reporter(quiet=True), {}
    samples = readable(scan(data, strict=False), "skip", reporter)[0].hashed()
    quick(samples)
    stages["checked"] = _peak_mb() - before
    settings = make({"backbone": "mini", "image_size": size, "augment": "light", "views": 1})
    backbone = build("mini", "auto", size, 0, True)
    views = Views(DecodeSettings(backbone.size), augmentation("light"), 1, 0)
    frozen = Frozen(backbone, settings, views, True, reporter)
    wanted = {i: range(2) for i in range(len(samples))}
    rows = frozen.pooled()
    frozen.prepare([rows], samples, wanted)
    stages["extracted"] = _peak_mb() - before
    click.echo(json.dumps({"import_mb": before, "above_import_mb": stages, "rows": frozen.rows_computed,
                           "peak_above_import_mb": stages["extracted"]}))  # fmt: skip


def _peak_mb() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # bytes there, kilobytes elsewhere


def _synthetic(folder: Path, count: int) -> None:
    """Ten classes of JPEGs of 320×240, no two alike."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class_{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((320, 240), Image.Resampling.BILINEAR).save(place / f"{number}.jpg", quality=80)


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    import importlib.metadata

    from transferkit.data.threads import available_threads
    from transferkit.features.precision import cpu_name

    versions = {name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "pillow", "numpy")}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"cpu": cpu_name(), "cores": available_threads(), "python": platform.python_version(), **versions,
            "load": load}  # fmt: skip


def _record(name: str, figures: dict[str, Any]) -> None:
    """Write the figures, and end with 1 where the bar is missed."""
    figure, comparison, bar, what = BARS[name]
    value = figures[figure]
    reached = value >= bar if comparison == ">=" else value < bar
    content = json.loads(JSON.read_text()) if JSON.exists() else {}
    content[name] = {"when": time.strftime("%Y-%m-%d"), "reached": reached, **_rounded(figures), "machine": machine()}
    JSON.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text("\n".join(_page(content)) + "\n", "utf-8")
    click.echo(f"{what}: {value:.2f}, bar {comparison} {bar:g}: {'reached' if reached else 'MISSED'}")
    if not reached:
        raise SystemExit(1)


def _rounded(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_rounded(value) for value in content]
    return round(content, 3) if isinstance(content, float) else content


def _page(content: dict[str, Any]) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield "Written by `scripts/bench.py`; every figure is in `benchmarks.json`. Each row was measured within one run."
    yield ""
    yield "| what | figure | bar | reached |"
    yield "|---|---|---|---|"
    for name, (figure, comparison, bar, what) in BARS.items():
        if name in content:
            found = content[name]
            sign = "≥" if comparison == ">=" else comparison
            yield f"| {what} | {found[figure]:.4g} | {sign} {bar:g} | {'yes' if found['reached'] else 'no'} |"
    for name, found in content.items():
        m = found["machine"]
        yield ""
        yield f"## {name}"
        yield (
            f"`scripts/bench.py {name}`, {found['when']}, on {m['cores']} cores of {m['cpu']} with load "
            f"{m['load']:.1f}, Python {m['python']}, TensorFlow {m['tensorflow']}, Pillow {m['pillow']}."
        )
        yield ""
        yield from (f"- {key}: {_words(value)}" for key, value in found.items() if key not in ("machine", "when"))


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    bench()
