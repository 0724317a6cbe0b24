"""A CSV of paths and targets → samples, every bad line reported with its number.

Columns: `path` (relative to the CSV's folder, or absolute), optionally `split` (train, val, test or empty)
and `group` (pictures of one group never straddle splits). Targets are the column `label`; without it every
column `label_…`; without those every other column. One `label` column: a class name, or names joined by `;`
(multilabel), or a number with task="regress" (see `cells`). Several columns: 0/1 each (multilabel), or numbers with
task="regress".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.data.containers import places
from transferkit.data.containers.bucket import is_address
from transferkit.data.readers import grids
from transferkit.data.readers.arranged import load_arranged
from transferkit.data.readers.cells import LARGEST, are_amounts, in_cell, is_amount, names_in, number, parts
from transferkit.data.readers.elsewhere import elsewhere
from transferkit.data.readers.encoding import Spelling, locate
from transferkit.data.readers.folder import class_order, odd_names
from transferkit.data.readers.layouts import is_usual, split_name
from transferkit.data.readers.request import Excluded, Request
from transferkit.data.readers.rows import Table
from transferkit.data.samples import Part, Samples, listed, shown
from transferkit.errors import DataError
from transferkit.tasks import SEVERAL, SINGLE

_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
TABLES = (".csv", ".tsv", *grids.GRIDS)
COLUMN_OPTIONS = ("image_column", "label_column", "group_column", "split_column", "path_template", "label_delimiter",
                  "classes")  # fmt: skip


def is_table(source: str | os.PathLike[str]) -> bool:
    """Whether a path is read as a table."""
    path = Path(source).expanduser()
    return path.suffix.lower() in TABLES and (path.is_file() or not places.is_folder(path))


def scan_table(path: Path, request: Request) -> Samples:
    """Samples of a table of paths and targets.

    Args:
        path: of the table; paths in it begin at its folder.
        request: see `source.scan`.

    Raises:
        DataError: with every problem found.
    """
    return samples_of(load_arranged(path, request.reading), path.parent, request)


def samples_of(table: Table, root: Path, request: Request) -> Samples:
    """The samples of a table's rows.

    Args:
        table: with the usual columns; rows that are left out go from it.
        root: where paths begin.
        request: see `source.scan`.

    Raises:
        DataError: with every problem found.
    """
    classes = request.classes
    if request.task is not None and tasks.of(request.task).exclusive:
        _collapse(table)
    single = table.targets == ["label"]
    _locate(table, root, request.excluded, single, request.strict)
    table.rows = list(_distinct(table, root))
    splits = [_split(table, line, row.get("split", "")) for line, row in table.rows]
    found_task = _task(table, request.task, single)
    targets, names = _TARGETS[tasks.of(found_task).form](table, classes)
    table.raise_problems(_judge(table, found_task, targets, names, classes))
    if request.task is None and classes is None and found_task == SEVERAL and (targets.sum(axis=1) == 1).all():
        table.notes.append("every picture has exactly one label; --task classify takes the labels as classes")
    return Samples(
        root=root,
        paths=tuple(row["path"] for _, row in table.rows),
        targets=targets,
        classes=names,
        task=found_task,
        split=tuple(splits),
        group=tuple(row.get("group", "").strip() or None for _, row in table.rows),
        sha256=None,
        pixels=None,
        origin=str(table.path),
        notes=(*table.notes, *odd_names(names)),
        reader=table.mapping,
    )


def _collapse(table: Table) -> None:
    """Columns of which each row has a 1 in exactly one as the one column `label`."""
    if len(table.targets) < 2 or not table.rows:
        return
    values = [[number(row[column]) for column in table.targets] for _, row in table.rows]
    if any(sorted(row, key=str) != [0.0] * (len(row) - 1) + [1.0] for row in values):
        return
    names = [column.removeprefix("label_") for column in table.targets]
    for (_, row), marks in zip(table.rows, values, strict=True):
        row["label"] = in_cell(names[marks.index(1.0)])
    table.targets = ["label"]


def _locate(table: Table, root: Path, excluded: Excluded, single: bool, strict: bool) -> None:
    """Find each row's file, and drop the excluded; if `strict`, one that is missing or unreadable is a problem."""
    kept = []
    of_run = (root / "run.json").exists()
    place = f"{shown(root)}{'; the splits of a run lead from its data: copy them there' if of_run else ''}"
    missing = ""
    for line, row in table.rows:
        row["path"], reason = locate(root, row["path"])
        if excluded(row["path"], ";".join(names_in(row["label"])) if single else None):
            continue
        kept.append((line, row))
        if is_address(row["path"]) or ("://" in row["path"] and reason == "does not exist"):
            # Never fetched: a stranger's table may name any host.
            table.bad(
                "name addresses on the web, which are not read; fetch them, and name the files", line, row["path"]
            )
        elif reason == "does not exist" and strict:
            missing = missing or f"name files that do not exist below {place}{elsewhere(root, row)}"
            table.bad(missing, line, row["path"])
        elif reason is not None and strict:
            table.bad("name files that cannot be read", line, f"{row['path']} {reason}")
    table.rows = kept


