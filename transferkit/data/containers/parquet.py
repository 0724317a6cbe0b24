"""Parquet and Arrow files: columns as values, and pictures that lie in them as bytes (as Hugging Face stores them)."""

from __future__ import annotations

import bisect
import importlib
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from transferkit.data.containers.base import Derived, EntryError, numbered
from transferkit.errors import DataError
from transferkit.text import shown

PARQUET, ARROW = b"PAR1", b"ARROW1"


def _library(path: Path, module: str = "pyarrow") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(
            f"{shown(path)} is a Parquet or Arrow file; install the reader with: pip install 'transferkit[parquet]'"
        ) from error


def opened(path: Path) -> tuple[Any, list[int]]:
    """A reader of groups of rows, `group(i)` as a pyarrow table, and the rows of each. Raises DataError for damage."""
    arrow = _library(path)
    try:
        with open(path, "rb") as handle:
            head = handle.read(6)
        if head[:4] == PARQUET:
            file = _library(path, "pyarrow.parquet").ParquetFile(path)
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
            return _Parquet(file), sizes
        source = arrow.memory_map(str(path))
        batches = _batches(source, head)
        return _Batches(arrow, batches), [batch.num_rows for batch in batches]
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{shown(path)} is no Parquet or Arrow file that can be read ({error})") from error


def _batches(source: Any, head: bytes) -> list[Any]:
    ipc = importlib.import_module("pyarrow.ipc")
    if head == ARROW:
        file = ipc.open_file(source)
        return [file.get_batch(i) for i in range(file.num_record_batches)]
    return list(ipc.open_stream(source))


class _Parquet:
    def __init__(self, file: Any) -> None:
        self.file, self.schema = file, file.schema_arrow

    def group(self, number: int, columns: Sequence[str]) -> Any:
        return self.file.read_row_group(number, columns=list(columns), use_threads=False)


class _Batches:
    def __init__(self, arrow: Any, batches: list[Any]) -> None:
        self._arrow, self._batches = arrow, batches
        self.schema = batches[0].schema if batches else arrow.schema([])

    def group(self, number: int, columns: Sequence[str]) -> Any:
        return self._arrow.Table.from_batches([self._batches[number]]).select(list(columns))


_KEPT = 4  # groups of rows held in memory


class ParquetRows(Derived):
    """Pictures of a Parquet or Arrow file: `column/row`. Groups of rows are read as needed; few are kept."""

    kind = "Parquet file"

    def __init__(self, path: Path) -> None:
        super().__init__(shown(path))
        self._file, sizes = opened(path)
        self._starts = [0, *itertools.accumulate(sizes)]
        self._columns = picture_columns(self._file.schema)
        self._groups: OrderedDict[tuple[int, str], Any] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(f"{column}/{row}" for column in self._columns for row in range(self._starts[-1]))

    def names(self) -> Collection[str]:
        """Every picture."""
        return self._names

    def has(self, name: str) -> bool:
        """Whether there is a picture of that name."""
        column, _, text = name.rpartition("/")
        row = numbered(text)
        return column in self._columns and row is not None and row < self._starts[-1]

    def read(self, name: str) -> bytes:
        """The bytes of a picture, as they lie in the row."""
        if not self.has(name):
            raise KeyError(name)
        column, _, text = name.rpartition("/")
        number = bisect.bisect_right(self._starts, int(text)) - 1
        value = self._group(number, column)[int(text) - self._starts[number]].as_py()
        found = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(found, bytes):
            raise EntryError("holds no bytes in its row (a path to a file elsewhere?)")
        if not found:
            raise EntryError("is empty (0 bytes)")
        return found

    def _group(self, number: int, column: str) -> Any:
        with self._lock:
            if (number, column) not in self._groups:
                try:
                    self._groups[number, column] = self._file.group(number, [column])[column]
                except (OSError, ValueError) as error:  # pyarrow's own are of these
                    raise EntryError(f"cannot be read ({error})") from error
                while len(self._groups) > _KEPT:
                    self._groups.popitem(last=False)
            return self._groups[number, column]


def picture_columns(schema: Any) -> list[str]:
    """The columns that hold bytes, by themselves or beside a path, as Hugging Face's feature `Image` does."""
    types = importlib.import_module("pyarrow.types")

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    found = []
    for column in schema:
        inner = column.type
        if types.is_struct(inner):
            inner = next(
                (inner.field(i).type for i in range(inner.num_fields) if inner.field(i).name == "bytes"), inner
            )
        if is_bytes(inner):
            found.append(column.name)
    return found


def class_names(schema: Any) -> dict[str, list[str]]:
    """By column the names of its numbers, where Hugging Face wrote them into the file."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {column: list(map(str, said["names"])) for column, said in features.items() if "names" in said}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def table(path: Path, name: str) -> tuple[list[str], Iterator[tuple[int, list[Any]]]]:
    """The rows of a Parquet or Arrow file.

    Args:
        path: of the file.
        name: what its pictures' paths begin with.

    Returns:
        Names of the columns; and of each row its number, from 0, and its values. The value of a picture is its path,
        `file.parquet/column/row`, that of a numbered class its name.

    Raises:
        DataError: the file is damaged.
    """
    file, sizes = opened(path)
    columns = [column.name for column in file.schema]
    return columns, _rows(file, sizes, columns, name)


def _rows(file: Any, sizes: Sequence[int], columns: Sequence[str], name: str) -> Iterator[tuple[int, list[Any]]]:
    pictures, names = picture_columns(file.schema), class_names(file.schema)
    plain = [column for column in columns if column not in pictures]
    number = 0
    for group, size in enumerate(sizes):
        values = file.group(group, plain).to_pydict() if plain else {}
        for row in range(size):
            yield (
                number,
                [f"{name}/{c}/{number}" if c in pictures else _named(values[c][row], names.get(c)) for c in columns],
            )
            number += 1


def _named(value: Any, names: list[str] | None) -> Any:
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    # -1 stands for no label
    return (names[value] if value < len(names) else str(value)) if isinstance(value, int) and value >= 0 else None
