"""Tables of annotations in forms of their own: Roboflow's `_classes.csv` and `_annotations.csv`, Open Images' CSVs."""

from __future__ import annotations

from pathlib import Path

from transferkit.data.containers import places
from transferkit.data.readers.cells import number
from transferkit.data.readers.exported import AnnotationExport, ExportedRow, in_splits
from transferkit.data.readers.layouts import split_name
from transferkit.data.readers.rows import load_cells
from transferkit.data.samples import listed, shown, unreadable_reason
from transferkit.errors import DataError
from transferkit.quantities import plural

ROBOFLOW = "_classes.csv"
ROBOFLOW_BOXES = "_annotations.csv"
_BOXED = ("filename", "class", "xmin", "ymin", "xmax", "ymax")
_WHAT = "a table of annotations"


def detect_roboflow(source: Path) -> float:
    """Certain of `_classes.csv` or `_annotations.csv`, or of a folder with it, or with splits that have it."""
    if places.is_folder(source):
        return 0.95 if in_splits(source, ROBOFLOW) or in_splits(source, ROBOFLOW_BOXES) else 0.0
    return 1.0 if source.name in (ROBOFLOW, ROBOFLOW_BOXES) else 0.0


def parse_roboflow(source: Path, crop: bool) -> AnnotationExport:
    """A row a picture of Roboflow's `_classes.csv`, with the columns that hold 1 as labels; or the boxes of its
    `_annotations.csv`.

    Args:
        source: the file, or a folder with one, or with one a split.
        crop: makes a row of each box instead of each picture.

    Raises:
        DataError: a cell is neither 0 nor 1, or a box is none; names the line.
    """
    if source.name == ROBOFLOW_BOXES or (places.is_folder(source) and not in_splits(source, ROBOFLOW)):
        return _roboflow_boxes(source, crop)
    export = AnnotationExport(several=True)
    for name in in_splits(source, ROBOFLOW) if places.is_folder(source) else [""]:
        path, folder = source / name if name else source, name.rpartition("/")[0]
        header, rows = load_cells(path, _WHAT)
        classes = [column.strip() for column in header[1:]]
        for at, cells in enumerate(rows, start=2):
            values = [number(cell) for cell in cells[1:]]
            if any(value not in (0.0, 1.0) for value in values):
                raise DataError(f"{shown(path)}: line {at} has cells other than 0 and 1; export it again")
            labels = [label for label, value in zip(classes, values, strict=True) if value]
            export.rows.append(
                ExportedRow(cells[0].strip(), labels, f"line {at}", split_name(folder) or "", folder=folder)
            )
    return export


def _roboflow_boxes(source: Path, crop: bool) -> AnnotationExport:
    """A row a picture, or a box, of Roboflow's `_annotations.csv` (as TensorFlow's examples have them)."""
    export, found = AnnotationExport(), list[ExportedRow]()
    for name in in_splits(source, ROBOFLOW_BOXES) if places.is_folder(source) else [""]:
        path, folder = source / name if name else source, name.rpartition("/")[0]
        header, rows = load_cells(path, _WHAT)
        if lacking := [column for column in _BOXED if column not in header]:
            raise DataError(f"{shown(path)} has no column {listed(lacking)}; export it again")
        at = {column: header.index(column) for column in _BOXED}
        for line, cells in enumerate(rows, start=2):
            sides = [number(cells[at[side]]) for side in _BOXED[2:]]
            left, top, right, bottom = (float(value or 0) for value in sides)
            if None in sides or not (left < right and top < bottom):
                raise DataError(f"{shown(path)}: line {line} has a box that is none; export it again")
            label, where, split = cells[at["class"]].strip(), f"line {line}", split_name(folder) or ""
            row = ExportedRow(cells[at["filename"]].strip(), [label], where, split, folder=folder)
            row.box = (left, top, right - left, bottom - top)
            found.append(row)
    export.boxes = len(found)
    export.add(found, crop)
    return export


def detect_open_images(source: Path) -> float:
    """1 for a CSV with ImageID and LabelName."""
    if source.suffix.lower() != ".csv" or unreadable_reason(source) is not None:
        return 0.0
    try:
        with places.open_file(source) as handle:
            head = handle.readline(4096).decode("utf-8", "replace").strip().split(",")
    except OSError:
        return 0.0
    return 1.0 if {"ImageID", "LabelName"} <= set(head) else 0.0


def parse_open_images(source: Path, crop: bool) -> AnnotationExport:
    """The rows of an Open Images CSV: labels that people or machines found in pictures (Confidence at least a half), or
    boxes.

    Args:
        source: the file.
        crop: makes a row of each box instead of each picture.

    Raises:
        DataError: a confidence is no number, or a box is none; names the line.
    """
    header, rows = load_cells(source, _WHAT)
    at = {column: i for i, column in enumerate(header)}
    sides = ("XMin", "XMax", "YMin", "YMax")
    has_boxes = all(side in at for side in sides)
    export, found, absent = AnnotationExport(), list[ExportedRow](), 0
    for line, cells in enumerate(rows, start=2):
        confidence = number(cells[at["Confidence"]]) if "Confidence" in at else 1.0
        if confidence is None:
            said = cells[at["Confidence"]]
            raise DataError(f"{shown(source)}: line {line} has the Confidence {said!r}; it is a number")
        if confidence < 0.5:
            absent += 1
            continue
        row = ExportedRow(cells[at["ImageID"]], [cells[at["LabelName"]]], f"line {line}")
        export.boxes += has_boxes
        if crop and has_boxes:
            values = [number(cells[at[side]]) for side in sides]
            if None in values:
                raise DataError(f"{shown(source)}: line {line} has a box that is no four numbers")
            left, right, top, bottom = (float(value or 0) for value in values)
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise DataError(
                    f"{shown(source)}: line {line} has a box that is none, in shares of the picture's sides"
                )
            row.box, row.relative = (left, top, right - left, bottom - top), True
        found.append(row)
    if absent:
        export.said.append(f"{plural(absent, 'row')} of what is not in a picture passed over")
    export.add(found, crop)
    return export
