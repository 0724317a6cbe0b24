"""A CSV of paths and targets → samples, every bad line reported with its number.

Columns: `path` (relative to the CSV's folder, or absolute), optionally `split` (train, val, test or empty)
and `group` (pictures of one group never straddle splits). Targets are the column `label`; without it every
column `label_…`; without those every other column. One `label` column: a class name, or names joined by `;`
(multilabel), or a number with task="regress". Several columns: 0/1 each (multilabel), or numbers with
task="regress".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.data.folder import class_order, odd_names, split_name
from transferkit.data.rows import Table, load_table
from transferkit.data.samples import Part, Samples, Task, listed, shown, unreadable_reason
from transferkit.errors import DataError


def scan_table(
    path: Path,
    task: Task | None,
    excluded: Callable[[str, str | None], bool],
    classes: Sequence[str] | None,
    strict: bool = True,
) -> Samples:
    """Samples of a CSV; see `source.scan` and the head of this module."""
    table = load_table(path)
    single = table.targets == ["label"]
    table.rows = [
        (line, row)
        for line, row in _distinct(table)
        if not excluded(row["path"], row["label"].strip() if single else None)
    ]
    _check_files(table, strict)
    splits = [_split(table, line, row.get("split", "")) for line, row in table.rows]
    found_task = _task(table, task, single)
    targets, names = _TARGETS[found_task](table, classes)
    table.raise_problems(_judge(table, found_task, targets, names, classes))
    return Samples(
        root=path.parent,
        paths=tuple(row["path"] for _, row in table.rows),
        targets=targets,
        classes=names,
        task=found_task,
        split=tuple(splits),
        group=tuple(row.get("group", "").strip() or None for _, row in table.rows),
        sha256=None,
        pixels=None,
        origin=str(path),
        notes=(*table.notes, *odd_names(names)),
    )


def _distinct(table: Table) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows without exact repetitions; a path that is repeated with another target is a problem."""
    first: dict[str, tuple[int, dict[str, str]]] = {}
    repeated = 0
    for line, row in table.rows:
        if row["path"] not in first:
            first[row["path"]] = (line, row)
            yield line, row
        elif first[row["path"]][1] == row:
            repeated += 1
        else:
            what = f"{row['path']} is also in line {first[row['path']][0]}"
            table.bad("repeat a path with other values; for several labels write a;b", line, what)
    if repeated:
        table.notes.append(f"{repeated} rows repeat an earlier row exactly and are used once")


def _check_files(table: Table, strict: bool) -> None:
    """Find each row's file; one that is missing or unreadable is a problem if `strict`, else left to the decoder."""
    for line, row in table.rows:
        reason = unreadable_reason(table.path.parent / row["path"])
        if reason == "does not exist":
            other = row["path"].strip().replace("\\", "/")
            if unreadable_reason(table.path.parent / other) is None:
                row["path"] = other  # written on Windows, or with blanks around it
                continue
            if not strict:
                continue
            web = " (addresses on the web are not read)" if "://" in other else ""
            table.bad(f"name files that do not exist below {shown(table.path.parent)}", line, row["path"] + web)
        elif reason is not None and strict:
            table.bad("name files that cannot be read", line, f"{row['path']} {reason}")


def _split(table: Table, line: int, value: str) -> Part | None:
    if not value.strip():
        return None
    part = split_name(value)
    if part is None:
        table.bad("have a split other than train, val, test or nothing", line, repr(value))
    return part


