"""Scores of a finished run's model: on its own test split, found unchanged, or on other data with what is known of it.

Pictures of other data that the run was trained on are counted, and the rest is scored by itself; a note tells of drift.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from transferkit import compute
from transferkit.console import Reporter
from transferkit.data.images.opening import PictureError
from transferkit.data.readers.request import Reading
from transferkit.data.samples import PARTS, Samples, shown
from transferkit.data.source import scan
from transferkit.delivery import statements
from transferkit.errors import ConfigError, DataError, RunError
from transferkit.evaluation import metric_registry
from transferkit.evaluation.drift import Drift, drift
from transferkit.evaluation.scores import Scores
from transferkit.quantities import plural
from transferkit.runs import model_file, pictures, scoring, typical_features
from transferkit.runs.layout import Layout
from transferkit.runs.model_facts import ModelFacts
from transferkit.runs.run_record import RunRecord
from transferkit.runs.tables import Picture, same_label

READING = ("exclude", "task", *(name.replace("_", "-") for name in Reading.__dataclass_fields__))  # options
SEEN = ("train", "val")  # splits that had a say in the model


@dataclass(kw_only=True)
class Overlap:
    """How many of `of` pictures each split of the run knows, by content; how many have another label than then."""

    train: int
    val: int
    test: int
    of: int
    relabelled: int
    note: str | None


@dataclass(kw_only=True)
class Evaluation:
    """Scores on all pictures; with other data than the run's own, what is `known` of it.

    `known`: some pictures were trained or chosen on, and `new` are the scores of the others (None: there are none).
    `drift` says whether the pictures lie far from those of training.
    """

    scores: Scores
    overlap: Overlap | None = None
    known: bool = False
    new: Scores | None = None
    drift: Drift | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON and for Python callers: the scores, and beside them what is known."""
        found: dict[str, object] = dict(self.scores)
        if self.overlap is not None:
            found["overlap"] = asdict(self.overlap)
        if self.known:
            found["new"] = self.new
        if self.drift is not None:
            found["drift"] = asdict(self.drift)
        return found


def evaluate(layout: Layout, data: Any, reporter: Reporter) -> Evaluation:
    """Scores of a run's model on `data`, or on the run's own test split (decoded and predicted again).

    Without `data`, pictures, labels and split are first found to be those of training.

    Args:
        layout: of the run.
        data: labelled pictures, as `finetune` takes them, or samples; None: the run's own.
        reporter: is told of the progress.

    Raises:
        DataError: a picture of `data` cannot be read.
    """
    manifest, facts = layout.complete(), _facts(layout)
    if note := facts.outdated():
        reporter.warn(note)
    saved = layout.read_splits()
    samples = _own_test(layout, saved, facts) if data is None else _with_classes(data, manifest, facts).hashed()
    decode = facts.decoding()
    compute.start(reporter=reporter)
    model, reference = model_file.load(layout.model), None if data is None else typical_features.load(layout.typical)
    if data is not None and layout.lacks(layout.typical):
        reporter.warn(
            f"{shown(layout.typical)} is no longer there, so whether these pictures are of another kind than those "
            "that the model learnt from is not looked at"
        )
    model = model if reference is None else typical_features.with_features(model)
    try:
        outputs = scoring.predictions(model, samples, decode, reporter, "evaluating")
    except PictureError as error:
        if data is None:  # what is wrong with the run's own pictures was told before
            raise
        raise DataError(
            f"{error}; `transferkit data check` lists all such files of the data: leave them out of it"
        ) from error
    count = len(facts.classes)
    extra = metric_registry.goal(manifest.config.metric, facts.task).extra

    def scored(rows: np.ndarray) -> Scores:
        part = samples.select(rows)
        return scoring.scores(part, outputs[rows, :count], manifest.seed, facts.limits(), extra=extra)

    found = Evaluation(scores=scored(np.arange(len(samples))))
    if related := statements.related(found.scores):
        reporter.warn(related)
    if data is not None:
        found.overlap, new = _overlap(samples, saved, reporter)
        if len(new) < len(samples):
            found.known, found.new = True, scored(new) if len(new) else None
    if reference is not None:
        found.drift = drift(reference, outputs[:, count:])
        if found.drift.note:
            reporter.warn(found.drift.note)
    return found


