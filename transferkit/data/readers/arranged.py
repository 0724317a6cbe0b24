"""A table of any columns as one with `path`, `label` (or `label_…`), `split` and `group`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from transferkit.data.readers import grids
from transferkit.data.readers.cells import in_cell, listed_names, names_in, number
from transferkit.data.readers.columns import (
    LABELS,
    LOOKED_AT,
    Cells,
    Mapping,
    fields,
    filled,
    hold_words,
    mapped,
    together,
)
from transferkit.data.readers.finder import Finder
from transferkit.data.readers.names import load_names
from transferkit.data.readers.request import Reading
from transferkit.data.readers.rows import Table, checked, raw_rows, raw_text
from transferkit.data.samples import listed, shown
from transferkit.errors import ConfigError

_DELIMITERS = {"comma": ",", "space": " ", "tab": "\t", "semicolon": ";", "pipe": "|", "slash": "/", "plus": "+"}
_COUNTS = re.compile(r"Unnamed: \d+|__index_level_\d+__")  # numbers of rows, as pandas writes them
TRUTHS = {"true": "1", "false": "0"}
_SUSPECTED = ("|", ",", "/", "+", " ")


def load_arranged(path: Path, reading: Reading) -> Table:
    """Every row of a table that has a picture.

    Args:
        path: of the table, text or a grid.
        reading: which columns it is to be read by, as far as that was said.

    Raises:
        DataError: it or its header is unusable.
    """
    table = raw_rows(path, *grids.load(path)) if grids.is_grid(path) else raw_text(path)
    arrange(table, path.parent, reading)
    return checked(table)


def arrange(table: Table, root: Path, reading: Reading) -> None:
    """Give a table the usual columns, found as was said or by looking; its notes say what was found.

    Args:
        table: is changed.
        root: where paths in it begin.
        reading: which columns, classes and delimiter, as far as that was said.

    Raises:
        DataError: no column leads to pictures, or several do; or none is the label.
        ConfigError: an option has no effect on this table.
    """
    _take_truths(table, reading)
    rows = [row for _, row in table.rows[:LOOKED_AT]]
    usual = "path" in table.columns and ("label" in table.columns or not hold_words(table.targets, rows))
    if not usual or reading:
        finder = Finder(root)
        found = mapped(table.path, table.columns, rows, reading, finder)
        table.mapping = found.record()
        _move(table, found, finder)
    elif "group" not in table.columns:
        table.notes += together([c for c in table.columns if c != "path"])
    if table.targets == ["label"]:
        _label_cells(table, reading)
    elif reading.label_delimiter:
        raise ConfigError("--label-delimiter has no effect on several label columns; drop it")
    elif reading.classes:
        _name_columns(table, load_names(Path(reading.classes).expanduser()))


def _take_truths(table: Table, reading: Reading) -> None:
    """Columns of True and False, as pandas writes one a class, as 1 and 0; one for all classes holds names of two."""

    def of_truths(column: str) -> bool:
        return all(row[column].strip().lower() in TRUTHS for _, row in table.rows)

    alone = any(column.lower() in LABELS for column in table.columns) or len(reading.label_column) == 1
    columns = [] if alone or not table.rows else list(filter(of_truths, dict.fromkeys(table.columns)))
    if len(columns) < 2:
        return
    for _, row in table.rows:
        row |= {column: TRUTHS[row[column].strip().lower()] for column in columns}
    table.notes.append(f"True and False are read as 1 and 0 in the columns {listed(columns, 3)}")


def _move(table: Table, found: Mapping, finder: Finder) -> None:
    labels = _label_names(table, found.labels)
    unused = [c for c in table.columns if labels and c and c not in (*labels, *_taken(found), *fields(found.template))]
    if unused := [c for c in unused if not _COUNTS.fullmatch(c)]:
        table.notes.append(f"columns not used: {listed(unused)} (the targets are {listed(list(labels), 3)})")
    for _, row in table.rows:
        old = dict(row)
        row.clear()
        row.update(_row(old, found, labels))
        if row["path"]:
            row["path"] = finder.find(row["path"]) or row["path"]
    kept = [labels.get(c, c) for c in table.columns if c in labels or (not labels and c not in _taken(found))]
    table.columns = ["path", *dict.fromkeys(kept), *_extra(found)]
    table.targets = [*dict.fromkeys(labels.values())] or [c for c in table.columns if c.startswith("label_")] or [
        c for c in table.columns if c not in ("path", "split", "group")
    ]  # fmt: skip


def _row(old: Cells, found: Mapping, labels: dict[str, str]) -> Cells:
    row = {"path": _path(old, found)}
    for column, name in labels.items():
        if name == "label" and len(labels) > 1:  # names in several columns, of which some may be empty
            row["label"] = (
                ";".join(filter(None, [row.get("label", "").rstrip(";"), in_cell(old[column].strip())])) + ";"
            )
        else:
            row[name] = old[column]
    if not labels:
        row |= {column: text for column, text in old.items() if column not in _taken(found)}
    return row | {what: old[column] for what, column in (("split", found.split), ("group", found.group)) if column}


def _path(old: Cells, found: Mapping) -> str:
    if not found.template:
        return old[found.image]
    return filled(found.template, old) if all(text.strip() for text in _used(found.template, old)) else ""


def _used(template: str, row: Cells) -> Iterator[str]:
    return (text for column, text in row.items() if f"{{{column}}}" in template)


def _taken(found: Mapping) -> set[str]:
    return {found.image, found.split, found.group, "path"}


def _extra(found: Mapping) -> list[str]:
    return [what for what, column in (("split", found.split), ("group", found.group)) if column]


def _label_names(table: Table, labels: Sequence[str]) -> dict[str, str]:
    """What each label column is called from now on: `label`, or `label_x` where there are several of numbers."""
    if len(labels) == 1:
        return {labels[0]: "label"}
    numbers = all(number(row[column]) is not None for _, row in table.rows for column in labels)
    return {column: f"label_{column.removeprefix('label_')}" if numbers else "label" for column in labels}


def _label_cells(table: Table, reading: Reading) -> None:
    """Take cells apart as asked, and put names in the place of codes."""
    sign = _DELIMITERS.get(reading.label_delimiter, reading.label_delimiter)
    if _take_lists(table):
        sign = ""
    elif sign:
        _open_brackets(table)
    names = load_names(Path(reading.classes).expanduser()) if reading.classes else {}
    if not sign and not names:
        _suspect(table)
        return
    for line, row in table.rows:
        found = [part.strip() for part in row["label"].split(sign)] if sign else list(names_in(row["label"]))
        found = [part for part in found if part]
        unknown = [code for code in found if names and code not in names]
        if unknown:
            table.bad(f"have a label that {shown(reading.classes)} has no name for", line, ", ".join(unknown))
        cells = [in_cell(names.get(code, code)) for code in found]
        several = sign or len(found) > 1 or row["label"].rstrip().endswith(";")
        row["label"] = ";".join(cells) + (";" if several and len(cells) == 1 else "")


def _take_lists(table: Table) -> bool:
    """Write labels as `a;b` where every cell is a list of names, as other programs save it; whether that is so."""
    cells = {row["label"] for _, row in table.rows if row["label"].strip()}
    lists = {cell: listed_names(cell) for cell in cells}
    plain = [cell for cell, names in lists.items() if names is None]
    if plain or not cells:
        if len(plain) < len(cells):
            odd = min(cells.difference(plain), key=lambda cell: (len(cell), cell))
            table.notes.append(f"some labels are lists, such as {odd}, and others are not: each is taken as one name")
        return False
    for _, row in table.rows:
        names = [in_cell(name) for name in lists.get(row["label"]) or [] if name]
        row["label"] = ";".join(names) + (";" if len(names) == 1 else "")
    table.notes.append(f"labels such as {min(cells, key=lambda c: (len(c), c)).strip()} are read as lists of labels")
    return True


def _open_brackets(table: Table) -> None:
    """Drop the brackets around the labels of a cell (`[a, b]`, `{a,b}`) where every cell has them."""
    for (_, row), cell in zip(table.rows, _without_brackets([row["label"] for _, row in table.rows]), strict=True):
        row["label"] = cell


def _without_brackets(cells: Sequence[str]) -> list[str]:
    stripped = [cell.strip() for cell in cells]
    if all(cell[:1] + cell[-1:] in ("[]", "()", "{}") for cell in stripped if cell):
        return [cell[1:-1] for cell in stripped]
    return stripped


def _suspect(table: Table) -> None:
    """Say where labels look like several in one cell."""
    cells = Counter(_without_brackets([row["label"] for _, row in table.rows]))
    for sign in _SUSPECTED:
        joined = [cell for cell in cells if sign in cell.strip(sign)]
        counts = Counter(part.strip() for cell in cells for part in cell.split(sign))
        if (
            len(joined) < 2
            or len(counts) >= len(cells)
            or any(counts[p.strip()] < 2 for c in joined for p in c.split(sign))
        ):
            continue
        word = next((name for name, found in _DELIMITERS.items() if found == sign and sign in ", "), sign)
        table.notes.append(
            f"labels such as {listed([repr(cell) for cell in joined], 2)} look like several joined by '{sign}': if so, "
            f"give --label-delimiter '{word}'"
        )
        return


def _name_columns(table: Table, names: dict[str, str]) -> None:
    new = {c: f"label_{names.get(c.removeprefix('label_'), c.removeprefix('label_'))}" for c in table.targets}
    for _, row in table.rows:
        for old, name in new.items():
            row[name] = row.pop(old)
    table.columns = [new.get(c, c) for c in table.columns]
    table.targets = list(new.values())
