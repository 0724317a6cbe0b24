"""What choosing the classifier is worth: by few pictures and by many, by several networks, for every task."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benches import head_sets
from benches.measuring import MOBILENET, TRASHNET, Bar, measurement, scratch

SLACK = -0.002  # that the mean over the seeds may be below the best baseline
BASELINE = {
    "few": "few pictures of TrashNet", "whole": "TrashNet whole", "lite0": "TrashNet whole, efficientnet_lite0",
    "digits": "digits, mini", "demo": "the demo: digits, mini from block 3", "cifar": "10 × 100 of CIFAR-10",
    "labels": "several labels, digits", "numbers": "numbers, digits", "colour_labels": "several labels, colours",
    "colour_numbers": "numbers, colours",
}  # fmt: skip
BARS = (
    Bar("few/score", ">=", 0.80, "chosen classifier, TrashNet, 60 + 15 a class, 600 test pictures, MobileNet-0.25"),
    Bar("whole/score", ">=", 0.88, "… TrashNet whole, .7/.15/.15"),
    Bar("lite0/above_mobilenet", ">=", 0.03, "… efficientnet_lite0 above MobileNet-0.25, TrashNet whole"),
    Bar("demo/above_probe", ">=", 0.0, "… above the simplest classifier of the demo, mean over the seeds"),
    *(
        Bar(f"{name}/above_baseline", ">=", SLACK, f"… above the best baseline, {what}, mean over the seeds")
        for name, what in BASELINE.items()
    ),
    Bar("whole/seconds", "<=", 20, "… seconds of choosing and fitting beyond extraction, about 2,150 pictures"),
)
SCORES = {"classify": "accuracy", "multilabel": "map", "regress": "mae"}
DEMO = {"unfreeze": "from:block3", "augment": "light", "views": 2, "epochs": 12}  # as `transferkit demo` has them
Set = Callable[[Path, int, Path], dict[str, Any]]  # place, seed, TrashNet → arguments of `finetune`


def _mobilenet(data: Any, **more: Any) -> dict[str, Any]:
    return {"data": data, "backbone": "mobilenet_0.25", "weights": MOBILENET, **more}


def _made(task: str, data: Any, seed: int) -> dict[str, Any]:
    import transferkit as tk

    return {"data": tk.load_data(data, task=task, seed=seed), "backbone": "mini"}


def _digits(folder: Path, **more: Any) -> dict[str, Any]:
    from transferkit.data.digits import write_digits

    return {"data": write_digits(folder.parent / "digits"), "backbone": "mini", **more}


SETS: dict[str, Set] = {
    "few": lambda place, seed, data: _mobilenet(head_sets.few(data, place, seed)),
    "whole": lambda place, seed, data: _mobilenet(data),
    "lite0": lambda place, seed, data: {"data": data, "backbone": "efficientnet_lite0"},
    "digits": lambda place, seed, data: _digits(place),
    "demo": lambda place, seed, data: _digits(place, **DEMO),
    "cifar": lambda place, seed, data: _mobilenet(head_sets.cifar(seed)),
    "labels": lambda place, seed, data: _made("multilabel", head_sets.digits("multilabel"), seed),
    "numbers": lambda place, seed, data: _made("regress", head_sets.digits("regress"), seed),
    "colour_labels": lambda place, seed, data: _made("multilabel", head_sets.coloured("multilabel", seed), seed),
    "colour_numbers": lambda place, seed, data: _made("regress", head_sets.coloured("regress", seed), seed),
}


@measurement("heads", BARS)
@click.option("--seeds", default=5, show_default=True, help="Each seed is a split of its own.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=TRASHNET)
def measure(quick: bool, seeds: int, data: Path) -> dict[str, Any]:
    """Test score of `finetune --head auto`, expected and reached, beside its baselines; features are kept between the
    seeds, so that each picture goes through the network once a view."""
    with scratch() as folder:
        names = ("digits", "colour_labels") if quick else tuple(SETS)
        found = {name: over_seeds(name, 1 if quick else seeds, data, folder) for name in names}
    if not quick:
        found["lite0"]["above_mobilenet"] = found["lite0"]["score"] - found["whole"]["score"]
    return {"seeds": seeds, **{name: found.get(name) for name in SETS}}


def over_seeds(name: str, seeds: int, data: Path, folder: Path) -> dict[str, Any]:
    """One set's figures."""
    os.environ["TRANSFERKIT_CACHE"] = str(folder / "cache")
    os.environ["TRANSFERKIT_STATE"] = str(folder / "state")
    rows = []
    for seed in range(seeds):
        rows.append(_run(SETS[name](folder / f"{name}{seed}", seed, data), folder / f"runs/{name}{seed}", seed))
        click.echo(f"{name}, seed {seed}: {rows[-1]}", err=True)
    return _summed(rows)


def _run(arguments: dict[str, Any], output: Path, seed: int) -> dict[str, Any]:
    import transferkit as tk

    run = tk.finetune(**arguments, output=output, offline=True, quiet=True, seed=seed)
    metrics, timings = run.metrics, run.manifest["timings"]
    baselines = metrics["baselines"]
    floor = baselines["majority"]["mae"] if metrics["task"] == "regress" else None
    skill = {name: _skill(metrics["task"], scores, floor) for name, scores in baselines.items()}
    chosen = next((row["name"] for row in metrics.get("candidates", ()) if row["chosen"]), run.manifest["chosen"])
    network = sum(phase["seconds"] for phase in run.manifest["phases"] if phase["name"] == "mlp")
    return {
        "chosen": chosen, "score": _skill(metrics["task"], metrics["test"], floor),
        "expected": metrics.get("cross_validation", {}).get("score"), "best_baseline": max(skill.values()),
        "probe": skill["linear_probe"], "seconds": timings.get("choice", 0.0) + network,
        "features": timings["features"],
    }  # fmt: skip


def _skill(task: str, scores: dict[str, Any], floor: float | None) -> float:
    """Accuracy, mean average precision, or the share by which the error is below that of always saying the median."""
    value = float(scores[SCORES[task]])
    return value if floor is None else 1 - value / floor


def _summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    scores = [row["score"] for row in rows]
    return {
        "score": statistics.mean(scores),
        "spread": statistics.stdev(scores) if len(scores) > 1 else 0.0,
        "above_baseline": statistics.mean(row["score"] - row["best_baseline"] for row in rows),
        "above_probe": statistics.mean(row["score"] - row["probe"] for row in rows),
        "seconds": statistics.median(row["seconds"] for row in rows),
        "all": rows,
    }
