"""Pictures a second and memory of archives of many entries, against the same pictures in a folder."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from benches.measuring import Bar, measurement

FORMS = ("folder", "zip", "tar", "tar.gz")
BARS = (
    Bar("zip_ratio", ">=", 0.9, "scan, hash and decode of 100,000 pictures in a zip, relative to a folder"),
    Bar("tar_ratio", ">=", 0.9, "the same in a tar"),
    Bar("tar_gz_ratio", ">=", 0.9, "the same in a compressed tar that was unpacked into the cache before"),
    Bar("grown_mb", "<=", 64, "memory that reading all pictures adds to having listed them, most of the archives, MB"),
)
# In a process of its own, so that memory is of this form alone.
PROBE = """
import json, resource, sys, time
from transferkit.data.images.decode import DecodeSettings, decode_many
from transferkit.data.source import scan

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

begun = time.process_time()
started = time.perf_counter()
samples = scan(sys.argv[1])
listed, after = time.perf_counter() - started, peak()
started = time.perf_counter()
samples = samples.hashed()
hashed = time.perf_counter() - started
started = time.perf_counter()
count = sum(1 for _ in decode_many(samples.sources(), DecodeSettings(32)))
decoded = time.perf_counter() - started
print(json.dumps({"count": count, "list": listed, "hash": hashed, "decode": decoded, "listed_mb": after,
                  "processor": time.process_time() - begun, "grown_mb": peak() - after}))
"""


@measurement("archives", BARS)
@click.option("--entries", default=100_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def measure(quick: bool, entries: int, rounds: int) -> dict[str, Any]:
    """Scan, hash and decode many small pictures from a folder, a zip and tars, in turns; medians of the rounds."""
    entries, rounds = (2_000, 1) if quick else (entries, rounds)
    with tempfile.TemporaryDirectory() as name:
        there = _made(Path(name), entries)
        environment = os.environ | {"TRANSFERKIT_CACHE": str(Path(name) / "cache")}
        _probe(there["tar.gz"], environment)  # unpacks it
        rows = {form: list[dict[str, float]]() for form in FORMS}
        for _ in range(rounds):
            for form in FORMS:
                rows[form].append(_probe(there[form], environment))
    seconds = {f: statistics.median(r["list"] + r["hash"] + r["decode"] for r in some) for f, some in rows.items()}
    ratios = {f"{form.replace('.', '_')}_ratio": seconds["folder"] / seconds[form] for form in FORMS[1:]}
    grown = max(statistics.median(row["grown_mb"] for row in rows[form]) for form in FORMS[1:])
    return {
        "entries": entries,
        "processor_ms_per_picture": {
            form: statistics.median(row["processor"] for row in some) * 1000 / entries for form, some in rows.items()
        },
        "rounds": rounds,
        "pictures_per_second": {form: entries / value for form, value in seconds.items()},
        **ratios,
        "grown_mb": grown,
        "all": rows,
    }


def _probe(source: Path, environment: dict[str, str]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(source)], capture_output=True, text=True, check=True, env=environment
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _made(folder: Path, entries: int) -> dict[str, Path]:
    """The same JPEGs in each form."""
    from PIL import Image

    random = np.random.default_rng(0)
    for kind in ("a", "b"):
        (folder / "flowers" / kind).mkdir(parents=True)
    for number in range(entries):
        pixels = random.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)
        picture.save(folder / "flowers" / "ab"[number % 2] / f"{number:06}.jpg", quality=90)
    there = {form: folder / f"flowers.{form}" for form in FORMS[1:]} | {"folder": folder / "flowers"}
    with zipfile.ZipFile(there["zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(there["folder"].rglob("*.jpg")):
            archive.write(path, path.relative_to(folder))
    for form, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        with tarfile.open(there[form], mode) as archive:  # type: ignore[call-overload]
            archive.add(there["folder"], "flowers")
    return there
