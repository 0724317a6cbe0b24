"""Where a picture lies that a table names and that is not there: what to say, so that the table can be corrected."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from transferkit.data.containers import places
from transferkit.data.readers.finder import Finder
from transferkit.data.readers.walk import is_folder, is_picture
from transferkit.data.samples import shown
from transferkit.errors import DataError


def elsewhere(root: Path, row: Mapping[str, str]) -> str:
    """What to add to the error for the first file that is not there.

    Looked for are another ending, other case (tables of Windows and macOS, whose disks ignore it), the end of a path
    that begins on another machine, and the same path below another folder, as in many archives.

    Args:
        root: where the paths of the table begin.
        row: its cells; `path` is the one that leads nowhere.

    Returns:
        To end a sentence with; empty where nothing like it is found.
    """
    path = row["path"]
    with suppress(OSError, ValueError, DataError):
        parts = [part for part in re.split(r"[/\\]", path.strip()) if part not in ("", ".")]
        for start in range(len(parts)):
            found = _spelt(root, parts[start:])
            if found is not None:
                return f"; the first is there as {shown(found)}: {_correction(path, parts[start:], found)}"
    with suppress(OSError, ValueError):
        there = [folder for folder in Finder(root).folders() if (root / folder / path).is_file()]
        for folder in there:
            if column := next((c for c, cell in row.items() if cell.strip() == os.path.basename(folder)), None):
                template = os.path.join(os.path.dirname(folder), f"{{{column}}}", "{path}")
                return f"; the first lies in {shown(root / folder)}: --path-template '{shown(template)}' leads there"
        if there:
            return f"; the first lies in {shown(root / there[0])}: put a copy of the CSV there"
    return ""


def _spelt(root: Path, parts: Sequence[str]) -> str | None:
    """The path below `root` that these parts mean, whatever their case and the picture's ending; None without one."""
    folder = ""
    for part in parts[:-1]:
        names = [entry.name for entry in places.listing(root / folder) if is_folder(entry)]
        found = _alike(part, names)
        if found is None:
            return None
        folder = os.path.join(folder, found)
    files = sorted(e.name for e in places.listing(root / folder) if not is_folder(e))
    stem = os.path.splitext(parts[-1])[0]
    stems = {os.path.splitext(name)[0]: name for name in reversed(files) if is_picture(name)}
    found = _alike(parts[-1], files) or stems.get(_alike(stem, list(stems)) or "")
    return os.path.join(folder, found) if found else None


def _alike(name: str, names: Sequence[str]) -> str | None:
    if name in names:
        return name
    return next((other for other in names if other.casefold() == name.casefold()), None)


def _correction(path: str, parts: Sequence[str], found: str) -> str:
    """What has to be done to the table for the end of `path` (its last `parts`) to be the file that was found."""
    rest = r"[/\\]+".join(map(re.escape, parts))
    before = re.sub(rf"{rest}\s*$", "", path).strip()
    if before.strip("./\\") or before[:1] in ("/", "\\"):
        return f"paths begin at the folder of the table, so leave '{shown(before)}' out"
    other_case = "/".join(parts).casefold() == found.replace(os.sep, "/").casefold()
    only_ending = os.path.splitext("/".join(parts))[0] == os.path.splitext(found.replace(os.sep, "/"))[0]
    return "correct capital and small letters" if other_case and not only_ending else "correct the endings"
