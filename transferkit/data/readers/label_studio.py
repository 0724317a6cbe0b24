"""Label Studio's JSON (full or JSON-MIN): choices as labels of pictures, rectangles as boxes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from transferkit.data.containers import places
from transferkit.data.readers.exported import AnnotationExport, ExportedRow, load_json
from transferkit.data.samples import shown
from transferkit.errors import DataError
from transferkit.quantities import plural

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # what Label Studio puts before the name of an uploaded file
_SHORT = ("choice", "choices", "label")


def detect(source: Path) -> float:
    """1 for a JSON list of tasks."""
    if source.suffix.lower() != ".json" or places.is_folder(source):
        return 0.0
    tasks = load_json(source)
    if not isinstance(tasks, list) or not tasks or not isinstance(tasks[0], dict):
        return 0.0
    whole = "data" in tasks[0] and any(key in tasks[0] for key in ("annotations", "completions", "predictions"))
    return 1.0 if whole or ("annotator" in tasks[0] and _picture(tasks[0])) else 0.0


def parse(source: Path, crop: bool) -> AnnotationExport:
    """The rows of a Label Studio export.

    Args:
        source: the JSON file.
        crop: makes a row of each rectangle instead of each picture.

    Raises:
        DataError: it is damaged, a task names no picture, or there are predictions only.
    """
    export, rows, without, guessed = AnnotationExport(), list[ExportedRow](), 0, 0
    for at, task in enumerate(load_json(source)):
        picture = _picture(task.get("data", task)) if isinstance(task, dict) else ""
        if not picture:
            raise DataError(f"{shown(source)}: task [{at}] names no picture (a field `image`); export it again")
        found = _rows(task, _local(picture, source.parent), f"task [{at}]")
        for row in found:
            row.also = os.path.basename(picture)  # as Label Studio keeps it, with its own sign before the name
        export.boxes += sum(row.box is not None for row in found)
        rows += [row for row in found if not crop or row.box is not None]
        without += not found
        guessed += not found and bool(task.get("predictions"))
    if guessed and not rows:
        raise DataError(
            f"{shown(source)} holds predictions, and no annotation of a person: look through them in Label Studio, "
            "submit, and export the project"
        )
    if without:
        export.said.append(f"{plural(without, 'task')} without an annotation left out")
    export.add(rows, crop)
    return export


def _picture(data: dict[str, Any]) -> str:
    values = [data.get(key) for key in ("image", "img", "photo", "picture", "url")]
    values += [v for v in data.values() if isinstance(v, str) and re.search(r"\.(jpe?g|png|webp|tiff?|bmp)$", v, re.I)]
    return next((value for value in values if isinstance(value, str) and value), "")


def _local(picture: str, folder: Path) -> str:
    """The path behind an address of Label Studio's own server: its name, or what `?d=` says, from the `folder` of the
    export or else as a whole path.
    """
    address = urlparse(picture)
    inside = parse_qs(address.query).get("d")
    if inside:
        path = os.path.normpath(inside[0])
        below = path.lstrip("/")
        return path if path != below and places.exists(Path(path)) and not places.exists(folder / below) else below
    path = unquote(address.path)
    if "://" in picture or path.startswith("/data/"):
        base = os.path.basename(path)
        uploaded = _UPLOADED.fullmatch(base)
        return uploaded[1] if uploaded else base
    return path


def _rows(task: dict[str, Any], picture: str, where: str) -> list[ExportedRow]:
    annotations = task.get("annotations", task.get("completions"))
    if annotations is None and "data" not in task:  # JSON-MIN
        values: Any = next((task[key] for key in _SHORT if task.get(key)), [])
        values = values.get("choices", []) if isinstance(values, dict) else values
        labels = [values] if isinstance(values, str) else [v for v in values if isinstance(v, str)]
        return [ExportedRow(picture, labels, where)] if labels else []
    rows = []
    for annotation in annotations or ():
        if annotation.get("was_cancelled"):
            continue
        rows += [row for result in annotation.get("result", []) if (row := _row(result, picture, where)) is not None]
    return rows


def _row(result: dict[str, Any], picture: str, where: str) -> ExportedRow | None:
    value = result.get("value", {})
    labels = value.get("choices") or value.get("rectanglelabels") or []
    if not labels:
        return None
    row = ExportedRow(picture, [str(label) for label in labels], where)
    if value.get("rectanglelabels"):
        try:
            row.box = tuple(float(value[key]) / 100 for key in ("x", "y", "width", "height"))  # type: ignore[assignment]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where} has a rectangle without x, y, width and height; export it again") from error
        row.relative = True
    return row
