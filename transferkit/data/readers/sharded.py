"""Data sets that lie in several files of rows: Hugging Face's (Parquet or Arrow), WebDataset's tars."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transferkit.data.containers import places
from transferkit.data.containers.base import Archive, Container
from transferkit.data.containers.bucket import is_address
from transferkit.data.readers import grids
from transferkit.data.readers.arranged import arrange
from transferkit.data.readers.cells import in_cell
from transferkit.data.readers.exported import files_of, folders_of
from transferkit.data.readers.layouts import split_name
from transferkit.data.readers.names import load_names
from transferkit.data.readers.request import Request
from transferkit.data.readers.rows import Table, checked
from transferkit.data.readers.table import samples_of
from transferkit.data.readers.walk import is_hidden, is_picture, natural
from transferkit.data.samples import Part, Samples, listed, shown
from transferkit.errors import DataError

_ROWS = (".parquet", ".arrow")
_NUMBERED = re.compile(r"-\d+-of-\d+\.")
_TAR = re.compile(r".*\.tar(\.gz|\.zst|\.xz|\.bz2)?|.*\.tgz", re.I)
_LABELS = ("cls", "label", "class", "txt", "json", "cls.txt", "cls_id")
_FIELDS = ("label", "class", "cls", "label_name", "class_name", "category")
_LOOKED_AT = 50  # entries of a tar


def detect_hub(source: Path) -> float:
    """Certain of a folder of numbered Parquet or Arrow files; less so where others are in it, or in its folders."""
    names = _shards(source) if _is_plain_folder(source) else []
    told = {"state.json", "dataset_dict.json", "dataset_info.json"} & set(files_of(source)) if names else set()
    return (0.9 if told or any(map(_NUMBERED.search, names)) else 0.4) if names else 0.0


def _is_plain_folder(source: Path) -> bool:
    """Whether a source is a folder, on the disk or in a bucket, and no archive."""
    return source.is_dir() or (is_address(source) and places.is_folder(source) and places.opened(source) is None)


def _shards(source: Path) -> list[str]:
    """Files of rows, from the source on, in their order."""
    found = []
    for folder in ("", *folders_of(source)):
        if is_hidden(folder, True) and folder:
            continue
        names = [
            name for name in files_of(source / folder) if name.lower().endswith(_ROWS) and not name.startswith("cache-")
        ]
        found += [os.path.join(folder, name) for name in names]
    return sorted(found, key=natural)


def _part(name: str) -> Part | None:
    """The split that a shard's name begins with, or that its folder is called by."""
    folder, base = os.path.split(name)
    return split_name(re.split(r"[-.]", base)[0]) or split_name(folder)


def read_hub(source: Path, request: Request) -> Samples:
    """The rows of all shards of a Hugging Face data set (Parquet or Arrow) as one table.

    Args:
        source: the folder.
        request: see `source.scan`.

    Raises:
        DataError: shards have different columns, or rows are wrong, each with its place.
    """
    names = _shards(source)
    parts = {name: _part(name) for name in names}
    given = len(set(parts.values())) > 1
    table, first = Table(source, [], [], unit="row"), list[str]()
    for name in names:
        columns, rows, _ = grids.load(source / name, os.path.join(os.path.dirname(name), ""))
        first = first or columns
        if columns != first:
            raise DataError(
                f"{shown(source / name)} has the columns {listed(columns)}, the files before it {listed(first)}; keep "
                "data sets in folders of their own"
            )
        for number, cells in rows:
            at = len(table.rows) + 1
            row = dict(zip(columns, cells, strict=True))
            table.rows.append((at, row | ({"split": parts[name] or ""} if given else {})))
            table.places[at] = f"{shown(name)} row {number}"
    table.columns = [*first, *(["split"] if given and "split" not in first else [])]
    table.targets = ["label"] if "label" in table.columns else []
    arrange(table, source, request.reading)
    return samples_of(checked(table), source, request)


