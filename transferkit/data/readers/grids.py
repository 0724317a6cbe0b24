"""Tables in files other than text: JSON lines, Excel sheets, Parquet; each row as cells of text, as a CSV has them."""

from __future__ import annotations

import importlib
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transferkit.data.containers import parquet, places
from transferkit.data.readers.cells import in_cell
from transferkit.data.readers.encoding import read_text
from transferkit.data.samples import shown
from transferkit.errors import DataError
from transferkit.record import JsonObject

TEXT = (".csv", ".tsv")
GRIDS = (".jsonl", ".ndjson", ".xlsx", ".xlsm", ".parquet", ".arrow", ".feather")
Rows = Iterator[tuple[int, list[str]]]


def load(path: Path, prefix: str = "") -> tuple[list[str], Rows, str]:
    """A table in a file other than text.

    Args:
        path: of JSON lines, an Excel workbook, or a Parquet or Arrow file.
        prefix: what leads to the file from where paths begin; paths of pictures inside begin with it.

    Returns:
        Column names, rows with their numbers, and what these count ("line", "row").

    Raises:
        DataError: the file is unusable, or its library is not installed.
    """
    kind = path.suffix.lower()
    if kind in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if kind in (".xlsx", ".xlsm"):
        return _excel(path)
    return _arrow(path, prefix)


def needed(module: str, extra: str, what: str) -> Any:
    """An optional library.

    Args:
        module: its name, to import.
        extra: ours, which installs it.
        what: needs it, to begin the error's sentence.

    Raises:
        DataError: it is not installed; names the command that does so.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(f"{what} needs the reader; install it with: pip install 'transferkit[{extra}]'") from error


def cell(value: Any) -> str:
    """A value as text: nothing for what is missing, whole numbers without a point, lists joined by `;`."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, list | tuple):
        names = [in_cell(item) if isinstance(item, str) else cell(item) for item in value]
        return ";".join(names) + (";" if len(names) == 1 else "")
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _json_lines(path: Path) -> tuple[list[str], Rows, str]:
    found: list[tuple[int, JsonObject]] = []
    for number, line in enumerate(read_text(path, "a file of JSON lines").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{shown(path)}: line {number} is no JSON ({error}); each line is one object") from error
        if not isinstance(row, dict):
            raise DataError(f'{shown(path)}: line {number} is no object such as {{"path": "a.jpg", "label": "rose"}}')
        found.append((number, row))
    columns = list(dict.fromkeys(name for _, row in found for name in row))
    return columns, ((number, [cell(row.get(name)) for name in columns]) for number, row in found), "line"


def _excel(path: Path) -> tuple[list[str], Rows, str]:
    openpyxl = needed("openpyxl", "excel", f"{shown(path)} is an Excel sheet, which")
    try:
        book = openpyxl.load_workbook(io.BytesIO(places.read(path)), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        rows = [(number, [cell(value) for value in row]) for number, row in enumerate(sheet.values, start=1)]
    except Exception as error:  # whatever a damaged sheet makes openpyxl raise
        raise DataError(
            f"{shown(path)} is no Excel sheet that can be read ({type(error).__name__}: {error}); save it as CSV"
        ) from error
    rows = [(number, cells) for number, cells in rows if any(text.strip() for text in cells)]
    if not rows:
        raise DataError(f"{shown(path)}: its first sheet is empty")
    (_, header), *rest = rows
    return header, iter(rest), "row"


def _arrow(path: Path, prefix: str) -> tuple[list[str], Rows, str]:
    names, rows = parquet.table(places.local(path), f"{prefix}{path.name}")
    return names, ((number, [cell(value) for value in row]) for number, row in rows), "row"


def is_grid(path: str | os.PathLike[str]) -> bool:
    """Whether a file of this name is read here."""
    return Path(path).suffix.lower() in GRIDS
