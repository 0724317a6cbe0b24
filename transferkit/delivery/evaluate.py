"""Scores of a finished run's model: on its own test split, found unchanged, or on other data with what is known of it.

Pictures of other data that the run was trained on are counted, and the rest is scored by itself; a note tells of drift.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transferkit import compute
from transferkit.console import Reporter, plural
from transferkit.data.images.decode import DecodeSettings
from transferkit.data.samples import PARTS, Samples
from transferkit.data.source import scan
from transferkit.errors import DataError, RunError
from transferkit.evaluation import metric_registry
from transferkit.evaluation.drift import drift
from transferkit.runs import analysis, model_file, pictures, scoring
from transferkit.runs.layout import Layout
from transferkit.runs.tables import Picture, same_label

SEEN = ("train", "val")  # splits that had a say in the model


def evaluate(layout: Layout, data: Any, reporter: Reporter) -> dict[str, Any]:
    """Scores of a run's model on `data`, or on the run's own test split (decoded and predicted anew).

    Without `data`, pictures, labels and split are first found to be those of training. With `data`, `overlap` counts
    the pictures of each split of the run among them, by content; where some were trained or chosen on, `new` are the
    scores of the others (None: there are none). `drift` says whether the pictures lie far from those of training.
    """
    manifest, facts = layout.complete(), _facts(layout)
    saved = layout.read_splits()
    samples = _own_test(layout, saved, facts) if data is None else _with_classes(data, facts).hashed()
    decode = DecodeSettings.from_key(facts["decode"])
    compute.start(reporter=reporter)
    model, reference = model_file.load(layout.model), None if data is None else analysis.load_typical(layout.typical)
    model = model if reference is None else analysis.with_features(model)
    outputs = scoring.predictions(model, samples, decode, reporter, "evaluating")
    thresholds = None if facts["thresholds"] is None else np.array(facts["thresholds"])
    count = len(facts["classes"])
    extra = metric_registry.goal(manifest["config"]["metric"], facts["task"]).extra

    def scored(rows: np.ndarray) -> dict[str, Any]:
        part = samples.select(rows)
        return scoring.scores(part, outputs[rows, :count], manifest["seed"], thresholds, extra=extra)

    scores = scored(np.arange(len(samples)))
    if data is not None:
        scores["overlap"], new = _overlap(samples, saved, reporter)
        if len(new) < len(samples):
            scores["new"] = scored(new) if len(new) else None
    if reference is not None:
        scores["drift"] = drift(reference, outputs[:, count:])
        if scores["drift"]["far"]:
            reporter.warn(scores["drift"]["note"])
    return scores


def _facts(layout: Layout) -> dict[str, Any]:
    """Of the model that the run wrote, not of another in its place."""
    layout.check_model()
    facts, metrics = model_file.facts(layout.model), layout.read_metrics()
    if (facts["task"], facts["classes"]) != (metrics["task"], metrics["classes"]):
        raise RunError(f"{layout.model} is not the model of this run: task or classes differ from metrics.json")
    return facts


def _overlap(samples: Samples, saved: list[Picture], reporter: Reporter) -> tuple[dict[str, Any], np.ndarray]:
    """How many of the pictures the run knows, by content, and the rows of those that had no say in its model."""
    known: dict[str, list[Picture]] = {}
    for picture in saved:
        known.setdefault(picture.sha256, []).append(picture)
    found = [known.get(sha256, []) for sha256 in samples.sha256 or ()]
    # A copy in training counts, wherever else another copy lies.
    parts = [min((PARTS.index(p.split) for p in same), default=None) for same in found]
    other = sum(
        bool(same) and not any(same_label(p.label, samples.label(i), samples.task) for p in same)
        for i, same in enumerate(found)
    )
    counts: dict[str, int] = {part: parts.count(number) for number, part in enumerate(PARTS)}
    note = _said(counts, len(samples))
    if note:
        reporter.warn(note)
    if other:
        reporter.warn(f"{plural(other, 'picture')} of the run have another label in this data than they had then")
    seen = [part is not None and PARTS[part] in SEEN for part in parts]
    return {**counts, "of": len(samples), "relabelled": other, "note": note}, np.flatnonzero(~np.array(seen, bool))


def _said(counts: dict[str, int], total: int) -> str | None:
    seen = sum(counts[part] for part in SEEN)
    if not seen:
        return None
    rest = f"those of the other {total - seen:,} are given apart" if seen < total else "none of them is new"
    return (
        f"{seen:,} of these {plural(total, 'picture')} were used in training this model ({counts['train']:,} in its "
        f"training split, {counts['val']:,} in validation): scores of all of them flatter it; {rest}"
    )


def _with_classes(data: Any, facts: dict[str, Any]) -> Samples:
    """New data, its labels numbered as the run's model numbers them."""
    samples = scan(data, facts["task"], classes=facts["classes"])
    if list(samples.classes) != facts["classes"]:
        raise DataError(
            f"this data has the classes {', '.join(samples.classes)}, the run has {', '.join(facts['classes'])}; "
            "give evaluate the folder or CSV itself, so that it is read with the run's classes"
        )
    return samples


def _own_test(layout: Layout, saved: list[Picture], facts: dict[str, Any]) -> Samples:
    """The pictures of the run's test split, unchanged since then."""
    test = [picture for picture in saved if picture.split == "test"]
    if not test:
        raise DataError("this run has no test split; pass pictures with labels to evaluate as DATA")
    samples = pictures.own(layout, test, facts["task"], facts["classes"])
    return pictures.unchanged(samples, test, "test")
