"""The closing summary: what a person wants to read when a run is done. Text from run.json and metrics.json alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transferkit.console import duration, plural
from transferkit.runs.layout import Layout

HEADLINE = {"classify": "accuracy", "multilabel": "map", "regress": "mae"}
BASELINES = {
    "majority": "always the most frequent answer",
    "linear_probe": "linear probe on frozen features",
    "nearest_neighbours": "nearest neighbours on frozen features",
}


def summary(layout: Layout) -> str:
    """The summary of a finished run."""
    manifest, metrics = layout.complete(), layout.read_metrics()
    return "\n".join(_lines(layout, manifest, metrics))


def _lines(layout: Layout, manifest: dict[str, Any], metrics: dict[str, Any]) -> Iterator[str]:
    config = manifest["config"]
    data = manifest["data"]
    yield f"Data       {data['path']}: {plural(data['n'], 'picture')}, {_parts(metrics, manifest)}"
    yield f"Network    {config['backbone']} ({manifest['weights']['source']} weights), frozen: {_frozen(config)}"
    for phase in manifest["phases"]:
        mark = "←" if phase["name"] == manifest["chosen"] else " "
        yield (
            f"Phase      {phase['name']:<20} {metrics['goal']} {phase['score']:.3f} on validation, "
            f"{plural(phase['parameters'], 'weight')}, {plural(phase['epochs'], 'epoch')} "
            f"(best {phase['best_epoch']}), {duration(phase['seconds'])} {mark}".rstrip()
        )
    if "folds" in metrics:
        folds = metrics["folds"]
        yield f"Folds      {folds['metric']} {folds['mean']:.3f} ± {folds['std']:.3f} over {len(folds['scores'])} folds"
    yield from _scores(metrics)
    yield from _advice(metrics)
    yield f"Time       {duration(manifest['timings']['total'])}"
    yield f"Files      {layout.folder}/ : {', '.join(f.name for f in _files(layout))}"
    if layout.report.exists():
        yield f"Report     {layout.report}"


def _parts(metrics: dict[str, Any], manifest: dict[str, Any]) -> str:
    counts = manifest["data"]["parts"]
    return f"{plural(len(metrics['classes']), 'class')}; " + ", ".join(f"{n:,} {name}" for name, n in counts.items())


def _frozen(config: dict[str, Any]) -> str:
    policy = config["unfreeze"]
    return {"none": "all of it", "all": "nothing", "gradual": "less and less, stage by stage"}.get(
        policy, f"everything below {policy}"
    )


def _scores(metrics: dict[str, Any]) -> Iterator[str]:
    test, name = metrics["test"], HEADLINE[metrics["task"]]
    if not test["n"]:
        yield "Test       no test split: how good this is on new pictures is unknown"
        return
    low, high = test.get(f"{name}_ci95") or (None, None)
    interval = "" if low is None else f", 95 % interval {low:.3f} to {high:.3f}"
    yield f"Test       {name} {test[name]:.3f}{interval}, on {plural(test['n'], 'picture')} never used before"
    sign = -1 if metrics["task"] == "regress" else 1
    for key, baseline in metrics["baselines"].items():
        value = baseline.get(name)
        if value is None:
            continue
        beaten = "" if sign * value < sign * test[name] else "  ← as good or better: the training gained nothing"
        yield f"Baseline   {name} {value:.3f}: {BASELINES[key]}{beaten}"


def _advice(metrics: dict[str, Any]) -> Iterator[str]:
    diagnosis = metrics.get("diagnosis") or {}
    if diagnosis:
        yield f"Diagnosis  {diagnosis['state']}: {'; '.join(diagnosis['evidence'][:2])}"
    for remedy in diagnosis.get("remedies", [])[:3]:
        yield f"Try next   {remedy['why']}: {remedy['command']}"


def _files(layout: Layout) -> list[Any]:
    wanted = (layout.model, layout.metrics, layout.predictions, layout.history, layout.splits, layout.card)
    return [f for f in wanted if f.exists()]
