"""The headline command on real weights: VGG16 pretrained on ImageNet, frozen, on few photographs."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from benches.head_sets import some
from benches.measuring import ASSETS, TRASHNET, Bar, measurement, scratch

VGG16 = ASSETS / "weights" / "vgg16_imagenet_notop.h5"
PER_CLASS = 40
BARS = (
    Bar("above_probe_cross_validated", ">=", 0.0, "VGG16, 40 pictures a class: chosen above the simplest classifier"),
    Bar("choice_seconds", "<=", 20, "… seconds of choosing among candidates on all depths, 240 pictures"),
)  # fmt: skip


@measurement("headline", BARS)
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=TRASHNET)
def measure(quick: bool, data: Path) -> dict[str, Any]:
    """`transferkit finetune DATA --backbone vgg16 --weights FILE`: scores, seconds by stage, and peak memory."""
    with scratch() as folder:
        pictures, run = some(data, folder / "pictures", 4 if quick else PER_CLASS), folder / "run"
        environment = {**os.environ, "TRANSFERKIT_CACHE": str(folder / "cache"), "TRANSFERKIT_STATE": str(folder / "s")}
        subprocess.run(
            [sys.executable, "-m", "transferkit", "finetune", str(pictures), "--backbone", "vgg16", "--weights",
             str(VGG16), "--offline", "--quiet", "--output", str(run)],
            env=environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return figures(run, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)


def figures(run: Path, peak_mb: float) -> dict[str, Any]:
    """What a finished run says of itself, beside its peak memory."""
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    manifest = json.loads((run / "run.json").read_text("utf-8"))
    rows = {row["name"]: row for row in metrics["candidates"]}
    chosen = next(row for row in rows.values() if row["chosen"])
    baselines = {name: scores["accuracy"] for name, scores in metrics["baselines"].items()}
    return {
        "pictures": manifest["data"]["n"], "chosen": chosen["name"], "accuracy": metrics["test"]["accuracy"],
        "test_pictures": metrics["test"]["n"], "baselines": baselines,
        "cross_validated": {"expected": metrics["cross_validation"]["score"],
                            "interval": metrics["cross_validation"]["ci95"], "chosen": chosen["score"],
                            "linear_probe": rows["logistic on last"]["score"]},
        "above_probe_cross_validated": chosen["score"] - rows["logistic on last"]["score"],
        "precision": manifest["precision"]["name"], "choice_seconds": manifest["timings"]["choice"],
        "stages": manifest["timings"], "peak_mb": peak_mb,
    }  # fmt: skip
