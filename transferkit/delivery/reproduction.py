"""After a run was repeated: every number, answer and weight of the two, compared bit by bit. Needs no Keras."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import archives
from transferkit.data.samples import shown
from transferkit.errors import RunError
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.scores import is_number
from transferkit.features.precision import Precision
from transferkit.files import write_json
from transferkit.runs import tables
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import PrecisionRecord, RunRecord

SHOWN = 12  # differing numbers that people are shown
NO_RESULT = ("test_uses", "schema_version")  # of metrics.json
COUNTED = (
    "val.groups",
    "test.groups",
    "val.groups_drawn",
    "test.groups_drawn",
)  # of the data, which is proved by itself; earlier versions did not write them
Leaves = dict[str, object]  # every value of nested JSON by its dotted name


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What came of repeating a run. `same`: every number, every answer and every weight is equal, bit by bit.

    `differences` are (name, then, now) of numbers that differ, scores first; `largest` is the largest absolute one
    among the scores; `reasons` what differs that may explain it.
    """

    folder: Path
    same: bool
    splits_same: bool
    weights_same: bool
    predictions_same: bool
    largest: float
    differences: list[tuple[str, Any, Any]]
    reasons: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "folder": str(self.folder)}

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def compare(before: Layout, after: Layout, reasons: list[str]) -> Reproduction:
    """The numbers, answers and weights of two runs of the same settings; written to reproduction.json of the second.

    Args:
        before: the first run.
        after: the second.
        reasons: what differs between them that may explain it.
    """
    old, new = before.read_metrics(), after.read_metrics()
    scores = list(_unequal(_numbers(old), _numbers(new)))
    epochs = list(_unequal(_history(before), _history(after)))
    gaps = [abs(a - b) for _, a, b in scores if is_number(a) and is_number(b)]
    splits = before.read_splits() == after.read_splits()
    answers = _rows(before.read_predictions()) == _rows(after.read_predictions())
    weights = _weights(before.model) == _weights(after.model)
    found = Reproduction(
        folder=after.folder,
        same=not scores and not epochs and splits and answers and weights,
        splits_same=splits,
        weights_same=weights,
        predictions_same=answers,
        largest=max(gaps, default=0.0) if len(gaps) == len(scores) else float("inf"),
        differences=scores + epochs,
        reasons=[*reasons, *_choices(before.read_manifest(), after.read_manifest())],
    )
    largest = found.largest if np.isfinite(found.largest) else None
    write_json(after.folder / "reproduction.json", {**found.as_dict(), "largest": largest, "of": str(before.folder)})
    return found


def _choices(before: RunRecord, after: RunRecord) -> list[str]:
    """What `auto` settings chose differently, by measuring the machine."""
    found = []
    pools = [record.data.unlabeled and record.data.unlabeled.sha256 for record in (before, after)]
    if pools[0] != pools[1]:
        found.append("the unlabelled pictures are others now")
    pairs: list[tuple[str, str | None, str | None]] = [("features", _by(before.precision), _by(after.precision))]
    pairs += [
        (f"phase {a.name}", a.precision, b.precision)
        for a, b in zip(before.phases, after.phases, strict=False)
        if a.precision and b.precision
    ]
    for what, then, now in pairs:
        if then != now:
            found.append(f"{what} computed in {then} then, {now} now; --precision fixes it")
    return found


def _by(record: PrecisionRecord) -> str:
    """The number format, and the engine where it was another than TensorFlow."""
    engine = Precision(record.name, record.how).engine
    return f"{record.name} by {engine}" if engine else record.name


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested dictionaries and lists by its dotted name."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield name, value
        return
    for key, inner in items:
        yield from _leaves(inner, f"{name}.{key}" if name else str(key))


def _numbers(metrics: MetricsRecord) -> Leaves:
    """What metrics.json says; of the diagnosis, whose commands name the data's place, the numbers only, and nothing of
    how many runs there were, or of the version that wrote it."""
    leaves = dict(_leaves({name: part for name, part in metrics.as_json().items() if name not in NO_RESULT}))
    said = {k for k, v in leaves.items() if k.startswith("diagnosis.") and isinstance(v, str)}
    return {k: v for k, v in leaves.items() if k not in said and k not in COUNTED}


def _history(layout: Layout) -> Leaves:
    return {
        f"{row['phase']} epoch {row['epoch']} {name}": value
        for row in layout.read_history()
        for name, value in row.items()
        if name not in ("phase", "epoch", "seconds")
    }


def _unequal(then: Leaves, now: Leaves) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys((*then, *now)):
        if then.get(name) != now.get(name):
            yield name, then.get(name), now.get(name)


def _rows(found: tables.Predictions) -> tuple[Any, ...]:
    return found.paths, found.labels, found.predicted, found.confidence.tobytes(), found.outputs.tobytes()


def _weights(path: Path) -> dict[str, bytes]:
    """Every array in a .keras file by its place, as shape, type and bytes of what is computed with; needs no Keras."""
    import h5py

    problem = archives.problem(path)
    if problem:
        raise RunError(f"{path} is not read: {problem}, which no network does")
    found: dict[str, bytes] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            array = np.asarray(item)
            array = array.astype(np.float32) if array.dtype == np.float16 else array  # as Keras reads it
            found[name] = f"{array.dtype} {array.shape} ".encode() + array.tobytes()

    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as content:
        content.visititems(keep)
    return found


def _lines(found: Reproduction) -> Iterator[str]:
    if found.same:
        yield "reproduced: every score, every epoch, every answer and every weight is the same, bit by bit"
    else:
        parts = {"splits": found.splits_same, "answers on the test split": found.predictions_same,
                 "weights": found.weights_same}  # fmt: skip
        yield "not the same: " + ", ".join(f"{name} {'equal' if same else 'DIFFER'}" for name, same in parts.items())
        largest = f"the largest difference of a score is {found.largest:.3g}"
        largest = largest if np.isfinite(found.largest) else "some scores are in one of the two runs only"
        yield f"{len(found.differences)} numbers differ; {largest}"
        for name, then, now in found.differences[:SHOWN]:
            gap = f"  ({now - then:+.3g})" if is_number(then) and is_number(now) else ""
            yield f"  {name}: {then} then, {now} now{gap}"
        if len(found.differences) > SHOWN:
            yield f"  … and {len(found.differences) - SHOWN} more in {found.folder / 'reproduction.json'}"
    for reason in found.reasons:
        yield f"  note: {shown(reason)}"
    if not found.same and not found.reasons:
        yield "  data, weights, versions and machine are those of then, so this should not happen; please report it"
