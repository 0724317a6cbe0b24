"""The rows of a table or list as text: encoding, delimiter, header, and every bad line with its number."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferkit.data.readers import grids
from transferkit.data.readers.encoding import is_recoded, read_text, recoded
from transferkit.data.samples import listed, shown
from transferkit.errors import DataError, nearest, raise_problems
from transferkit.text import clipped

_RESERVED = ("path", "split", "group", "label")
_MOST = 10  # lines named per kind of problem
# In this order where the header leaves the choice: spreadsheets write `;` or tabs in some countries.
_DELIMITERS = ",;\t"
_RARE = "|"  # only where none of those parts the header: labels may be joined by it
_LONGEST = 40  # letters shown of a column's name
_SHOWN = 300  # letters shown of a bad cell
_END = "\x1f"
_TOO_LONG = f"a cell has more than {csv.field_size_limit():,} characters (is a quote before it never closed?)"


@dataclass
class Table:
    """The rows of a CSV that could be read, and what was wrong with the rest."""

    path: Path
    columns: list[str]
    targets: list[str]
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # line number, cells
    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unit: str = "line"  # what the numbers of rows count
    mapping: dict[str, Any] = field(default_factory=dict)  # which columns were taken for what
    places: dict[int, str] = field(default_factory=dict)  # where a row is, where that is no number

    def bad(self, kind: str, line: int, what: str) -> None:
        """Note one bad line under a kind of problem."""
        self.problems.setdefault(kind, []).append(f"{self.at(line)}{': ' + clipped(what, _SHOWN) if what else ''}")

    def at(self, line: int) -> str:
        """Where a row is, in words: `line 7`."""
        return self.places.get(line) or f"{self.unit} {line}"

    def raise_problems(self, more: Sequence[str] = ()) -> None:
        """Raise a DataError of everything that was found, and of what a caller found (`more`); without any, go on."""
        name = shown(self.path)
        kinds = [
            f"{name}: {len(lines)} rows {kind} ({'; '.join(lines[:_MOST])}"
            + (f" and {len(lines) - _MOST} more)" if len(lines) > _MOST else ")")
            for kind, lines in self.problems.items()
        ]
        raise_problems(DataError, [*more, *kinds])


def raw_text(path: Path) -> Table:
    """Every row of a CSV that can be read, whatever its columns are. Raises DataError where it is no text."""
    return raw_of(path, read_text(path, "a folder of class folders, or a CSV with path and label"))


def raw_of(path: Path, text: str) -> Table:
    """The rows of a table whose text is read already.

    Args:
        path: of the table.
        text: of `read_text`.

    Raises:
        DataError: the header cannot be read; a bad row is kept with its number instead.
    """
    text, delimiter = _delimited(text)
    reader = _lines(text, delimiter)
    line, header = next(reader, (1, ""))
    if isinstance(header, str) and header:
        raise DataError(f"{shown(path)}: line {line}, which should name the columns, cannot be read: {header}")
    table = raw_rows(path, [] if isinstance(header, str) else header, reader)
    if is_recoded(text):
        _recode(table)
    return table


def raw_rows(path: Path, header: Sequence[str], rows: Iterator[tuple[int, Any]], unit: str = "line") -> Table:
    """A table of rows that come from elsewhere than text.

    Args:
        path: of the table.
        header: names of its columns; empty ones at the end are dropped.
        rows: their numbers, and the cells of each, or the reason why it cannot be read.
        unit: what the numbers count, for errors.
    """
    columns = [_column(name) for name in header]
    while columns and not columns[-1]:  # spreadsheets fill rows up to the widest
        columns.pop()
    table = Table(path, columns, _target_columns(columns), unit=unit)
    for line, cells in rows:
        if isinstance(cells, str):
            table.bad("cannot be read", line, cells)
            continue
        if len(cells) > len(columns) and not any(cell.strip() for cell in cells[len(columns) :]):
            del cells[len(columns) :]
        if len(cells) != len(columns):
            table.bad(f"have another number of cells than the header's {len(columns)}", line, f"{len(cells)} cells")
        else:
            table.rows.append((line, dict(zip(columns, cells, strict=True))))
    return table


def checked(table: Table) -> Table:
    """`table` with what is wrong with its rows noted. Raises DataError where its header is unusable."""
    return _checked(table, _header_problems)


def checked_list(table: Table) -> Table:
    """The same of a list, which needs the column `path` alone."""
    return _checked(table, _list_problems)


def header_of(text: str) -> list[str]:
    """The columns that the first line of a table names."""
    body, delimiter = _delimited(text)
    return _header(next((line for line in body.split("\n") if line.strip()), ""), delimiter)


def load_paths(path: Path) -> list[str]:
    """The column `path` of a list of pictures in its order. Raises DataError with every bad line."""
    if grids.is_grid(path):
        raw = raw_rows(path, *grids.load(path))
    else:
        raw = raw_of(path, read_text(path, "a CSV with a column path"))
    return paths_of(raw)


def load_cells(path: Path, what: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of any table as text, in every form that training reads.

    Args:
        path: of the table.
        what: it should be, for errors.

    Raises:
        DataError: it cannot be read, or a row has another number of cells than the header.
    """
    text, delimiter = _delimited(read_text(path, what))
    lines = list(_lines(text, delimiter))
    wrong = [f"line {n}: {c if isinstance(c, str) else f'{len(c)} cells'}" for n, c in lines
             if isinstance(c, str) or len(c) != len(lines[0][1])]  # fmt: skip
    if wrong or not lines:
        raise DataError(f"{shown(path)}: {listed(wrong, 3) or 'it holds no line'}; give {what}")
    header, *rows = [cells for _, cells in lines]
    return [_cell(name) for name in header], [[_cell(cell) for cell in row] for row in rows]


