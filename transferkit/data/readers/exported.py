"""What annotation tools export, as rows: a picture, its labels, and where in the file they were said."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from transferkit.data.containers import places
from transferkit.data.containers.fragments import boxed
from transferkit.data.readers.cells import in_cell
from transferkit.data.readers.columns import LOOKED_AT
from transferkit.data.readers.encoding import read_text
from transferkit.data.readers.finder import Finder
from transferkit.data.readers.layouts import split_name
from transferkit.data.readers.names import load_names
from transferkit.data.readers.request import Request
from transferkit.data.readers.rows import Table
from transferkit.data.readers.table import samples_of
from transferkit.data.readers.walk import is_folder
from transferkit.data.samples import Samples, listed, shown
from transferkit.errors import DataError
from transferkit.text import clipped

MOST_JSON = 2 << 30
_HASHED = 1 << 20  # bytes below which a JSON file is known again by its hash


@dataclass
class ExportedRow:
    """A picture (or a box of one) and what was said of it.

    `picture` is its path as the export has it, below `folder` (relative to the source). `box` is left, top, width and
    height in pixels of the upright picture, or with `relative` in shares of its sides. `said_by` is the name of the
    file that says it, where there are several. `also` is another name that the picture may have.
    """

    picture: str
    labels: list[str]
    where: str
    split: str = ""
    group: str = ""
    folder: str = ""
    box: tuple[float, float, float, float] | None = None
    relative: bool = False
    said_by: str = ""
    also: str = ""


@dataclass
class AnnotationExport:
    """The rows of an export, and what is to be said of them."""

    rows: list[ExportedRow] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    boxes: int = 0  # boxes there were, also where they were not asked for
    several: bool | None = None  # several labels a picture; None: as found

    def add(self, rows: Iterable[ExportedRow], crop: bool) -> None:
        """Add rows: each by itself where boxes are cropped, else one for each picture, with all its labels and no box.

        Args:
            rows: of one or more pictures.
            crop: whether boxes become pictures.
        """
        if crop:
            self.rows += rows
            return
        found: dict[tuple[str, str], ExportedRow] = {}
        for row in rows:
            row.box = None
            first = found.setdefault((row.folder, row.picture), row)
            if first is not row:
                first.labels += row.labels
        self.rows += found.values()


Parser = Callable[[Path, bool], AnnotationExport]


def scan_export(parse: Parser, name: str, source: Path, request: Request) -> Samples:
    """The samples of an export of an annotation tool.

    Args:
        parse: source and whether boxes are cropped → its rows.
        name: of the reader, for errors.
        source: the file or folder.
        request: see `source.scan`.

    Raises:
        DataError: nothing labelled is in it, there are no boxes to crop, or rows are wrong, each with its place.
    """
    crop = request.reading.crop_boxes
    try:
        export = parse(source, crop)
    except (TypeError, AttributeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        what = f"{shown(source)} holds a value of another kind than the reader '{name}' knows in its place"
        raise DataError(f"{what} ({clipped(error)}); export it again") from error
    root = source if places.is_folder(source) else source.parent
    if crop and not export.boxes:
        raise DataError(f"{shown(source)}: the reader '{name}' finds no boxes to crop; drop --crop-boxes")
    if not export.rows:
        raise DataError(f"{shown(source)}: the reader '{name}' finds no labelled pictures in it")
    said = list(export.said)
    if export.boxes and not crop:
        said.append("a picture has the labels of its boxes; --crop-boxes makes each box a picture of its own")
    _find(export.rows, source, root, said)
    if request.reading.classes:
        _rename(export.rows, request.reading.classes)
    table = Table(source, ["path", "label", "split", "group"], ["label"], unit="row")
    several = export.several if export.several is not None else any(len(set(row.labels)) != 1 for row in export.rows)
    for number, row in enumerate(export.rows, start=1):
        path = boxed(row.picture, row.box, row.relative) if row.box is not None else row.picture
        cells = [in_cell(label) for label in dict.fromkeys(row.labels)]
        label = ";".join(cells) + (";" if several and len(cells) == 1 else "")
        group = row.group or (row.picture if row.box is not None else "")
        table.rows.append((number, {"path": path, "label": label, "split": row.split, "group": group}))
        table.places[number] = row.where
    table.mapping = {"said": said}
    return samples_of(table, root, request)


def _rename(rows: Sequence[ExportedRow], file: str) -> None:
    names = load_names(Path(file).expanduser())
    unknown = sorted({label for row in rows for label in row.labels} - names.keys())
    if unknown:
        raise DataError(f"{shown(file)} has no name for the labels {listed(unknown)}")
    for row in rows:
        row.labels = [names[label] for label in row.labels]


def _find(rows: list[ExportedRow], source: Path, root: Path, said: list[str]) -> None:
    """Complete the paths of pictures: exports mostly leave out the folder, some the ending."""
    finder = Finder(root)
    groups: dict[tuple[str, str], list[ExportedRow]] = {}
    for row in rows:
        if not row.picture:
            raise DataError(f"{shown(source)}: {row.where} names no picture; export it again")
        groups.setdefault((row.folder, row.said_by), []).append(row)
    for (folder, _), own in groups.items():
        prefix = _prefix(folder, own[:LOOKED_AT], source, finder)
        if prefix not in ("", folder):
            said.append(f"pictures are found in {shown(prefix)}")
        for row in own:
            names = [os.path.join(prefix, name) for name in (row.picture, row.also) if name]
            row.picture = next(filter(None, map(finder.find, names)), names[0])


def _prefix(folder: str, rows: Sequence[ExportedRow], source: Path, finder: Finder) -> str:
    names = list(dict.fromkeys(name for row in rows for name in (row.picture, row.also) if name))
    if any(finder.find(os.path.join(folder, name)) for name in names):
        return folder
    inside = os.path.join(folder, "") if folder else ""
    candidates = [f for f in finder.folders() if f.startswith(inside)]
    counts = {f: sum(finder.find(os.path.join(f, name)) is not None for name in names) for f in candidates}
    if not any(counts.values()) and finder.root.name.lower() == "annotations":  # COCO's: pictures lie beside
        beside = Finder(finder.root.parent)
        counts = {f"../{f}": sum(beside.find(os.path.join(f, name)) is not None for name in names)
                  for f in beside.folders()}  # fmt: skip
    best = [f for f, count in counts.items() if count and count == max(counts.values())]
    if len(best) > 1:
        stem = (rows[0].said_by or source.stem).lower()
        near = [f for f in best if os.path.basename(f).lower() in stem]
        best = near if len(near) == 1 else best
    if len(best) > 1:
        raise DataError(
            f"{shown(source)}: the pictures ({listed(names, 2)}) are found in several folders: {listed(best)}; put the "
            "file into the folder whose pictures are meant"
        )
    return best[0] if best else folder


# ------------------------------------------------------------------------------------------ files


def load_json(path: Path) -> Any:
    """The content of a JSON file, kept from looking at it to reading it. Raises DataError."""
    return _json(path, _version(path))


def _version(path: Path) -> str:
    """What changes when a file's content does: of a large one on the disk its time, for hashing takes long."""
    with suppress(OSError):  # it may lie in an archive
        status = os.stat(path)
        if status.st_size >= _HASHED:
            return f"{status.st_size} {status.st_mtime_ns}"
    return places.sha256(path)


