"""The rows of a CSV as text: delimiter, header, and every line that cannot be read, with its number."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferkit.data.samples import listed, shown, unreadable_reason
from transferkit.errors import DataError, nearest, raise_problems

_RESERVED = ("path", "split", "group", "label")
_MOST = 10  # lines named per kind of problem


@dataclass
class Table:
    """The rows of a CSV that could be read, and what was wrong with the rest."""

    path: Path
    columns: list[str]
    targets: list[str]
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # line number, cells
    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def bad(self, kind: str, line: int, what: str) -> None:
        """Note one bad line under a kind of problem."""
        self.problems.setdefault(kind, []).append(f"line {line}{': ' + shown(what) if what else ''}")

    def raise_problems(self, more: Sequence[str] = ()) -> None:
        """Raise everything that was found."""
        name = shown(self.path)
        kinds = [
            f"{name}: {len(lines)} rows {kind} ({'; '.join(lines[:_MOST])}"
            + (f" and {len(lines) - _MOST} more)" if len(lines) > _MOST else ")")
            for kind, lines in self.problems.items()
        ]
        raise_problems(DataError, [*more, *kinds])


def load_table(path: Path) -> Table:
    """Every row of the CSV at `path` that has a path; raises DataError where it or its header is unusable."""
    reason = unreadable_reason(path)
    if reason is not None:
        raise DataError(f"{shown(path)} {reason}; give a folder of class folders, or a CSV with path and label")
    try:
        text = path.read_text("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read ({error.strerror or error})") from error
    head = text.split("\n", 1)[0]
    # Spreadsheets write `;` or tabs in some countries: the delimiter is what parts the header line.
    delimiter = max(",;\t", key=head.count)
    reader = _lines(text, delimiter)
    _, header = next(reader, (1, []))
    columns = [_column(name) for name in header]
    table = Table(path, columns, _target_columns(columns))
    raise_problems(DataError, _header_problems(table))
    for line, cells in reader:
        if isinstance(cells, str):
            table.bad("cannot be read", line, cells)
        elif len(cells) != len(columns):
            table.bad(f"have another number of cells than the header's {len(columns)}", line, f"{len(cells)} cells")
        elif not cells[columns.index("path")].strip():
            table.bad("have no path", line, "")
        else:
            table.rows.append((line, dict(zip(columns, cells, strict=True))))
    ignored = [c for c in columns if c not in _RESERVED and c not in table.targets]
    if ignored:
        table.notes.append(f"columns not used: {listed(ignored)} (the targets are {listed(table.targets, 3)})")
    return table


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, Any]]:
    """(line number, cells) of each row that is not blank; the reason as text where a row cannot be read."""
    reader = csv.reader(_newlines(text), delimiter=delimiter)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, str(error)
            continue
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _newlines(text: str) -> list[str]:
    """Lines cut at \\n only: file names may hold the other characters that `splitlines` cuts at."""
    return [line + "\n" for line in text.replace("\r\n", "\n").split("\n")]


def _column(name: str) -> str:
    name = name.strip()
    return name.lower() if name.lower() in _RESERVED else name


def _target_columns(columns: list[str]) -> list[str]:
    if "label" in columns:
        return ["label"]
    prefixed = [c for c in columns if c.startswith("label_") and len(c) > 6]
    return prefixed or [c for c in columns if c not in _RESERVED and c]


def _header_problems(table: Table) -> Iterator[str]:
    name, has = shown(table.path), listed(table.columns) or "none"
    if "path" not in table.columns:
        yield f"{name} has no column 'path'{nearest('path', table.columns)}; its columns are: {has}"
    elif not table.targets:
        yield f"{name} has no column 'label' and no target columns; its columns are: {has}"
    twice = sorted({c for c in table.columns if table.columns.count(c) > 1})
    if twice:
        yield f"{name} has the column {listed(twice)} more than once"