def _cell(text: str) -> str:
    if not is_recoded(text):
        return text
    try:
        return recoded(text)
    except UnicodeDecodeError:
        return text


def paths_of(raw: Table) -> list[str]:
    """The column `path` of a list. Raises DataError with every bad line."""
    table = checked_list(raw)
    table.raise_problems()
    return [row["path"] for _, row in table.rows]


def _checked(table: Table, wrong: Callable[[Table], Iterator[str]]) -> Table:
    raise_problems(DataError, wrong(table))
    without = [line for line, row in table.rows if not row["path"].strip()]
    for line in without:
        table.bad("have no path", line, "")
    if without:
        table.rows = [(line, row) for line, row in table.rows if row["path"].strip()]
    # A column without a name is the number of the row, as pandas writes it.
    ignored = [c for c in table.columns if c and c not in _RESERVED and c not in table.targets]
    if ignored:
        table.notes.append(f"columns not used: {listed(ignored)} (the targets are {listed(table.targets, 3)})")
    return table


def _recode(table: Table) -> None:
    """Read cells that are not UTF-8 as Windows-1252, and say so. Paths are left: files may be named in any bytes."""
    told = ""
    for line, row in table.rows:
        for column, cell in row.items():
            if column == "path" or not is_recoded(cell):
                continue
            try:
                row[column] = recoded(cell)
            except UnicodeDecodeError:
                table.bad("hold text that is neither UTF-8 nor Windows-1252; save the file as UTF-8", line, cell)
                continue
            told = told or f"line {line}: {shown(row[column])}"
    if told:
        table.notes.append(f"text that is not UTF-8 is read as Windows-1252 ({told}); if that is wrong, save as UTF-8")


def _delimited(text: str) -> tuple[str, str]:
    """The text without Excel's first line `sep=;` (its place is kept), and the delimiter."""
    first, *rest = text.split("\n", 1)
    stated = first.strip().strip('"')
    if stated.lower().startswith("sep=") and len(stated) == 5:
        return "\n" + "".join(rest), stated[4]
    if first.lower().startswith("sep=\t"):
        return "\n" + "".join(rest), "\t"
    head = next((line for line in text.split("\n") if line.strip()), "")
    return text, _delimiter(head)


def _delimiter(head: str) -> str:
    """What parts the header line: the one by which there is a column `path`, then that of most columns."""
    found = {delimiter: _header(head, delimiter) for delimiter in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda delimiter: ("path" in found[delimiter], len(found[delimiter])))
    return _RARE if len(found[best]) == 1 < len(_header(head, _RARE)) else best


def undivided(columns: Sequence[str]) -> str:
    """What is to be said of a header that is a single column with signs that may have been meant to part several.

    Args:
        columns: of the header.

    Returns:
        To end a sentence with; empty where there are several columns, or a plain name.
    """
    if len(columns) != 1 or columns[0].isidentifier():
        return ""
    return "; it is one column: columns are parted by commas, semicolons, tabs or |, not by blanks or other signs"


def _header(head: str, delimiter: str) -> list[str]:
    try:
        return [_column(name) for name in next(csv.reader([head], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, Any]]:
    """(line number, cells) of each row that is not blank; the reason as text where a row cannot be read."""
    ends = [line + "\n" for line in text.split("\n")]  # at \n only: file names may hold other line breaks
    # A line of our own at the end: where it is not read as a row by itself, a quote was left open before it.
    reader = csv.reader([*ends, _END + "\n"], delimiter=delimiter)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            long = "field limit" in str(error)
            yield reader.line_num, _TOO_LONG if long else str(error)
            continue
        if reader.line_num > len(ends) and cells != [_END]:
            yield first, "a quote is opened and never closed"
        elif any(cell.strip() for cell in cells) and cells != [_END]:
            yield reader.line_num, cells


def _column(name: str) -> str:
    name = name.strip().strip('"').strip()
    if is_recoded(name):
        try:
            name = recoded(name)
        except UnicodeDecodeError:
            name = shown(name)
    return name.lower() if name.lower() in _RESERVED else name


def _target_columns(columns: list[str]) -> list[str]:
    if "label" in columns:
        return ["label"]
    prefixed = [c for c in columns if c.startswith("label_") and len(c) > 6]
    return prefixed or [c for c in columns if c not in _RESERVED and c]


def _header_problems(table: Table) -> Iterator[str]:
    name, has = shown(table.path), _columns(table) or "none"
    if "path" not in table.columns:
        yield (
            f"{name} has no column 'path'{nearest('path', table.columns)}; its columns are: {has}"
            f"{undivided(table.columns)}"
        )
    elif not table.targets:
        yield f"{name} has no column 'label' and no target columns; its columns are: {has}"
    twice = sorted({c for c in table.columns if table.columns.count(c) > 1})
    if twice:
        yield f"{name} has the column {listed(twice)} more than once"


def _columns(table: Table) -> str:
    # A file that is no table has no short names.
    return listed([name if len(name) <= _LONGEST else name[:_LONGEST] + "…" for name in table.columns])


def _list_problems(table: Table) -> Iterator[str]:
    if "path" not in table.columns:
        has = _columns(table) or "no line"
        yield (
            f"{shown(table.path)}: a list of pictures needs a column `path`; this one has {has}"
            f"{undivided(table.columns)}"
        )
    elif table.columns.count("path") > 1:
        yield f"{shown(table.path)} has the column path more than once"
