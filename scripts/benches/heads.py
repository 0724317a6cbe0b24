"""What choosing the classifier is worth: one pass of MobileNet-0.25 over TrashNet, by few pictures and by all."""

from __future__ import annotations

import hashlib
import os
import statistics
from pathlib import Path
from typing import Any

import click
import numpy as np

from benches.measuring import MOBILENET, TRASHNET, Bar, measurement, scratch

BARS = (
    Bar("few/accuracy", ">=", 0.80, "chosen classifier, TrashNet, 60 + 15 a class, 600 test pictures, MobileNet-0.25"),
    Bar("whole/accuracy", ">=", 0.88, "… TrashNet whole, .7/.15/.15"),
    Bar("few/above_baseline", ">=", -0.002, "… above the best baseline, few pictures, mean over the seeds"),
    Bar("whole/above_baseline", ">=", -0.002, "… above the best baseline, all pictures"),
    Bar("whole/seconds", "<=", 20, "… seconds of choosing and fitting beyond extraction, about 2,150 pictures"),
)
PER_CLASS, HELD, TESTED = 60, 15, 600


@measurement("heads", BARS)
@click.option("--seeds", default=5, show_default=True, help="Each seed is a split of its own.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=TRASHNET)
def measure(quick: bool, seeds: int, data: Path) -> dict[str, Any]:
    """Test accuracy of `finetune --head auto`, expected and reached, beside its baselines; features are kept between
    the seeds, so that each picture goes through the network once a view."""
    found: dict[str, list[dict[str, Any]]] = {"few": [], "whole": []}
    with scratch() as folder:
        os.environ["TRANSFERKIT_CACHE"] = str(folder / "cache")
        os.environ["TRANSFERKIT_STATE"] = str(folder / "state")
        for seed in range(1 if quick else seeds):
            few = _few(data, folder / f"few{seed}", seed, 6 if quick else PER_CLASS)
            found["few"].append(_run(few, folder / f"runs/few{seed}", seed))
            if not quick:
                found["whole"].append(_run(data, folder / f"runs/whole{seed}", seed))
            click.echo(f"seed {seed}: {[rows[-1] for rows in found.values() if rows]}", err=True)
    return {"seeds": seeds} | {name: _summed(rows) for name, rows in found.items() if rows}


def _few(data: Path, folder: Path, seed: int, count: int) -> Path:
    """Links to `count` training and a quarter as many validation pictures of each class, and to the test pictures.

    Of exact copies, some of which have two labels, one is taken: splits that share a picture are refused.
    """
    rng = np.random.default_rng(seed)
    rest: list[Path] = []
    seen: set[bytes] = set()
    for place in sorted(p for p in data.iterdir() if p.is_dir()):
        once = [file for file in sorted(place.glob("*.jpg")) if not _known(file, seen)]
        files = rng.permutation(np.array(once, object))
        held = count + max(2, count * HELD // PER_CLASS)
        for part, some in (("train", files[:count]), ("val", files[count:held])):
            _link(folder / part, some)
        rest += list(files[held:])
    _link(folder / "test", rng.permutation(np.array(rest, object))[: TESTED * count // PER_CLASS])
    return folder


def _known(file: Path, seen: set[bytes]) -> bool:
    content = hashlib.sha256(file.read_bytes()).digest()
    known = content in seen
    seen.add(content)
    return known


def _link(folder: Path, files: Any) -> None:
    for file in files:
        place = folder / file.parent.name
        place.mkdir(parents=True, exist_ok=True)
        (place / file.name).symlink_to(file.resolve())


def _run(data: Path, output: Path, seed: int) -> dict[str, Any]:
    import transferkit as tk

    run = tk.finetune(
        data, "mobilenet_0.25", weights=MOBILENET, output=output, offline=True, quiet=True, seed=seed, head="auto"
    )
    metrics, timings = run.metrics, run.manifest["timings"]
    chosen = next(row for row in metrics["candidates"] if row["chosen"])
    best = max(baseline["accuracy"] for baseline in metrics["baselines"].values())
    network = next(phase for phase in run.manifest["phases"] if phase["name"] == "mlp")
    return {
        "chosen": chosen["name"], "accuracy": metrics["test"]["accuracy"],
        "expected": metrics["cross_validation"]["score"], "best_baseline": best,
        "seconds": timings["choice"] + network["seconds"], "features": timings["features"],
    }  # fmt: skip


def _summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    accuracy = [row["accuracy"] for row in rows]
    return {
        "accuracy": statistics.mean(accuracy),
        "spread": statistics.stdev(accuracy) if len(accuracy) > 1 else 0.0,
        "above_baseline": statistics.mean(row["accuracy"] - row["best_baseline"] for row in rows),
        "seconds": statistics.median(row["seconds"] for row in rows),
        "all": rows,
    }
