"""COCO's JSON, and what is made like it (iNaturalist, Roboflow's `_annotations.coco.json`): labels of images, boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transferkit.data.containers import places
from transferkit.data.readers.exported import (
    AnnotationExport,
    ExportedRow,
    files_of,
    folders_of,
    in_splits,
    load_json,
    missing,
)
from transferkit.data.readers.layouts import split_name
from transferkit.data.samples import listed, shown
from transferkit.errors import DataError
from transferkit.quantities import plural
from transferkit.text import clipped

BESIDE = "_annotations.coco.json"  # Roboflow's, in the folder of the pictures
FOLDER = "annotations"  # COCO's own and CVAT's, beside the folders of the pictures
_BOXES = "instances"  # what the file of boxes is called there, beside captions and key points
_KEYS = ("images", "annotations", "categories")


def detect(source: Path) -> float:
    """1 for a JSON file of images, annotations and categories, or a folder of COCO's own or of Roboflow's."""
    if places.is_folder(source):
        return 0.9 if in_splits(source, BESIDE) or _annotated(source) else 0.0
    if source.suffix.lower() != ".json":
        return 0.0
    content = load_json(source)
    return 1.0 if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in _KEYS) else 0.0


def _annotated(folder: Path) -> list[str]:
    """COCO's files in `annotations/`: those of boxes, where there are such, else all."""
    if FOLDER not in folders_of(folder):
        return []
    names = [name for name in files_of(folder / FOLDER) if name.lower().endswith(".json")]
    names = [name for name in names if name.startswith(_BOXES)] or names
    return [f"{FOLDER}/{name}" for name in names if detect(folder / FOLDER / name)]


def parse(source: Path, crop: bool) -> AnnotationExport:
    """The rows of a COCO export.

    Args:
        source: the file, or a folder with one (also in `annotations/`), or with one a split.
        crop: makes a row of each box instead of each picture.

    Raises:
        DataError: it is damaged, or lacks what COCO's files have.
    """
    export = AnnotationExport()
    beside = in_splits(source, BESIDE) if places.is_folder(source) else []
    for name in beside:
        folder = name.rpartition("/")[0]
        _add(export, source / name, crop, folder, split_name(folder) or "")
    if beside:
        return export
    for path in _by_split(source, _annotated(source)) if places.is_folder(source) else [source]:
        _add(export, path, crop, "", _split(path))
    if all(row.split == export.rows[0].split for row in export.rows):
        for row in export.rows:  # one file of one split is no split
            row.split = ""
    return export


def _split(path: Path) -> str:
    return split_name(path.stem.split("_")[-1]) or ""


def _by_split(source: Path, names: list[str]) -> list[Path]:
    """The files called `names`, where each is of a split of its own, or one is alone. Raises DataError."""
    paths = [source / name for name in names]
    splits = list(map(_split, paths))
    if len(paths) > 1 and (not all(splits) or len(set(splits)) < len(splits)):
        several = f"{shown(source)} holds several files of annotations: {listed(names)}"
        raise DataError(f"{several}; give the one that is meant")
    return paths


def _add(export: AnnotationExport, path: Path, crop: bool, folder: str, split: str) -> None:
    content = load_json(path)
    names = {_key(path, item, "categories", at): str(item.get("name", item["id"])) for at, item in _items(content, 2)}
    pictures = {_key(path, item, "images", at): item for at, item in _items(content, 0)}
    rows: list[ExportedRow] = []
    for at, note in _items(content, 1):
        where = f"annotations[{at}]"
        picture, label = pictures.get(note.get("image_id")), names.get(note.get("category_id"))
        if picture is None or label is None:
            what = "image_id" if picture is None else "category_id"
            value = clipped(repr(note.get(what)))
            raise DataError(f"{shown(path)}: {where} has the {what} {value}, which is not in the file; export it again")
        if not isinstance(picture.get("file_name"), str):
            raise missing(path, f"the image {note['image_id']!r}", "file_name")
        box = note.get("bbox") or None
        export.boxes += box is not None
        if crop and box is None:
            continue
        rows.append(ExportedRow(picture["file_name"], [label], where, split, folder=folder, said_by=path.stem))
        if crop:
            rows[-1].box = _box(path, where, box)
    export.add(rows, crop)
    without = len(pictures) - len({note.get("image_id") for _, note in _items(content, 1)})
    if without > 0:
        export.said.append(f"{plural(without, 'picture')} without an annotation left out")


def _items(content: dict[str, Any], key: int) -> list[tuple[int, dict[str, Any]]]:
    return [(at, item) for at, item in enumerate(content[_KEYS[key]]) if isinstance(item, dict)]


def _key(path: Path, item: dict[str, Any], list_name: str, at: int) -> Any:
    if not isinstance(item.get("id"), int | str):
        raise missing(path, f"{list_name}[{at}]", "id")
    return item["id"]


def _box(path: Path, where: str, box: Any) -> tuple[float, float, float, float]:
    if isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box):
        x, y, width, height = map(float, box)
        if width > 0 and height > 0:
            return x, y, width, height
    what = f"the box {clipped(repr(box))}, which is not [left, top, width, height]"
    raise DataError(f"{shown(path)}: {where} has {what}; export it again")
