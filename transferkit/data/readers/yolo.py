"""YOLO's detection sets: a text file of boxes beside each picture, or in `labels/` for one in `images/`.

As Ultralytics and Roboflow write them (`data.yaml`, `images/train` or `train/images`), and Darknet (`obj.names`, text
files beside the pictures). Boxes and outlines give labels of pictures, or pictures of their own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transferkit.data.containers import places
from transferkit.data.readers.cells import number
from transferkit.data.readers.encoding import read_text
from transferkit.data.readers.exported import AnnotationExport, ExportedRow, files_of, folders_of
from transferkit.data.readers.layouts import split_name
from transferkit.data.readers.walk import is_hidden, is_picture
from transferkit.data.samples import listed, shown
from transferkit.errors import DataError
from transferkit.quantities import plural
from transferkit.text import clipped

_IMAGES, _LABELS = "images", "labels"
_NAMES = ("classes.txt", "obj.names")
_YAML = (".yaml", ".yml")
_LARGEST_YAML = 1 << 20  # bytes
_CODE = re.compile("[0-9]{1,9}")  # of a class
_DEEP = 4  # levels of folders that are looked at
_WHAT = "a file of boxes"


def detect(source: Path) -> float:
    """Certain of a file `data.yaml` with names, or of a folder with one, or with names and text files of boxes."""
    if not places.is_folder(source):
        return 1.0 if source.suffix.lower() in _YAML and _tells(source) else 0.0
    names = files_of(source)
    named = set(_NAMES) & set(names) or any(_tells(source / name) for name in names if name.lower().endswith(_YAML))
    return 0.9 if named and any(text for *_, text in _pictures(source)) else 0.0


def parse(source: Path, crop: bool) -> AnnotationExport:
    """The rows of a YOLO set.

    Args:
        source: its folder, or the `data.yaml` in it.
        crop: makes a row of each box instead of each picture.

    Raises:
        DataError: the names of the classes are not known, a line is no box, or its class has no name.
    """
    export, rows, without = AnnotationExport(), list[ExportedRow](), 0
    root = source if places.is_folder(source) else source.parent
    names, pictures = _names(source, root), list(_pictures(root))
    if not pictures:  # `path` in data.yaml is of the machine that wrote it
        raise DataError(f"{shown(source)}: no pictures lie beside it or below; put it into the folder of images/")
    for folder, picture, text in pictures:
        found = list(_rows(root, folder, picture, text, names)) if text else []
        without += not found
        rows += found
    export.boxes = len(rows)
    if without:
        export.said.append(f"{plural(without, 'picture')} without a box left out")
    export.add(rows, crop)
    return export


def _pictures(root: Path) -> Iterator[tuple[str, str, str]]:
    """Folder and name of each picture, a few levels deep, and the path of its text file; "" where it has none."""
    level = [""]
    for _ in range(_DEEP):
        for folder in level:
            names = [name for name in files_of(root / folder) if is_picture(name) and not is_hidden(name)]
            labels = _of_labels(root, folder)
            texts = set(files_of(root / labels)) if names else set()
            for name in names:
                text = os.path.splitext(name)[0] + ".txt"
                yield folder, name, os.path.join(labels, text) if text in texts else ""
        level = [os.path.join(f, name) for f in level for name in folders_of(root / f) if not is_hidden(name, True)]


def _of_labels(root: Path, folder: str) -> str:
    """`labels/train` for `images/train`, `train/labels` for `train/images`; else the folder itself."""
    steps = folder.split(os.sep)
    at = max((n for n, step in enumerate(steps) if step.lower() == _IMAGES), default=None)
    if at is None:
        return folder
    other = os.path.join(*steps[:at], _LABELS, *steps[at + 1 :])
    return other if places.is_folder(root / other) else folder


def _rows(root: Path, folder: str, picture: str, text: str, names: dict[int, str]) -> Iterator[ExportedRow]:
    split = next((part for step in folder.split(os.sep) if (part := split_name(step))), "")
    written = read_text(root / text, _WHAT) if places.size(root / text) else ""  # nothing is to be seen there
    for line, content in enumerate(written.split("\n"), start=1):
        cells = content.split()
        if not cells:
            continue
        values = [number(cell) for cell in cells]
        where, code = f"{text} line {line}", values[0]
        if len(cells) < 5 or None in values or code != int(code or 0):
            raise DataError(
                f"{shown(root / text)}: line {line} is no box ({shown(content[:60])}); it is a class's number, then "
                "centre, width and height in shares of the picture"
            )
        if int(code) not in names:
            raise DataError(
                f"{shown(root / text)}: line {line} has the class {int(code)}, which has no name; there are "
                f"{listed([f'{number} {name}' for number, name in names.items()])}"
            )
        box = _box([float(value or 0) for value in values[1:]])
        if box[2] <= 0 or box[3] <= 0:
            raise DataError(f"{shown(root / text)}: line {line} is a box without extent inside the picture; correct it")
        yield ExportedRow(picture, [names[int(code)]], where, split, folder=folder, box=box, relative=True)


def _box(values: list[float]) -> tuple[float, float, float, float]:
    """Left, top, width and height of a box (its centre comes first), or around an outline; cut at the edges."""
    if len(values) in (4, 5):  # the fifth is a confidence
        x, y, width, height = values[:4]
        left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    else:
        left, right, top, bottom = min(values[::2]), max(values[::2]), min(values[1::2]), max(values[1::2])
    left, top = max(0.0, left), max(0.0, top)
    return left, top, min(1.0, right) - left, min(1.0, bottom) - top


def _names(source: Path, root: Path) -> dict[int, str]:
    """The classes by their numbers."""
    files = files_of(root) if source == root else [source.name]
    damage = ""
    for name in files:
        try:
            found = _names_in(root / name) if name.lower().endswith(_YAML) else {}
        except DataError as error:
            found, damage = {}, f" ({error})"
        if found:
            return found
    for name in _NAMES:
        if name in files:
            lines = read_text(root / name, "a file with the name of one class a line").split("\n")
            return dict(enumerate(line.strip() for line in lines if line.strip()))
    raise DataError(
        f"{shown(root)}: what the numbers of the classes mean is not known{damage}; put a data.yaml with "
        "`names` there, or a classes.txt with one name a line"
    )


def _tells(path: Path) -> bool:
    """Whether a YAML file has names; one that cannot be read, and is called as the one with the names always is, is to
    be named for that."""
    try:
        return bool(_names_in(path))
    except DataError:
        return path.stem.lower() == "data"


def _names_in(path: Path) -> dict[int, str]:
    """`names` of a `data.yaml`; empty where it is another file. Raises DataError where it cannot be read."""
    import yaml

    if places.size(path) > _LARGEST_YAML:
        raise DataError(f"{shown(path)} is larger than {_LARGEST_YAML >> 20} MB, so it is no list of classes")
    try:
        # Scalars are texts there, as they are written: a class `no` is no False, `1.0` no number.
        content: Any = yaml.load(read_text(path, "a data.yaml"), yaml.BaseLoader)  # nosec B506: makes no objects
    except RecursionError as error:
        raise DataError(f"{shown(path)} is nested too deeply to be a list of classes") from error
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise DataError(f"{shown(path)} is no YAML ({clipped(' '.join(str(error).split()))})") from error
    names = content.get("names") if isinstance(content, dict) else None
    if not names:
        return {}
    named = names if isinstance(names, dict) else {str(n): name for n, name in enumerate(names)}
    if isinstance(names, str) or not all(_CODE.fullmatch(n) and isinstance(name, str) for n, name in named.items()):
        raise DataError(f"`names` in {shown(path)} is no list of names, and no name for each number")
    return {int(code): name for code, name in named.items()}
