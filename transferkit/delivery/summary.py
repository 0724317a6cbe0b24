"""The closing summary: what a person wants to read when a run is done. Text from run.json and metrics.json alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transferkit.console import duration, figure, plural
from transferkit.data.samples import shown
from transferkit.delivery import statements
from transferkit.evaluation.goals import GOALS
from transferkit.evaluation.versus import verdicts
from transferkit.runs.advice import HIDDEN, own
from transferkit.runs.layout import Layout

HEADLINE = {"classify": "accuracy", "multilabel": "map", "regress": "mae"}
WORDS = {"map": "mean average precision", "mae": "mean absolute error"}
BASELINES: dict[str, str | dict[str, str]] = {
    "majority": {
        "classify": "always the most frequent class",
        "multilabel": "every label as often as in training",
        "regress": "always the median of training",
    },
    "linear_probe": "linear probe on the pretrained features",
    "nearest_neighbours": "nearest neighbours among the pretrained features",
    "random_weights": "the same network with random weights under a trained head",
}
OUTPUT = {"classify": "class", "multilabel": "label", "regress": "target"}


def summary(layout: Layout) -> str:
    """The summary of a finished run."""
    manifest, metrics = layout.complete(), layout.read_metrics()
    parts = (_work(manifest, metrics), _search(metrics), _scores(metrics), _advice(metrics), _files(layout, manifest))
    lines = [line for part in parts for line in part]
    return "\n".join(f"{label:<10} {shown(text)}" for label, text in lines)


Lines = Iterator[tuple[str, str]]


def _work(manifest: dict[str, Any], metrics: dict[str, Any]) -> Lines:
    """What was trained on what."""
    config, data = manifest["config"], manifest["data"]
    outputs = plural(len(metrics["classes"]), OUTPUT[metrics["task"]])
    parts = ", ".join(f"{n:,} {name}" for name, n in data["parts"].items())
    yield "Data", f"{shown(data['path'])}: {plural(data['n'], 'picture')}, {outputs}; {parts}"
    if data.get("skipped"):
        yield "", f"{plural(len(data['skipped']), 'picture')} could not be read and were left out (listed in run.json)"
    yield "Network", f"{shown(config['backbone'])}, {_weights(manifest['weights']['source'])}; {_frozen(config)}"
    for phase in manifest["phases"]:
        kept = "  ← kept" if phase["name"] == manifest["chosen"] and len(manifest["phases"]) > 1 else ""
        yield (
            "Phase",
            f"{phase['name']:<12} {metrics['goal']} {figure(phase['score'])} on validation; "
            f"{plural(phase['parameters'], 'weight')}, {plural(phase['epochs'], 'epoch')} "
            f"(best: {phase['best_epoch']}), {duration(phase['seconds'])}{kept}",
        )
    if "folds" in metrics:
        folds = metrics["folds"]
        spread = f"{folds['metric']} {figure(folds['mean'])} ± {figure(folds['std'])}"
        yield "Folds", f"{spread} over {len(folds['scores'])} folds of train + validation (head alone)"


def _weights(source: str) -> str:
    known = {"random": "random weights", "file": "weights of the file", "pretrained": "pretrained weights"}
    return known.get(source, "ImageNet weights" if source == "imagenet" else f"weights of {shown(source)}")


def _frozen(config: dict[str, Any]) -> str:
    policy = config["unfreeze"]
    known = {
        "none": "frozen, a new head was trained on it",
        "all": "trained from its first layer",
        "gradual": "trained stage by stage, from the top down",
    }
    if policy in known:
        return known[policy]
    kind, _, where = policy.partition(":")
    return (
        f"trained from {where} up, frozen below"
        if kind == "from"
        else f"its last {plural(int(where), 'layer')} trained"
    )


def _search(metrics: dict[str, Any]) -> Lines:
    """What the search tried, what won, and whether that is more than chance."""
    search = metrics.get("search")
    if search is None:
        return
    failed = f" ({search['failed']} failed)" if search["failed"] else ""
    spent = "; ended by its time budget" if search["budget_spent"] else ""
    tried = f"{plural(search['trials'], 'trial')}{failed} in {duration(search['seconds'])}{spent}"
    yield "Search", f"{search['algorithm']}: {tried}; all of them in trials.csv"
    for line in search["words"]:
        yield "", line


def _scores(metrics: dict[str, Any]) -> Lines:
    """The test score beside what simpler means reach."""
    task, test = metrics["task"], metrics["test"]
    name = HEADLINE[task]
    if not test["n"]:
        yield "Test", "no test split, so how good this is on new pictures is unknown"
        return
    low, high = test.get(f"{name}_ci95") or (None, None)
    interval = "" if low is None else f" (95 % interval {figure(low)} to {figure(high)})"
    value = "undefined" if test[name] is None else figure(test[name])
    seen = statements.looks(metrics)
    fresh = seen == "never used before"
    on = f"on {plural(test['n'], 'picture')}" + (f" {seen}" if fresh else "")
    yield "Test", f"{WORDS.get(name, name)} {value}{interval} {on}"
    if seen and not fresh:
        yield "", seen
    for verdict in verdicts(metrics, name):
        known = BASELINES.get(verdict.name, statements.rival(verdict.name))
        what = known if isinstance(known, str) else known[task]
        remark = statements.remark(verdict)
        yield "Baseline", f"{figure(verdict.value)}  {what}{'  ← ' + remark if remark else ''}"
    yield from _goal(metrics, name)
    notes = (statements.winner(metrics, name), statements.calibrated(metrics), *statements.abstaining(metrics))
    yield from (("Note", note) for note in notes if note)


def _goal(metrics: dict[str, Any], name: str) -> Lines:
    """The score that was aimed at, where it is not the one already said."""
    # The name of a plugin's metric is its key.
    key = GOALS[metrics["goal"]].key if metrics["goal"] in GOALS else metrics["goal"]
    value, interval = metrics["test"].get(key), metrics["test"].get(f"{key}_ci95")
    if key == name or value is None:
        return
    between = "" if not interval else f" (95 % interval {figure(interval[0])} to {figure(interval[1])})"
    yield "Goal", f"{metrics['goal'].replace('_', ' ')} {figure(value)}{between} on the same pictures"


def _advice(metrics: dict[str, Any]) -> Lines:
    diagnosis = metrics.get("diagnosis") or {}
    if diagnosis:
        yield "Diagnosis", f"{diagnosis['state']}: {'; '.join(map(shown, diagnosis['evidence'][:2]))}"
    for remedy in diagnosis.get("remedies", [])[:3]:
        yield "Try", f"{remedy['why']}:"
        yield "", own(remedy["command"]) or HIDDEN


def _files(layout: Layout, manifest: dict[str, Any]) -> Lines:
    wanted = (layout.model, layout.metrics, layout.predictions, layout.history, layout.splits, layout.card)
    yield "Time", duration(manifest["timings"]["total"])
    yield "Files", f"{shown(layout.folder)}/: {', '.join(f.name for f in wanted if f.exists())}"
    if layout.report.exists():
        yield "Report", shown(layout.report)
