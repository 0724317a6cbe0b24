"""TensorFlow's record files, one or a folder of them, and the folders that TensorFlow Datasets prepares."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transferkit.data.containers import places
from transferkit.data.containers.examples import Value
from transferkit.data.containers.tfrecords import Records
from transferkit.data.readers import grids
from transferkit.data.readers.arranged import arrange
from transferkit.data.readers.encoding import read_text
from transferkit.data.readers.exported import files_of, folders_of
from transferkit.data.readers.layouts import split_name
from transferkit.data.readers.request import Reading, Request
from transferkit.data.readers.rows import Table, checked
from transferkit.data.readers.table import samples_of
from transferkit.data.readers.walk import natural
from transferkit.data.samples import Samples, listed, shown
from transferkit.errors import DataError
from transferkit.text import clipped

USES = ("image_column", "label_column", "group_column", "split_column", "label_delimiter", "classes")
_FILE = re.compile(r".+\.tfrec(ord)?s?(-\d+-of-\d+)?(\.gz)?", re.I)
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_FEATURES, _INFO = "features.json", "dataset_info.json"
# As TensorFlow's own tools write them (tf-slim, the object detection API).
_PICTURES = ("image", "image/encoded")
_LABELS = ("label", "image/class/text", "image/class/label")
_LONGEST = 1000  # bytes of a text in a record; longer ones are no labels


def detect(source: Path) -> float:
    """Certain of a file that begins with a record, and of a folder of files called so or prepared by TFDS."""
    if not places.is_folder(source) and not _FILE.fullmatch(source.name):
        return 0.0
    if _is_file(source):
        return 0.9
    return 0.9 if _prepared(source) or any(map(_FILE.fullmatch, files_of(source))) else 0.0


def _is_file(path: Path) -> bool:
    try:
        return isinstance(places.opened(path), Records)
    except DataError:
        return False


def _prepared(source: Path) -> list[str]:
    """The folders that TFDS prepared: the source, or those of its versions."""
    below = [name for name in folders_of(source) if _VERSION.fullmatch(name)]
    return [name for name in ("", *below) if places.exists(source / name / _FEATURES)]


@dataclass
class _Told:
    """What TFDS tells of the files in a folder: names by feature of its numbers, and how many records each
    split has (0: untold)."""

    names: dict[str, list[str]] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)


def read(source: Path, request: Request) -> Samples:
    """The records of TFRecord files as one table.

    Args:
        source: a file, a folder of them, or one that TensorFlow Datasets prepared.
        request: see `source.scan`.

    Raises:
        DataError: a file is damaged or is missing, or rows are wrong, each with its place.
    """
    alone = _is_file(source)
    root, folder = (source.parent, "") if alone else (source, _one(source))
    told = _Told() if alone else _told(root / folder)
    files = [source.name] if alone else _files(root / folder)
    splits = {name: _split_of(name, told) for name in files}
    table = Table(source, [], [], unit="record")
    pictures: dict[str, None] = {}
    counts: Counter[str] = Counter()
    for name in files:
        records = places.opened(root / folder / name)
        if not isinstance(records, Records):
            raise DataError(f"{shown(root / folder / name)} is no TFRecord file, though it is called so; make it again")
        pictures |= dict.fromkeys(records.pictures)
        counts[splits[name]] += len(records)
        _take(table, records, os.path.join(folder, name), told, _given(splits).get(name))
        table.notes += records.notes
    _check_lengths(source, counts, told)
    table.columns = list(dict.fromkeys(name for _, row in table.rows for name in row))
    for _, row in table.rows:
        row.update({name: "" for name in table.columns if name not in row})
    strange = sorted({split for split in counts if split and split_name(split) is None})
    if strange and _given(splits):
        table.notes.append(f"{listed(strange)} is no split that is known; its pictures are divided with those of train")
    arrange(table, root, _with_columns(table, list(pictures), told, request.reading))
    return samples_of(checked(table), root, request)


def _given(splits: dict[str, str]) -> dict[str, str]:
    """The split of each file, where there are several; nothing where they tell nothing apart."""
    parts: dict[str, str] = {name: split_name(split) or "" for name, split in splits.items()}
    return parts if len(set(parts.values())) > 1 else {}


def _one(source: Path) -> str:
    """The folder below the source that holds the files. Raises DataError where several versions do."""
    found = _prepared(source)
    if len(found) > 1:
        raise DataError(f"{shown(source)} holds several versions: {listed(found)}; give one of these folders as DATA")
    return found[0] if found else ""


def _told(folder: Path) -> _Told:
    if not places.exists(folder / _INFO):
        return _Told()
    info = _json(folder / _INFO)
    form = info.get("fileFormat", "tfrecord")
    if form != "tfrecord":
        raise DataError(
            f"{shown(folder / _INFO)} says that the records are kept as {clipped(form)}, which is not read; prepare "
            'the data set again with file_format="tfrecord"'
        )
    try:
        splits = info.get("splits", ())
        lengths = {str(part["name"]): sum(map(int, part.get("shardLengths", ()))) for part in splits}
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{shown(folder / _INFO)} has splits of no form that TFDS writes; fetch it again") from error
    names = {}
    for file in files_of(folder):
        if file.endswith(".labels.txt"):
            text = read_text(folder / file, "the names of classes, one a line")
            names[file.removesuffix(".labels.txt")] = [line.strip() for line in text.split("\n") if line.strip()]
    return _Told(names, lengths)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path, "what TFDS writes beside its records"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown(path)} is no JSON ({error}); fetch it again") from error
    if not isinstance(found, dict):
        raise DataError(f"{shown(path)} holds no object; fetch it again")
    return found


def _files(folder: Path) -> list[str]:
    found = sorted((name for name in files_of(folder) if _FILE.fullmatch(name)), key=natural)
    if not found:
        raise DataError(f"{shown(folder)} holds no TFRecord files (.tfrecord); fetch or prepare the data set again")
    return found


def _split_of(name: str, told: _Told) -> str:
    """The split that a file is of: one that TFDS tells, or the one its name mentions; empty for none."""
    stem = name.partition(".")[0]
    own = [split for split in told.lengths if stem.endswith(f"-{split}")]
    if own:
        return max(own, key=len)
    words = {word for word in re.split(r"[-_]", stem) if split_name(word)}
    return words.pop() if len(words) == 1 else ""


def _take(table: Table, records: Records, path: str, told: _Told, split: str | None) -> None:
    """Append the rows of one file."""
    for number, example in enumerate(records.examples()):
        at = len(table.rows) + 1
        row = {
            name: f"{path}/{name}/{number}" if name in records.pictures else _cell(value, told.names.get(name))
            for name, value in example.items()
        }
        table.rows.append((at, row if split is None else {"split": split} | row))
        table.places[at] = f"{shown(path)} record {number}"


def _cell(value: Value, names: list[str] | None) -> str:
    """A feature as text: names in the place of numbers (-1 is none), nothing for bytes that are no text."""
    found: list[Any] = []
    for item in value:
        if isinstance(item, bytes):
            try:
                found.append(item.decode() if len(item) <= _LONGEST and b"\0" not in item else None)
            except UnicodeDecodeError:
                found.append(None)
        elif names is not None and isinstance(item, int):
            found.append(None if item < 0 else names[item] if item < len(names) else str(item))
        else:
            found.append(item)
    return grids.cell(found[0] if len(found) == 1 else [item for item in found if item is not None])


def _check_lengths(source: Path, counts: Counter[str], told: _Told) -> None:
    """Refuse folders of which a file is missing: TFDS tells how many records each split has."""
    for split, wanted in told.lengths.items():
        if wanted and split in counts and counts[split] != wanted:
            raise DataError(
                f"{shown(source)}: the split '{shown(split)}' has {counts[split]:,} records, and {_INFO} tells of "
                f"{wanted:,}; a file is missing or another's: fetch or prepare the data set again"
            )


def _with_columns(table: Table, pictures: list[str], told: _Told, reading: Reading) -> Reading:
    """`reading` with the features that are pictures and labels, where it names none and one alone can be meant."""
    if not reading.image_column:
        usual = [name for name in _PICTURES if name in pictures] if len(pictures) > 1 else pictures
        if not pictures:
            raise DataError(
                f"{shown(table.path)}: no feature holds the bytes of a picture file; there are {listed(table.columns)}"
                ". Pixels without a format are not read: write the records with encoded pictures (tf.io.encode_png)"
            )
        if len(usual) != 1:
            raise DataError(
                f"{shown(table.path)}: several features are pictures: {listed(pictures)}; say which with --image-column"
            )
        reading = replace(reading, image_column=usual[0])
    if not reading.label_column:
        told_of = [name for name in told.names if name in table.columns]
        found = next((name for name in _LABELS if _filled(table, name)), told_of[0] if len(told_of) == 1 else "")
        reading = replace(reading, label_column=(found,) if found else ())
    return reading


def _filled(table: Table, column: str) -> bool:
    return column in table.columns and any(row[column].strip() for _, row in table.rows)