def detect_web(source: Path) -> float:
    """Certain of a tar whose pictures have their labels beside them (`a.jpg`, `a.cls`), or a folder of such tars."""
    if _is_plain_folder(source):
        tars = _tars(source)
        return 0.9 if tars and _is_web(source / tars[0]) else 0.0
    return 0.9 if _TAR.fullmatch(source.name) and _is_web(source) else 0.0


def _tars(folder: Path) -> list[str]:
    return sorted((name for name in files_of(folder) if _TAR.fullmatch(name)), key=natural)


def _is_web(path: Path) -> bool:
    try:
        holder = places.opened(path)
    except DataError:
        return False
    if not isinstance(holder, Archive):
        return False
    keys: dict[str, set[str]] = {}
    for name, _ in zip(holder.names(), range(_LOOKED_AT), strict=False):
        key, ending = _key(name)
        keys.setdefault(key, set()).add(ending)
    return any(set(_LABELS) & endings and _picture(endings) for endings in keys.values())


def _key(name: str) -> tuple[str, str]:
    """WebDataset's own rule: the key ends at the first point of the file's name."""
    folder, _, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return f"{folder}/{stem}" if folder else stem, ending.lower()


def _picture(endings: Any) -> str:
    return next((ending for ending in sorted(endings) if is_picture(f"x.{ending}")), "")


def read_web(source: Path, request: Request) -> Samples:
    """Every picture of WebDataset's tars with the label beside it.

    Args:
        source: a tar, or a folder of them.
        request: see `source.scan`.

    Raises:
        DataError: a file is no tar, a picture has no label or one without a name, or rows are wrong, each with its
            place.
    """
    whole = _is_plain_folder(source)
    folder = source if whole else source.parent
    names = _tars(source) if whole else [source.name]
    parts = {name: split_name(re.split(r"[-._]", name)[0]) for name in names}
    given = len(set(parts.values())) > 1
    classes = load_names(Path(request.reading.classes).expanduser()) if request.reading.classes else {}
    table = Table(source, ["path", "label", "split"], ["label"], unit="row")
    left = 0
    for name in names:
        holder = places.opened(folder / name)
        if holder is None:
            raise DataError(f"{shown(folder / name)} is no tar archive")
        for key, endings in _grouped(holder):
            picture, where = _picture(endings), f"{shown(name)}/{shown(key)}"
            if not picture:
                left += 1
                continue
            label = _label(holder, endings, where)
            if classes and label not in classes:
                raise DataError(
                    f"{shown(request.reading.classes)} has no name for the label '{shown(label)}' of {where}"
                )
            at = len(table.rows) + 1
            row = {"path": f"{name}/{endings[picture]}", "label": in_cell(classes.get(label, label))}
            table.rows.append((at, row | {"split": parts[name] or "" if given else ""}))
            table.places[at] = where
    table.notes += [f"{left} entries without a picture are passed over"] if left else []
    return samples_of(table, folder, request)


def _grouped(holder: Container) -> Iterator[tuple[str, dict[str, str]]]:
    """Key, and the entry of each ending."""
    found: dict[str, dict[str, str]] = {}
    for name in holder.names():
        if not is_hidden(name.rpartition("/")[2]):
            key, ending = _key(name)
            found.setdefault(key, {})[ending] = name
    yield from found.items()


def _label(holder: Container, endings: dict[str, str], where: str) -> str:
    ending = next((name for name in _LABELS if name in endings), "")
    if not ending:
        raise DataError(f"{where} has no label beside it ({', '.join(f'.{name}' for name in _LABELS[:5])})")
    text = holder.read(endings[ending]).decode("utf-8", "replace").strip()
    if ending == "json":
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}.json is no JSON ({error})") from error
        value = next((content[name] for name in _FIELDS if isinstance(content, dict) and name in content), None)
        text = grids.cell(value).rstrip(";") if value is not None else ""
    if not text:
        raise DataError(f"{where}.{ending} holds no label")
    return text