@lru_cache(2)
def _json(path: Path, version: str) -> Any:
    if places.size(path) > MOST_JSON:
        raise DataError(f"{shown(path)} is larger than {MOST_JSON:,} bytes; split it")
    try:
        return json.loads(read_text(path, "an export of annotations"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown(path)} is no JSON ({error}); export it again") from error


def load_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. Raises DataError for damage, and for entities of its own, which may grow without end."""
    text = read_text(path, "an export of annotations")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{shown(path)} declares entities of its own, which annotations never do; export it again")
    try:
        return ElementTree.fromstring(text)  # nosec B314  # no entities, see above
    except ElementTree.ParseError as error:
        raise DataError(f"{shown(path)} is no XML ({error}); export it again") from error


def files_of(folder: Path) -> list[str]:
    """Names of the files directly in a folder, none where it cannot be listed."""
    try:
        return sorted(entry.name for entry in places.listing(folder) if not is_folder(entry))
    except (OSError, DataError):
        return []


def folders_of(folder: Path) -> list[str]:
    """Names of the folders directly in one."""
    try:
        return sorted(entry.name for entry in places.listing(folder) if is_folder(entry))
    except (OSError, DataError):
        return []


def in_splits(folder: Path, name: str) -> list[str]:
    """Where files of one name lie: in a folder, or else in the folders of its splits (as Roboflow exports them).

    Args:
        folder: to look in.
        name: of the file.

    Returns:
        Paths relative to `folder`; empty where there is none.
    """
    if name in files_of(folder):
        return [name]
    return [f"{part}/{name}" for part in folders_of(folder) if split_name(part) and name in files_of(folder / part)]


def missing(path: Path, where: str, what: str) -> DataError:
    """The error for an entry that lacks something.

    Args:
        path: of the file.
        where: the entry's place in it.
        what: is missing.
    """
    return DataError(f"{shown(path)}: {where} has no {what}; export it again")
