"""XML of pictures: Pascal VOC's (a file each, in `Annotations/`) and CVAT's (`annotations.xml` of all images)."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree.ElementTree import Element

from transferkit.data.containers import places
from transferkit.data.readers.encoding import read_text
from transferkit.data.readers.exported import (
    AnnotationExport,
    ExportedRow,
    files_of,
    folders_of,
    load_xml,
    missing,
)
from transferkit.data.readers.layouts import split_name
from transferkit.data.samples import shown
from transferkit.errors import DataError
from transferkit.quantities import plural

CVAT = "annotations.xml"


def detect_voc(source: Path) -> float:
    """Certain of a folder with `Annotations/*.xml`, or of pictures with their XML beside them."""
    return 0.95 if places.is_folder(source) and _folders(source) else 0.0


def detect_cvat(source: Path) -> float:
    """1 for CVAT's `annotations.xml`, or the folder around it."""
    path = _cvat_file(source)
    if path is None:
        return 0.0
    root = load_xml(path)
    return 1.0 if root.tag == "annotations" and root.find("image") is not None else 0.0


def _cvat_file(source: Path) -> Path | None:
    if places.is_folder(source):
        return source / CVAT if CVAT in files_of(source) else None
    return source if source.suffix.lower() == ".xml" else None


def _folders(source: Path) -> list[str]:
    """Folders of VOC's XML files: `Annotations`, also a level below; else those with pictures and XML side by side."""
    if "Annotations" in folders_of(source):
        return ["Annotations"]
    below = [name for name in folders_of(source) if "Annotations" in folders_of(source / name)]
    if below:
        return [f"{name}/Annotations" for name in below]
    mixed = [name for name in ("", *folders_of(source)) if _xmls(source / name) and CVAT not in files_of(source / name)]
    return [name for name in mixed if _is_voc(source / name / _xmls(source / name)[0])]


def _xmls(folder: Path) -> list[str]:
    return [name for name in files_of(folder) if name.lower().endswith(".xml") and not name.startswith(".")]


def _is_voc(path: Path) -> bool:
    try:
        return load_xml(path).tag == "annotation"
    except DataError:
        return False


def parse_voc(source: Path, crop: bool) -> AnnotationExport:
    """The rows of Pascal VOC's files.

    Args:
        source: the folder; labels lie in its `Annotations/`, or beside the pictures of each split.
        crop: makes a row of each object instead of each picture.

    Raises:
        DataError: a file is damaged, or no annotation of VOC.
    """
    export, empty = AnnotationExport(), 0
    for folder in _folders(source):
        above = folder.rpartition("/")[0] if folder.endswith("Annotations") else folder
        splits = _image_sets(source / above)
        part = split_name(os.path.basename(above)) or ""
        for name in _xmls(source / folder):
            path = source / folder / name
            root = load_xml(path)
            if root.tag != "annotation":
                raise DataError(
                    f"{shown(path)} is no annotation of Pascal VOC (its root is <{shown(root.tag)}>); take it away"
                )
            picture = _text(root, "filename") or f"{Path(name).stem}.jpg"
            objects = root.findall("object")
            empty += not objects
            rows = [_object(path, item, picture, f"{folder}/{name}", crop) for item in objects]
            for row in rows:
                row.folder, row.split = above, splits.get(Path(name).stem, part)
            export.boxes += len(rows)
            export.add(rows, crop)
    if empty:
        export.said.append(f"{plural(empty, 'picture')} without an object left out")
    return export


def _object(path: Path, item: Element, picture: str, where: str, crop: bool) -> ExportedRow:
    label = _text(item, "name")
    if not label:
        raise missing(path, "an object", "name")
    row = ExportedRow(picture, [label], where.lstrip("/"))
    if crop:
        try:
            left, top, right, bottom = (float(_text(item, f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError as error:
            raise missing(path, f"the object '{shown(label)}'", "whole <bndbox>") from error
        row.box = (left, top, right - left, bottom - top)
    return row


def _text(item: Element, tag: str) -> str:
    return (item.findtext(tag) or "").strip()


def _image_sets(folder: Path) -> dict[str, str]:
    """Splits by the stem of a picture, as `ImageSets/Main/train.txt` and the like say."""
    found: dict[str, str] = {}
    main = folder / "ImageSets" / "Main"
    for name in files_of(main):
        part = split_name(Path(name).stem)
        if not part or name.startswith("trainval"):
            continue
        for line in read_text(main / name, "a list of pictures").split("\n"):
            if line.strip():
                found[line.split()[0]] = part
    return found


def parse_cvat(source: Path, crop: bool) -> AnnotationExport:
    """The rows of CVAT's file.

    Args:
        source: `annotations.xml`, or the folder that it lies in.
        crop: makes a row of each box instead of each picture.

    Raises:
        DataError: it is damaged, or an image has no name.
    """
    path = _cvat_file(source)
    assert path is not None
    export, empty = AnnotationExport(), 0
    for at, image in enumerate(load_xml(path).findall("image")):
        where, picture = f"image [{at}]", image.get("name", "")
        if not picture:
            raise missing(path, where, "name")
        split = split_name(image.get("subset") or "") or ""
        tags = [ExportedRow(picture, [tag.get("label", "")], where, split) for tag in image.findall("tag")]
        boxes = [_cvat_box(path, box, picture, where, split) for box in image.findall("box")]
        export.boxes += len(boxes)
        rows = boxes if crop else tags or boxes
        empty += not rows
        export.add(rows, crop)
    if empty:
        export.said.append(f"{plural(empty, 'picture')} without a label left out")
    return export


def _cvat_box(path: Path, box: Element, picture: str, where: str, split: str) -> ExportedRow:
    try:
        left, top, right, bottom = (float(box.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr"))
    except ValueError as error:
        raise missing(path, f"a box of {where}", "xtl, ytl, xbr and ybr") from error
    return ExportedRow(picture, [box.get("label", "")], where, split, box=(left, top, right - left, bottom - top))
