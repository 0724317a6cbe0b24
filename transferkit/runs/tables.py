"""The tables of a run, checked row by row: splits.csv, history.csv, predictions.csv. What they lack is a ValueError."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.data.readers.cells import names_in, parts, same_target
from transferkit.data.samples import PARTS, Samples, listed, shown
from transferkit.features import working_arrays
from transferkit.file_windows import release
from transferkit.files import digest
from transferkit.record import HistoryRow

CsvRow = Mapping[str, object]  # of a stranger's table: cells are checked one by one
Rows = Iterable[CsvRow]
SEEN = 1024  # rows of answers, after which what was read of them goes back to the system


@dataclass(frozen=True, slots=True)
class Picture:
    """A row of splits.csv; `fold` is -1 where there is none, `group` empty. `cell` is the label as it stands there (see
    `cells`)."""

    path: str
    label: str
    split: str
    fold: int
    sha256: str
    cell: str = field(compare=False)
    group: str = ""


@dataclass(frozen=True, eq=False)
class Predictions:
    """predictions.csv: N test pictures and the model's answers. `confidence` [N] is NaN for numbers, `outputs` [N, T]
    are probabilities, or numbers in the user's units."""

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: npt.NDArray[np.float64]
    outputs: npt.NDArray[np.float64]
    classes: tuple[str, ...]
    task: str
    cells: tuple[str, ...]  # the labels as splits.csv has them: names that hold `;` are told apart there

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def targets(self) -> npt.NDArray[Any]:
        """The labels as `evaluation.metrics.score` takes them."""
        kind = tasks.of(self.task)
        if kind.exclusive:
            number = {name: i for i, name in enumerate(self.classes)}
            return np.array([number[label] for label in self.labels], np.int64)
        if not kind.numbers:
            return np.array([_marks(cell, self.classes) for cell in self.cells], np.int64)
        return np.array([[float(value) for value in label.split(";")] for label in self.labels])


def pictures(rows: Rows) -> list[Picture]:
    """Of splits.csv. Raises ValueError saying which row is wrong."""
    found = [_picture(number, row) for number, row in enumerate(rows, start=2)]
    if not found:
        raise ValueError("it holds no picture")
    if len({picture.path for picture in found}) < len(found):
        raise ValueError("it names a picture twice")
    return found


def _picture(number: int, row: CsvRow) -> Picture:
    path, label, part, sha256 = (_cell(number, row, name) for name in ("path", "label", "split", "sha256"))
    fold = _cell(number, row, "fold") if row.get("fold") else "-1"
    group = sys.intern(_cell(number, row, "group")) if row.get("group") else ""
    if part not in PARTS:
        raise ValueError(f"line {number}: {shown(part[:40])!r} is no split")
    if len(sha256) != 64 or not path:
        raise ValueError(f"line {number} has no path or no hash")
    label = sys.intern(label)  # of many pictures, few are different
    return Picture(path, label, sys.intern(part), _whole(number, fold), sha256, label, group)


def named(found: Sequence[Picture], task: str) -> list[Picture]:
    """Pictures of splits.csv with their labels as `Samples.label` and predictions.csv have them.

    Args:
        found: rows of splits.csv.
        task: of the run.
    """
    plain = {cell: _plain(cell, task) for cell in {picture.cell for picture in found}}
    return [
        picture if picture.label == plain[picture.cell] else replace(picture, label=plain[picture.cell])
        for picture in found
    ]


def _plain(cell: str, task: str) -> str:
    kind = tasks.of(task)
    inside = parts(cell)
    if kind.exclusive:
        return inside[0][0] if len(inside) == 1 else cell
    if not kind.numbers:
        return ";".join(names_in(cell))
    return ";".join(part.rpartition("=")[2] for part, _ in inside)


def split_digest(rows: Iterable[tuple[str, str, int]]) -> str:
    """Of (path, split, fold): changes when any picture changes sides."""
    return digest(sorted(rows))


def data_digest(rows: Iterable[tuple[str, str, str]], classes: Sequence[str]) -> str:
    """Of (path, hash, label): changes when any picture, label or class does; not when the folder moves.

    Args:
        rows: path, hash and label of each picture, in any order.
        classes: in their order.
    """
    return digest([sorted(rows), list(classes)])


def changes(saved: Sequence[Picture], samples: Samples) -> list[str]:
    """How hashed `samples` differ from the pictures of a run, in words; empty where they do not.

    Args:
        saved: rows of splits.csv.
        samples: as they are now, hashed.
    """
    now = dict(zip(samples.paths, samples.sha256 or (), strict=True))
    at = {path: i for i, path in enumerate(samples.paths)}

    known = {picture.path: picture for picture in saved}
    there = [picture for picture in saved if picture.path in now]
    found = {
        "missing": [path for path in known if path not in now],
        "changed": [p.path for p in there if p.sha256 != now[p.path]],
        "labelled otherwise": [p.path for p in there if not labelled_alike(p, samples, at[p.path])],
        "new": [path for path in now if path not in known],
    }
    return [f"{len(paths)} {what} ({listed(paths, 3)})" for what, paths in found.items() if paths]


