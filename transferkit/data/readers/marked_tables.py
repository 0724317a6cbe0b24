"""Tables of annotations in forms of their own: Roboflow's `_classes.csv` and Open Images' CSVs."""

from __future__ import annotations

from pathlib import Path

from transferkit.data.containers import places
from transferkit.data.readers.cells import number
from transferkit.data.readers.exported import AnnotationExport, ExportedRow, in_splits, merged
from transferkit.data.readers.layouts import split_name
from transferkit.data.readers.rows import load_cells
from transferkit.data.samples import shown, unreadable_reason
from transferkit.errors import DataError

ROBOFLOW = "_classes.csv"
_WHAT = "a table of annotations"


def detect_roboflow(source: Path) -> float:
    """Certain of `_classes.csv`, or of a folder with it, or with splits that have it."""
    if places.is_folder(source):
        return 0.95 if in_splits(source, ROBOFLOW) else 0.0
    return 1.0 if source.name == ROBOFLOW else 0.0


def parse_roboflow(source: Path, crop: bool) -> AnnotationExport:
    """A row a picture of Roboflow's `_classes.csv`, with the columns that hold 1 as labels.

    Args:
        source: the file, or a folder with one, or with one a split.
        crop: has no meaning here: there are no boxes.

    Raises:
        DataError: a cell is neither 0 nor 1.
    """
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
        export.said.append(f"{absent} rows that say what is not in a picture are passed over")
    export.rows = found if crop else merged(found)
    return export