def _distinct(table: Table, root: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows without exact repetitions; a file that is named again, however spelt, with another target is a problem."""
    first: dict[str, tuple[int, dict[str, str]]] = {}
    spelling = Spelling(root)
    repeated = 0
    for line, row in table.rows:
        key = spelling.key(row["path"])
        if key not in first:
            first[key] = (line, row)
            yield line, row
        elif first[key][1] | {"path": ""} == row | {"path": ""}:
            repeated += 1
        else:
            what = f"{row['path']} is also in {table.at(first[key][0])}"
            table.bad("repeat a path with other values; for several labels write a;b", line, what)
    if repeated:
        table.notes.append(f"{repeated} rows repeat an earlier row exactly and are used once")


def _split(table: Table, line: int, value: str) -> Part | None:
    if not value.strip():
        return None
    part = split_name(value)
    if part is None:
        table.bad("have a split other than train, val, test or nothing", line, repr(value))
    elif not is_usual(value):
        note = f"split {value.strip()!r} is taken as {part!r}"
        table.notes += [note] if note not in table.notes else []
    return part


def _task(table: Table, task: str | None, single: bool) -> str:
    if task is not None:
        if tasks.of(task).exclusive and not single:
            raise DataError(f"task '{task}' needs the column 'label'; the targets here are {listed(table.targets)}")
        return task
    if not single:
        return SEVERAL
    given = [row["label"].strip() for _, row in table.rows]
    cells = {text: parts(text) for text in set(given)}
    # What stands in quotes is a name, whatever it looks like.
    plain = {text: [name for name, quoted in cell if name and not quoted] for text, cell in cells.items()}
    if any(len(cell) > 1 for cell in cells.values()):
        if not all(found and all(map(is_amount, found)) for found in plain.values()):
            return SEVERAL
        advice = "--task multilabel to take each as the name of a label"
    else:
        values = {text: number(_pointed(found[0])) if found else None for text, found in plain.items()}
        if not given or None in values.values() or not are_amounts([values[text] for text in given]):
            return SINGLE
        advice = "--task classify to take each as the name of a class"
    raise DataError(
        f"{shown(table.path)}: the labels are numbers ({listed(given, 3)}, {len(set(given))} different ones); "
        f"pass --task regress to predict them, or {advice}"
    )


def _pointed(text: str) -> str:
    """`1,5` as `1.5`: no number to be predicted is written so, but no name of a class either."""
    return text.replace(",", ".") if _COMMA.fullmatch(text) else text


def _class_targets(table: Table, classes: Sequence[str] | None) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    cells = [names_in(row["label"]) for _, row in table.rows]
    values = [";".join(cell) for cell in cells]
    order = tuple(classes) if classes is not None else class_order({v for v in values if v})
    number_of = {name: i for i, name in enumerate(order)}
    for (line, _), cell, value in zip(table.rows, cells, values, strict=True):
        if not value:
            table.bad("have no label; fill it in, or delete them", line, "")
        elif len(cell) > 1:
            table.bad('have several labels, which needs --task multilabel (one with ; inside: "a;b")', line, value)
        elif value not in number_of:
            table.bad(f"have a label that is no class of the run ({listed(order)})", line, value)
    return np.array([number_of.get(value, -1) for value in values], dtype=np.int64), order


def _label_targets(table: Table, classes: Sequence[str] | None) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    if table.targets != ["label"]:
        return _columns_of_labels(table, classes)
    sets = [names_in(row["label"]) for _, row in table.rows]
    order = tuple(classes) if classes is not None else class_order({name for found in sets for name in found})
    number_of = {name: i for i, name in enumerate(order)}
    targets = np.zeros((len(sets), len(order)), dtype=np.float32)
    for i, ((line, _), found) in enumerate(zip(table.rows, sets, strict=True)):
        unknown = [name for name in found if name not in number_of]
        if unknown:
            table.bad(f"have labels that are none of the run's ({listed(order)})", line, ", ".join(unknown))
        targets[i, [number_of[name] for name in found if name in number_of]] = 1.0
    return targets, order


def _columns_of_labels(table: Table, classes: Sequence[str] | None) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    names, columns = _order_columns(table, classes)
    targets = np.zeros((len(table.rows), len(columns)), dtype=np.float32)
    for i, (line, row) in enumerate(table.rows):
        numbers = [number(row[column]) for column in columns]
        wrong = [c for c, value in zip(columns, numbers, strict=True) if value not in (0.0, 1.0)]
        if wrong:
            what = ", ".join(f"{c}={row[c]!r}" for c in wrong[:3])
            table.bad("need 0 or 1 in every class column (numbers to predict: --task regress)", line, what)
        else:
            targets[i] = numbers
    return targets, names


def _value_targets(table: Table, classes: Sequence[str] | None) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    if table.targets == ["label"] and any(";" in row["label"] for _, row in table.rows):
        _spread(table)
    names, columns = _order_columns(table, classes)
    targets = np.zeros((len(table.rows), len(columns)), dtype=np.float64)
    for i, (line, row) in enumerate(table.rows):
        numbers = [number(row[column]) for column in columns]
        wrong = [c for c, value in zip(columns, numbers, strict=True) if value is None]
        large = [c for c, value in zip(columns, numbers, strict=True) if value is not None and abs(value) > LARGEST]
        if wrong:
            comma = any(_COMMA.fullmatch(row[c].strip()) for c in wrong)
            what = ", ".join(f"{c}={row[c]!r}" for c in wrong[:3])
            table.bad("hold no number" + "; write 1.5 for 1,5" * comma, line, what)
        elif large:
            what = ", ".join(f"{c}={row[c]!r}" for c in large[:3])
            table.bad(f"hold a number beyond ±{LARGEST:.1e}, the most that float32 holds; use larger units", line, what)
        else:
            targets[i] = numbers
    return targets, names


def _spread(table: Table) -> None:
    """Cells of several numbers, `x=1;y=2` or `1;2`, as columns of their own."""
    cells = [[part.rpartition("=") for part in names_in(row["label"])] for _, row in table.rows]
    first = [name or f"target{i}" for i, (name, _, _) in enumerate(cells[0])]
    table.targets = [f"label_{name}" for name in first]
    for (line, row), cell in zip(table.rows, cells, strict=True):
        found = {name or f"target{i}": value for i, (name, _, value) in enumerate(cell)}
        if list(found) != first:
            table.bad(f"hold other targets than {listed(first)}", line, row["label"])
        row.update({f"label_{name}": found.get(name, "0") for name in first})


def _order_columns(table: Table, classes: Sequence[str] | None) -> tuple[tuple[str, ...], list[str]]:
    names = [c.removeprefix("label_") for c in table.targets]
    if classes is None:
        return tuple(names), table.targets
    if set(names) != set(classes):
        raise DataError(f"{shown(table.path)} has targets {listed(names)}, but the run has {listed(classes)}")
    return tuple(classes), [table.targets[names.index(name)] for name in classes]


def _judge(
    table: Table, task: str, targets: npt.NDArray[Any], names: tuple[str, ...], classes: Sequence[str] | None
) -> list[str]:
    if not table.rows:
        return [] if table.problems else [f"{shown(table.path)} has no rows below its header"]
    if classes is not None or table.problems:
        return []
    form = tasks.of(task).form
    if form == "class" and len(names) < 2:
        return [f"{shown(table.path)} has one class only, {listed(names)}; classification needs at least two"]
    if form == "labels":
        never = [name for name, count in zip(names, targets.sum(axis=0), strict=True) if count == 0]
        return [f"{shown(table.path)}: no row has the label {listed(never)}; remove the column"] if never else []
    return []


_TARGETS: dict[str, Callable[[Table, Sequence[str] | None], tuple[npt.NDArray[Any], tuple[str, ...]]]] = {
    "class": _class_targets,
    "labels": _label_targets,
    "numbers": _value_targets,
}
