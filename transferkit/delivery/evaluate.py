"""Scores of a finished run's model: on its own test split, found unchanged, or on new data with a note on drift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from transferkit import compute
from transferkit.console import Reporter
from transferkit.data.decode import DecodeSettings
from transferkit.data.samples import Samples, listed
from transferkit.data.source import scan
from transferkit.errors import DataError
from transferkit.evaluation import goals
from transferkit.evaluation.drift import drift
from transferkit.files import read_csv
from transferkit.runs import judging, model_file, scoring
from transferkit.runs.layout import Layout


def evaluate(layout: Layout, data: Any, reporter: Reporter) -> dict[str, Any]:
    """Scores of a run's model on `data`, or on the run's own test split (decoded and predicted anew).

    With `data`, `drift` says whether the pictures lie far from those of training (see `evaluation.drift`).
    """
    manifest = layout.complete()
    facts = model_file.facts(layout.model)
    samples = _own_test(layout, manifest, facts) if data is None else _with_classes(data, facts)
    decode = DecodeSettings.from_key(facts["decode"])
    compute.start()
    model, reference = model_file.load(layout.model), None if data is None else judging.load_typical(layout.typical)
    model = model if reference is None else judging.with_features(model)
    outputs = scoring.predictions(model, samples, decode, reporter, "evaluating")
    thresholds = None if facts["thresholds"] is None else np.array(facts["thresholds"])
    count = len(facts["classes"])
    extra = goals.goal(manifest["config"].get("metric", "auto"), facts["task"]).extra
    scores = scoring.scores(samples, outputs[:, :count], manifest["seed"], thresholds, extra=extra)
    if reference is not None:
        scores["drift"] = drift(reference, outputs[:, count:])
        if scores["drift"]["far"]:
            reporter.warn(scores["drift"]["note"])
    return scores


def _with_classes(data: Any, facts: dict[str, Any]) -> Samples:
    """New data, its labels numbered as the run's model numbers them."""
    samples = scan(data, facts["task"], classes=facts["classes"])
    if list(samples.classes) != facts["classes"]:
        raise DataError(
            f"this data has the classes {', '.join(samples.classes)}, the run has {', '.join(facts['classes'])}; "
            "give evaluate the folder or CSV itself, so that it is read with the run's classes"
        )
    return samples


def _own_test(layout: Layout, manifest: dict[str, Any], facts: dict[str, Any]) -> Samples:
    """The pictures of the run's test split, unchanged since then."""
    origin = manifest["data"]["path"]
    if origin == "arrays":
        raise DataError("this run was trained on arrays, which it does not keep; pass the data to evaluate")
    if not Path(origin).exists():
        raise DataError(f"the run's data {origin} is no longer there; pass it, or other data, to evaluate as DATA")
    saved = {row["path"]: row["sha256"] for row in read_csv(layout.splits) if row["split"] == "test"}
    if not saved:
        raise DataError("this run has no test split; pass pictures with labels to evaluate as DATA")
    # What could not be read then may still be there.
    how = {"exclude": manifest["config"]["exclude"], "classes": facts["classes"], "strict": False}
    samples = scan(origin, facts["task"], **how)
    samples = samples.select([i for i, path in enumerate(samples.paths) if path in saved]).hashed()
    hashes = dict(zip(samples.paths, samples.sha256 or (), strict=True))
    changed = [path for path in saved if hashes.get(path) != saved[path]]
    if changed:
        raise DataError(
            f"{len(changed)} of the run's {len(saved)} test pictures are missing or changed: {listed(changed)}; "
            "put them back, or pass other data to evaluate as DATA"
        )
    return samples
