"""Which pictures are meant: files, folders, patterns, lists and standard input. Opens no picture."""

from __future__ import annotations

import codecs
import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from transferkit.data.rows import load_paths
from transferkit.data.samples import shown
from transferkit.data.source import TABLES
from transferkit.data.text import decode_text, locate
from transferkit.data.walk import pictures_below, without_system_files
from transferkit.errors import DataError, nearest

STANDARD_INPUT = "-"
UTF8, UTF16 = codecs.BOM_UTF8, (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def find(paths: Iterable[str | Path]) -> list[Path]:
    """Picture files of `paths`: files as they are, folders with all pictures below them as training finds them.

    A path that does not exist is read as a pattern (`new/**/*.jpg`); a .csv or .tsv is a list with a column `path`,
    relative to its own folder, in every form that training reads. Raises DataError for paths that do not exist, folders
    without pictures, patterns that match nothing and lists that cannot be read.
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
    if item.suffix.lower() in TABLES and item.is_file():
        return _listed(item)
    if item.exists() or item.is_symlink():
        return [item]
    if any(sign in str(item) for sign in "*?["):
        return _matching(str(item))
    siblings = [p.name for p in item.parent.iterdir()] if item.parent.is_dir() else []
    raise DataError(f"{shown(item)}: no such file or folder{nearest(item.name, siblings)}")


def _below(folder: Path) -> list[Path]:
    inside, others = pictures_below(folder)
    if not inside:
        raise DataError(f"{shown(folder)}: no pictures in this folder{others}")
    return inside


def _matching(pattern: str) -> list[Path]:
    hits = list(map(Path, glob.glob(pattern, recursive=True)))
    files = sorted(without_system_files(pattern, (p for p in hits if p.is_file())))
    if not files:
        what = "matches folders only; add /*" if hits else "matches nothing"
        raise DataError(f"{shown(pattern)}: this pattern {what}")
    return files


def _listed(path: Path) -> list[Path]:
    """Paths of a list, in its order; what does not exist is left to the decoder to name."""
    found = [path.parent / locate(path.parent, name)[0] for name in load_paths(path)]
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
            yield Path(locate(Path(), os.fsdecode(name))[0])


def _pieces(source: io.BufferedIOBase) -> Iterator[bytes]:
    rest, separator = b"", b"\n"
    first = source.read1(1 << 16)
    if first.startswith(UTF16):  # PowerShell; it comes whole, or not at all
        yield from (os.fsencode(line) for line in decode_text(first + source.read()).split("\n"))
        return
    block = first.removeprefix(UTF8)
    while block:
        rest += block
        if b"\0" in block:
            separator = b"\0"
        *whole, rest = rest.split(separator)
        yield from (name if separator == b"\0" else name.rstrip(b"\r") for name in whole)
        block = source.read1(1 << 16)
    yield rest.rstrip(b"\r\n")
