"""Which pictures are meant: files, folders, patterns, lists and standard input. Opens no picture."""

from __future__ import annotations

import csv
import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from transferkit.data.folder import EXTENSIONS
from transferkit.data.samples import shown
from transferkit.errors import DataError, nearest

LISTS = (".csv", ".tsv")
STANDARD_INPUT = "-"


def find(paths: Iterable[str | Path]) -> list[Path]:
    """Picture files of `paths`: files as they are, folders with all pictures below them, sorted.

    A path that does not exist is read as a pattern (`new/**/*.jpg`); a .csv or .tsv is a list with a column `path`,
    relative to its own folder. Raises DataError for paths that do not exist, folders without pictures, patterns that
    match nothing and lists without that column.
    """
    found: list[Path] = []
    problems: list[str] = []
    for item in map(Path, paths):
        try:
            found += _expand(item)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return found


def _expand(item: Path) -> list[Path]:
    if item.is_dir():
        return _below(item)
    if item.suffix.lower() in LISTS and item.is_file():
        return _listed(item)
    if item.exists() or item.is_symlink():
        return [item]
    if any(sign in str(item) for sign in "*?["):
        return _matching(str(item))
    siblings = [p.name for p in item.parent.iterdir()] if item.parent.is_dir() else []
    raise DataError(f"{shown(item)}: no such file or folder{nearest(item.name, siblings)}")


def _below(folder: Path) -> list[Path]:
    inside = sorted(p for p in folder.rglob("*") if _is_picture(p))
    if not inside:
        raise DataError(f"{shown(folder)}: no pictures in this folder")
    return inside


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()


def _matching(pattern: str) -> list[Path]:
    hits = sorted(map(Path, glob.glob(pattern, recursive=True)))
    files = [p for p in hits if p.is_file()]
    if not files:
        what = "matches folders only; add /*" if hits else "matches nothing"
        raise DataError(f"{shown(pattern)}: this pattern {what}")
    return files


def _listed(path: Path) -> list[Path]:
    """Paths of a list, in its order; what does not exist is left to the decoder to name."""
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as handle:
        table = csv.DictReader(handle, dialect="excel-tab" if path.suffix.lower() == ".tsv" else "excel")
        columns = table.fieldnames or []
        if "path" not in columns:
            raise DataError(
                f"{shown(path)}: a list of pictures needs a column `path`; this one has "
                f"{', '.join(map(shown, columns)) or 'no line'}"
            )
        found = [path.parent / row["path"] for row in table if row["path"]]
    if not found:
        raise DataError(f"{shown(path)}: this list names no picture")
    return found


def from_input(stream: io.BufferedIOBase | None = None) -> Iterator[Path]:
    """Paths from standard input, one a line (or separated by NUL, as `find -print0` writes them), as they come.

    Empty lines are left out. Paths that lead nowhere are left to the decoder to name.
    """
    source = stream if stream is not None else cast(io.BufferedIOBase, sys.stdin.buffer)
    for name in _pieces(source):
        if name:
            yield Path(os.fsdecode(name))


def _pieces(source: io.BufferedIOBase) -> Iterator[bytes]:
    rest, separator = b"", b"\n"
    while block := source.read1(1 << 16):
        rest += block
        if b"\0" in block:
            separator = b"\0"
        *whole, rest = rest.split(separator)
        yield from (name if separator == b"\0" else name.rstrip(b"\r") for name in whole)
    yield rest.rstrip(b"\r\n")