def _task(table: Table, task: Task | None, single: bool) -> Task:
    if task is not None:
        if task == "classify" and not single:
            raise DataError(f"task 'classify' needs the column 'label'; the targets here are {listed(table.targets)}")
        return task
    if not single:
        return "multilabel"
    values = [row["label"].strip() for _, row in table.rows]
    if any(";" in value for value in values):
        return "multilabel"
    numbers = [number for value in values if (number := _number(value)) is not None]
    whole = all(number == int(number) for number in numbers)
    if values and len(numbers) == len(values) and (not whole or len(set(numbers)) > max(20, len(values) // 2)):
        raise DataError(
            f"{shown(table.path)}: the labels are numbers ({listed(values, 3)}, "
            f"{len(set(values))} different ones); pass --task regress to predict them, or --task classify to "
            "take each as the name of a class"
        )
    return "classify"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _class_targets(table: Table, classes: Sequence[str] | None) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    values = [row["label"].strip() for _, row in table.rows]
    order = tuple(classes) if classes is not None else class_order({v for v in values if v})
    number = {name: i for i, name in enumerate(order)}
    for (line, _), value in zip(table.rows, values, strict=True):
        if not value:
            table.bad("have no label", line, "")
        elif value not in number:
            table.bad(f"have a label that is no class of the run ({listed(order)})", line, value)
        elif ";" in value:
            table.bad("have several labels, which needs --task multilabel", line, value)
    return np.array([number.get(value, -1) for value in values], dtype=np.int64), order


def _label_targets(table: Table, classes: Sequence[str] | None) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    if table.targets != ["label"]:
        return _columns_of_labels(table, classes)
    sets = [[part.strip() for part in row["label"].split(";") if part.strip()] for _, row in table.rows]
    order = tuple(classes) if classes is not None else class_order({name for names in sets for name in names})
    number = {name: i for i, name in enumerate(order)}
    targets = np.zeros((len(sets), len(order)), dtype=np.float32)
    for i, ((line, _), names) in enumerate(zip(table.rows, sets, strict=True)):
        unknown = [name for name in names if name not in number]
        if unknown:
            table.bad(f"have labels that are none of the run's ({listed(order)})", line, ", ".join(unknown))
        targets[i, [number[name] for name in names if name in number]] = 1.0
    return targets, order


def _columns_of_labels(table: Table, classes: Sequence[str] | None) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    names, columns = _order_columns(table, classes)
    targets = np.zeros((len(table.rows), len(columns)), dtype=np.float32)
    for i, (line, row) in enumerate(table.rows):
        numbers = [_number(row[column]) for column in columns]
        wrong = [c for c, number in zip(columns, numbers, strict=True) if number not in (0.0, 1.0)]
        if wrong:
            what = ", ".join(f"{c}={row[c]!r}" for c in wrong[:3])
            table.bad("need 0 or 1 in every class column (numbers to predict: --task regress)", line, what)
        else:
            targets[i] = numbers
    return targets, names


def _value_targets(table: Table, classes: Sequence[str] | None) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    names, columns = _order_columns(table, classes)
    targets = np.zeros((len(table.rows), len(columns)), dtype=np.float32)
    for i, (line, row) in enumerate(table.rows):
        numbers = [_number(row[column]) for column in columns]
        wrong = [c for c, number in zip(columns, numbers, strict=True) if number is None]
        if wrong:
            table.bad("hold no number", line, ", ".join(f"{c}={row[c]!r}" for c in wrong[:3]))
        else:
            targets[i] = numbers
    return targets, names


def _order_columns(table: Table, classes: Sequence[str] | None) -> tuple[tuple[str, ...], list[str]]:
    names = [c.removeprefix("label_") for c in table.targets]
    if classes is None:
        return tuple(names), table.targets
    if set(names) != set(classes):
        raise DataError(f"{shown(table.path)} has targets {listed(names)}, but the run has {listed(classes)}")
    return tuple(classes), [table.targets[names.index(name)] for name in classes]


def _judge(
    table: Table, task: Task, targets: npt.NDArray[Any], names: tuple[str, ...], classes: Sequence[str] | None
) -> list[str]:
    if not table.rows:
        return [] if table.problems else [f"{shown(table.path)} has no rows below its header"]
    if classes is not None or table.problems:
        return []
    if task == "classify" and len(names) < 2:
        return [f"{shown(table.path)} has one class only, {listed(names)}; classification needs at least two"]
    if task == "multilabel":
        never = [name for name, count in zip(names, targets.sum(axis=0), strict=True) if count == 0]
        return [f"{shown(table.path)}: no row has the label {listed(never)}; remove the column"] if never else []
    return []


_TARGETS: dict[Task, Callable[[Table, Sequence[str] | None], tuple[npt.NDArray[Any], tuple[str, ...]]]] = {
    "classify": _class_targets,
    "multilabel": _label_targets,
    "regress": _value_targets,
}