def labelled_alike(picture: Picture, samples: Samples, index: int) -> bool:
    """Whether a sample has the label that a picture of splits.csv has, in this version's spelling or an older one's.

    Args:
        picture: a row of splits.csv.
        samples: as they are now.
        index: of the picture among them.
    """
    return same_target(picture.cell, samples, index) or same_label(picture.label, samples.label(index), samples.task)


def same_label(saved: str, now: str, task: str) -> bool:
    """Whether two labels as text are the same; numbers are compared in the precision of float32.

    Args:
        saved: the label then.
        now: the label now.
        task: says whether labels are numbers.
    """
    if saved == now or not tasks.of(task).numbers:
        return saved == now
    try:
        then, today = (np.array([float(value) for value in text.split(";")], np.float32) for text in (saved, now))
    except ValueError:
        return False
    return bool(np.array_equal(then, today, equal_nan=True))


def history(rows: Rows, trained: bool = True) -> list[HistoryRow]:
    """Of history.csv, numbers as numbers and empty cells as None.

    Args:
        rows: as they stand there.
        trained: whether there were epochs; a classifier that was fitted in one step has none.

    Raises:
        ValueError: saying which row is wrong.
    """
    found = [_epoch(number, row) for number, row in enumerate(rows, start=2)]
    if trained and not found:
        raise ValueError("it holds no epoch")
    return found


def _epoch(number: int, row: CsvRow) -> HistoryRow:
    known: HistoryRow = {
        "phase": _cell(number, row, "phase"),
        "epoch": _whole(number, _cell(number, row, "epoch")),
    }
    return {name: known[name] if name in known else _value(number, name, row) for name in row}


def predictions(rows: Rows, classes: Sequence[str], task: str, test: Sequence[Picture]) -> Predictions:
    """Of predictions.csv, which must hold the pictures of the run's test split with the labels they have there.

    Args:
        rows: as they stand there.
        classes: of the run.
        task: likewise.
        test: rows of splits.csv.

    Raises:
        ValueError: saying what is wrong.
    """
    kind = tasks.of(task)
    columns: list[tuple[str, str, str, float]] = []
    outputs_of = [kind.prefix + name for name in classes]
    outputs = working_arrays.table((len(test), len(classes)), np.float64)
    for number, row in enumerate(rows, start=2):
        path, label, predicted = (_cell(number, row, name) for name in ("path", "label", "predicted"))
        confidence = math.nan if kind.numbers else _finite(number, "confidence", row)
        answers = _numbers(number, outputs_of, row)
        if len(columns) < len(outputs):  # what is too much is refused below
            outputs[len(columns)] = answers
        columns.append((path, label, predicted, confidence))
        if len(columns) % SEEN == 0:
            release(outputs)
    wanted = {picture.path: picture.label for picture in test}
    cells = {picture.path: picture.cell for picture in test}
    labels = {path: label for path, label, *_ in columns}
    if len(labels) < len(columns) or labels != wanted:
        raise ValueError("it does not hold the pictures and labels of the run's test split in splits.csv")
    paths, said, decided, sure = zip(*columns, strict=True) if columns else ((), (), (), ())
    found = Predictions(
        paths, said, decided, np.array(sure, np.float64), outputs, tuple(classes), task,
        tuple(cells[path] for path in paths),
    )  # fmt: skip
    try:
        targets = found.targets
    except (KeyError, ValueError) as error:
        raise ValueError(f"a label is none of the run's classes ({shown(str(error)[:60])})") from error
    if kind.numbers and len(targets) and targets.shape != found.outputs.shape:
        raise ValueError("labels and answers differ in number")
    return found


def _marks(cell: str, classes: Sequence[str]) -> list[bool]:
    given = names_in(cell)
    return [name in given for name in classes]


def _cell(number: int, row: CsvRow, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise ValueError(f"line {number} has no {name}" if name in row else f"there is no column {name}")
    return value


def _whole(number: int, text: str) -> int:
    if not text.lstrip("-").isdecimal() or len(text) > 18:
        raise ValueError(f"line {number}: {shown(text[:40])!r} is no whole number")
    return int(text)


def _value(number: int, name: str, row: CsvRow) -> float | int | None:
    text = row[name]
    if name is None or not isinstance(text, str):
        raise ValueError(f"line {number} has too many or too few cells")
    if text == "":
        return None
    try:
        return int(text) if text.lstrip("-").isdecimal() and len(text) < 18 else float(text)
    except ValueError as error:
        raise ValueError(f"line {number}: {shown(name)} {shown(text[:40])!r} is no number") from error


def _numbers(number: int, names: Sequence[str], row: CsvRow) -> npt.NDArray[np.float64]:
    """Several cells of a row [names]."""
    try:
        found = np.array([float(row[name]) for name in names])  # type: ignore[arg-type]  # checked below
        if np.isfinite(found).all():
            return found
    except (KeyError, TypeError, ValueError):
        pass
    return np.array([_finite(number, name, row) for name in names])  # says which is wrong


def _finite(number: int, name: str, row: CsvRow) -> float:
    text = _cell(number, row, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"line {number}: {shown(name)} {shown(text[:40])!r} is no number")
    return value