def _facts(layout: Layout) -> ModelFacts:
    """Of the model that the run wrote, not of another in its place."""
    layout.check_model()
    facts, metrics = model_file.facts(layout.model), layout.read_metrics()
    if (facts.task, facts.classes) != (metrics.task, metrics.classes):
        raise RunError(f"{layout.model} is not the model of this run: task or classes differ from metrics.json")
    return facts


def _overlap(samples: Samples, saved: list[Picture], reporter: Reporter) -> tuple[Overlap, np.ndarray]:
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
    overlap = Overlap(**counts, of=len(samples), relabelled=other, note=note)
    if note:
        reporter.warn(note)
    if other:
        reporter.warn(f"{plural(other, 'picture')} of the run have another label in this data than they had then")
    seen = [part is not None and PARTS[part] in SEEN for part in parts]
    return overlap, np.flatnonzero(~np.array(seen, bool))


def _said(counts: dict[str, int], total: int) -> str | None:
    seen = sum(counts[part] for part in SEEN)
    if not seen:
        return None
    rest = f"those of the other {total - seen:,} are given apart" if seen < total else "none of them is new"
    return (
        f"{seen:,} of these {plural(total, 'picture')} were used in training this model ({counts['train']:,} in its "
        f"training split, {counts['val']:,} in validation): scores of all of them flatter it; {rest}"
    )


def _with_classes(data: Any, manifest: RunRecord, facts: ModelFacts) -> Samples:
    """New data, its labels numbered as the run's model numbers them."""
    try:
        samples = _read_as_then(data, pictures.reading_of(manifest), facts)
    except PictureError:
        raise
    except DataError as error:
        said = str(error.args[0])  # in the words of the command line, also where Python asks
        raise DataError(said + _without_options(data, said)) from error
    if list(samples.classes) != facts.classes:
        raise DataError(
            f"this data has the classes {', '.join(samples.classes)}, the run has {', '.join(facts.classes)}; "
            "give evaluate the folder or CSV itself, so that it is read with the run's classes"
        )
    return samples


def _without_options(data: Any, said: str) -> str:
    """What to add where an error names options of reading: evaluate has none, and reads as the run did."""
    if not isinstance(data, str | os.PathLike) or not re.search(rf"--({'|'.join(READING)})\b", said):
        return ""
    return (
        "\nevaluate has no such options: write the data with them first, transferkit data convert "
        f"{shlex.quote(os.fspath(data))} OUT …, and evaluate on OUT"
    )


def _read_as_then(data: Any, then: Reading, facts: ModelFacts) -> Samples:
    """New data, read as the run's own was where it has the same columns, else by what it is itself."""
    if not then or not isinstance(data, str | os.PathLike):
        return scan(data, facts.task, classes=facts.classes)
    refused: DataError | None = None
    try:
        return scan(data, facts.task, classes=facts.classes, reading=then)
    except ConfigError:
        pass  # it is of another form, which takes no such options
    except DataError as error:
        refused = error  # it has other columns, or the same and something is wrong with its rows
    try:
        return scan(data, facts.task, classes=facts.classes)
    except DataError as error:
        if refused is None or str(refused) == str(error):
            raise
        raise DataError(
            f"read as the data of the run was ({' '.join(then.words())}): {refused}\nread by what it is itself: {error}"
        ) from error


def _own_test(layout: Layout, saved: list[Picture], facts: ModelFacts) -> Samples:
    """The pictures of the run's test split, unchanged since then."""
    test = [picture for picture in saved if picture.split == "test"]
    if not test:
        raise DataError("this run has no test split; pass pictures with labels to evaluate as DATA")
    samples = pictures.own(layout, test, facts.task, facts.classes)
    return pictures.unchanged(samples, test, "test")
