"""Which pictures are meant: files, folders, patterns, lists and standard input. Opens no picture."""

from __future__ import annotations

import codecs
import glob
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from transferkit.data.containers import places
from transferkit.data.containers.bucket import is_address
from transferkit.data.containers.films import Film, is_film, name_of
from transferkit.data.containers.places import exists, is_folder, picture_rows
from transferkit.data.readers.elsewhere import elsewhere
from transferkit.data.readers.encoding import decode_text, locate
from transferkit.data.readers.grids import TEXT
from transferkit.data.readers.rows import load_paths
from transferkit.data.readers.table import TABLES
from transferkit.data.readers.walk import ARCHIVES, is_picture, natural, pictures_below, without_system_files
from transferkit.data.samples import listed, shown
from transferkit.errors import DataError, TransferKitError, nearest
from transferkit.quantities import plural
from transferkit.runs.directory import is_run

STANDARD_INPUT = "-"
SECOND = 1.0  # between the pictures of a film, where nothing else is known
UTF8, UTF16 = codecs.BOM_UTF8, (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def find(
    paths: Iterable[str | Path], say: Callable[[str], None] | None = None, asked: Sequence[Path] = (),
    step: float | None = None,
) -> list[Path]:  # fmt: skip
    """Picture files of paths: files as they are, folders with all pictures below them as training finds them.

    The figures of runs are no pictures: runs inside a folder, or matched by a pattern, are left out. A film stands for
    what is seen in it every so many seconds. Those of a folder are taken where films were trained on, or where nothing
    else is in it.

    Args:
        paths: files, folders, and runs, which are refused. One that does not exist is read as a pattern
            (`new/**/*.jpg`); a table is a list with a column `path`, relative to its own folder, in every form that
            training reads.
        say: is told of runs and films that are left out.
        asked: runs that are asked: a refusal says how to ask the refused one too.
        step: seconds from one picture of a film to the next, as training took them; None: it took none.

    Raises:
        DataError: paths that do not exist or are runs, folders without pictures, patterns that match nothing and lists
            that cannot be read; all of them at once.
    """
    items = list(map(Path, paths))
    _refuse_runs([item for item in items if _is_model(item)], asked)
    found: list[Path] = []
    problems: list[str] = []
    left = _Left()
    for item in items:
        try:
            found += _expand(item, left, step)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    if say is not None:
        for note in left.notes():
            say(note)
    return [part for path in found for part in _parts(path, step or SECOND)]


@dataclass
class _Left:
    """What was passed over: figures by their run, films and archives by the folder that was named, and what is to be
    said of files that a list names and that are not there."""

    figures: dict[Path, int] = field(default_factory=dict)
    films: dict[Path, int] = field(default_factory=dict)
    archives: dict[Path, int] = field(default_factory=dict)
    lists: dict[Path, str] = field(default_factory=dict)

    def notes(self) -> Iterator[str]:
        """The same in words."""
        if self.figures:
            count, runs = plural(sum(self.figures.values()), "figure"), [str(run) for run in self.figures]
            yield f"left out {count} of {listed(runs, 3)}, as figures of runs are no pictures"
        for what, found in (("film", self.films), ("archive", self.archives)):
            for folder, number in found.items():
                told = f"left out {plural(number, what)} of {shown(folder)}"
                yield f"{told}: name the {what}s themselves to have them too"
        for path, hint in self.lists.items():
            if hint:
                yield f"{shown(path)} names files that do not exist below {shown(path.parent)}{hint}"


def _parts(path: Path, step: float) -> list[Path]:
    """What stands for a path: itself, or the pictures of a film. Of one that cannot be read its first, for the decoder
    to say why."""
    if not is_film(path.name):
        return [path]
    try:
        film = places.opened(path)
        return [path / name for name in film.every(step)] if isinstance(film, Film) else [path]
    except (TransferKitError, OSError):
        return [path / name_of(0)]


def _is_model(item: Path) -> bool:
    return is_run(item) if item.is_dir() else item.suffix == ".keras" and item.is_file()


def _refuse_runs(runs: list[Path], asked: Sequence[Path]) -> None:
    if not runs:
        return
    what = "is a run, and no picture" if len(runs) == 1 else "are runs, and no pictures"
    together = ",".join(shown(path) for path in (*asked, *runs))
    way = f"; several runs answer together where they are given as one: {together}" if asked else ""
    raise DataError(f"{listed([str(run) for run in runs], 3)} {what}{way}")


def _outside_runs(pictures: list[Path], root: Path, left: _Left) -> list[Path]:
    """Those of `pictures` that lie in no run below `root`; the others are counted in `left` by their run."""
    known: dict[Path, Path | None] = {root: None}

    def run_of(folder: Path) -> Path | None:
        if folder not in known:
            above = None if folder == folder.parent else run_of(folder.parent)
            known[folder] = above or (folder if is_run(folder) else None)
        return known[folder]

    kept = []
    for picture in pictures:
        run = run_of(picture.parent)
        if run is None:
            kept.append(picture)
        else:
            left.figures[run] = left.figures.get(run, 0) + 1
    return kept


def _expand(item: Path, left: _Left, step: float | None) -> list[Path]:
    if is_film(item.name) and not item.is_dir() and exists(item):
        return [item]
    if is_picture(item.name) and item.is_file():  # nobody is asked what else it might be: there may be many
        return [item]
    if item.suffix.lower() in TEXT and item.is_file():
        return _listed(item, left)
    if not item.is_dir() and (rows := picture_rows(item)):
        return rows
    if item.suffix.lower() in TABLES and item.is_file():  # before folders: an Excel sheet is an archive, too
        return _listed(item, left)
    if is_folder(item):
        return _below(item, left, step)
    if exists(item) or item.is_symlink():
        return [item]
    if any(sign in str(item) for sign in "*?["):
        return _matching(str(item), left)
    siblings = [p.name for p in item.parent.iterdir()] if item.parent.is_dir() else []
    raise DataError(f"{shown(item)}: no such file or folder{nearest(item.name, siblings)}")


def _below(folder: Path, left: _Left, step: float | None) -> list[Path]:
    inside, walk = pictures_below(folder, films=step is not None)
    if not inside:
        inside, walk = pictures_below(folder, films=True)
    kept = _outside_runs(inside, folder, left)
    if not kept:
        others = " (only runs, whose figures are no pictures)" if inside else walk.ignored()
        raise DataError(f"{shown(folder)}: no pictures in this folder{others}")
    films = sum(map(is_film, walk.other))
    left.films |= {folder: films} if films else {}
    archives = sum(name.lower().endswith(ARCHIVES) for name in walk.other)
    left.archives |= {folder: archives} if archives else {}
    return kept


def _matching(pattern: str, left: _Left) -> list[Path]:
    hits = list(map(Path, glob.glob(pattern, recursive=True)))
    found = without_system_files(pattern, (p for p in hits if p.is_file()))
    files = sorted(found, key=lambda path: natural(str(path)))  # in the order of folders
    kept = _outside_runs(files, _fixed(pattern), left)
    if not kept:
        what = "matches files of runs only" if files else "matches folders only; add /*" if hits else "matches nothing"
        raise DataError(f"{shown(pattern)}: this pattern {what}")
    return kept


def _fixed(pattern: str) -> Path:
    """The folder that a pattern names before its first sign."""
    parts = Path(pattern).parts
    first = next(number for number, part in enumerate(parts) if any(sign in part for sign in "*?["))
    return Path(*parts[:first])


def _listed(path: Path, left: _Left) -> list[Path]:
    """Paths of a list, in its order; what does not exist is left to the decoder to name."""
    found: list[Path] = []
    for name in load_paths(path):
        place, reason = locate(path.parent, name)
        if reason == "does not exist" and path not in left.lists:
            left.lists[path] = elsewhere(path.parent, {"path": name})
        # A stranger's list may name any host: by a whole path an address is none, and is not fetched.
        found.append((path.parent.absolute() if is_address(name) else path.parent) / place)
    if not found:
        raise DataError(f"{shown(path)}: this list names no picture")
    return found


def from_input(stream: io.BufferedIOBase | None = None, step: float | None = None) -> Iterator[Path]:
    """Paths from standard input, one a line (or separated by NUL, as `find -print0` writes them), as they come.

    Empty lines are left out, films taken as `find` takes them. Paths that lead nowhere are left to the decoder to name.

    Args:
        stream: what is read; None: standard input.
        step: seconds from one picture of a film to the next; None: each second.
    """
    source = stream if stream is not None else cast(io.BufferedIOBase, sys.stdin.buffer)
    for name in _pieces(source):
        if name:
            yield from _parts(Path(locate(Path(), os.fsdecode(name))[0]), step or SECOND)


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
