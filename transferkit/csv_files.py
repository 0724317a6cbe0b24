"""CSV as every reader takes it: written whole or not at all, names that are no valid UTF-8 passed through."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

from transferkit.files import atomic_path


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV with a header line, whole or not at all; one row at a time is in memory.

    Args:
        path: as for `files.write_bytes`.
        header: names of the columns.
        rows: cells in their order.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        for row in chain([header], rows):
            handle.write((csv_line(row) + "\n").encode("utf-8", "surrogateescape"))


def csv_line(cells: Sequence[Any]) -> str:
    """One line of a CSV without its end; cells that hold line breaks of any kind are quoted."""
    buffer = io.StringIO()
    # Python 3.11 quotes only the breaks that end its lines; a lone carriage return splits a row elsewhere.
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue()[:-2]


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV as dictionaries of text. Raises ValueError for what is no CSV."""
    return parse_csv(Path(path).read_bytes())


def parse_csv(content: bytes) -> list[dict[str, str]]:
    """Rows of CSV text as dictionaries of text. Raises ValueError for what is no CSV (a cell above 131,072 characters).

    A row with too many cells holds the rest under None, one with too few None in their place.
    """
    return list(csv_rows(content))


def csv_rows(content: bytes | IO[bytes]) -> Iterator[dict[str, str]]:
    """The same one by one, for tables that are too large to be held as text: ValueError comes where the damage is.

    Args:
        content: of the file, or the file itself, opened.
    """
    handle = io.BytesIO(content) if isinstance(content, bytes) else content
    text = io.TextIOWrapper(handle, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from csv.DictReader(text)
    except csv.Error as error:
        raise ValueError(str(error)) from error
    finally:
        with suppress(ValueError):  # it is closed already
            text.detach()  # it is not ours to close
