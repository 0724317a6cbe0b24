"""Samples → a plain form that every program reads: class folders, a CSV, or Parquet. Whole or not at all."""

from __future__ import annotations

import importlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from transferkit.csv_files import write_csv
from transferkit.data.containers import places
from transferkit.data.containers.bucket import is_address
from transferkit.data.containers.films import copy_name
from transferkit.data.containers.pixels import png
from transferkit.data.images.decode import open_picture
from transferkit.data.images.opening import sniff
from transferkit.data.images.reading import HEAD
from transferkit.data.readers.cells import column
from transferkit.data.readers.folder import walk_folder
from transferkit.data.readers.walk import is_hidden, is_picture
from transferkit.data.samples import PARTS, Samples, listed, shown
from transferkit.data.source import based, order_options
from transferkit.errors import ConfigError, DataError, StorageError
from transferkit.files import output_path, reason

_ENDINGS = {
    "JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "GIF": ".gif", "BMP": ".bmp", "AVIF": ".avif",
    "HEIF": ".heic", "JXL": ".jxl", "DICOM": ".dcm",
}  # fmt: skip
_OTHER_FILES = (
    ".tsv", ".txt", ".json", ".jsonl", ".xlsx", ".xml", ".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".npz",
    ".npy", ".arrow", ".feather", ".tfrecord", ".tfrec",
)  # fmt: skip
_AT_ONCE = 100  # rows of a group in Parquet: what a reader holds in memory
Progress = Callable[[int, int], None]


def convert(samples: Samples, output: Path, progress: Progress | None = None) -> str:
    """Write samples in a plain form, whole or not at all.

    Args:
        samples: what to write.
        output: by its ending a CSV, a Parquet file, or else a folder.
        progress: is called with (done, total) after each picture that is copied.

    Returns:
        What was written, in words, and what it takes to read it back.

    Raises:
        ConfigError: there is something at `output`, or its ending is that of another kind of file.
        DataError: pictures cannot be read, or a class cannot be the name of a folder.
    """
    if os.path.lexists(output):
        raise ConfigError(f"{shown(output)} exists already; choose another name, or remove it")
    options = order_options(samples)
    return _written(samples, output, progress) + (f"; read it with {options}" if options else "")


def _written(samples: Samples, output: Path, progress: Progress | None) -> str:
    tell = progress or (lambda done, total: None)
    kind = output.suffix.lower()
    if kind in _OTHER_FILES or is_picture(output.name):
        raise ConfigError(f"{shown(output)}: {kind} is not written; name a folder, a .csv or a .parquet")
    if kind == ".csv":
        return _csv(samples, output)
    if kind == ".parquet":
        return _parquet(samples, output, tell)
    with _new_folder(output) as folder:
        if not samples.kind.exclusive or any(samples.group):
            _with_table(samples, folder, tell)
            return "a folder of pictures with labels.csv"
        _class_folders(samples, folder, tell)
    nested = any("/" in name for name in samples.classes)
    return "a folder of class folders" + (" in each other; read it with --class-level path" if nested else "")


def content(samples: Samples, index: int) -> bytes:
    """The bytes of a picture file: as they are, or of a part or an array as a PNG.

    Args:
        samples: the data.
        index: of the picture.

    Raises:
        DataError: it cannot be read (a PictureError, where it has to be decoded).
    """
    source = samples.source(index)
    if not isinstance(source, Path) or places.part_of(source) is not None:
        return png(np.asarray(open_picture(source)))
    try:
        return places.read(source)
    except OSError as error:
        raise DataError(f"{shown(source)} cannot be read ({error.strerror or error})") from error


def _csv(samples: Samples, output: Path) -> str:
    if samples.root is None:
        raise DataError("pictures in memory have no paths for a CSV; convert to a folder or a .parquet file")
    root = samples.root if is_address(samples.root) else Path(os.path.abspath(samples.root))
    there = based(replace(samples, root=root), output)
    write_csv(output, *_rows(there, list(there.paths)))
    return "a CSV of where they are" + "".join(f"; {note}" for note in there.notes[len(samples.notes) :])


def _rows(samples: Samples, paths: list[str]) -> tuple[list[str], Iterator[tuple[str, ...]]]:
    """Header and rows of a table that `scan` reads back."""
    columns: dict[str, list[str]] = {"path": paths, "label": column(samples)}
    if any(samples.split):
        columns["split"] = [part or "" for part in samples.split]
    if any(samples.group):
        columns["group"] = [group or "" for group in samples.group]
    return list(columns), zip(*columns.values(), strict=True)


def _class_folders(samples: Samples, folder: Path, tell: Progress) -> None:
    odd = [name for name in samples.classes if not all(map(_can_be_folder, name.split("/")))]
    if odd:
        raise DataError(f"the classes {listed(odd)} cannot be folders; convert to a .csv or .parquet file")
    splits = set(samples.split) <= set(PARTS) and len(set(samples.split)) > 1
    used: set[str] = set()
    written: dict[str, tuple[str, str | None]] = {}
    for index in range(len(samples)):
        part, label = samples.split[index] if splits else None, samples.classes[int(samples.targets[index])]
        written[_write(samples, index, folder, os.path.join(part or "", *label.split("/")), used)] = (label, part)
        tell(index + 1, len(samples))
    _prove(folder, written, any("/" in name for name in samples.classes))


def _can_be_folder(name: str) -> bool:
    return (
        name == os.path.basename(name)
        and name not in ("", ".", "..")
        and "\0" not in name
        and not is_hidden(name, True)
    )


def _prove(folder: Path, written: dict[str, tuple[str, str | None]], nested: bool) -> None:
    """Raise DataError where the folder would be read as other classes, as where one of several is called `train`."""
    walk = walk_folder(folder, lambda path, label: False, class_level="path" if nested else "")
    found = {path: (label, part) for path, label, part in walk.found}
    other = sorted({label for path, (label, part) in written.items() if found.get(path) != (label, part)})
    if other or walk.problems:
        classes = other or sorted({label for label, _ in written.values()})
        raise DataError(
            f"as folders, the classes {listed(classes)} would not be read as they are: their names are those of "
            "splits, or of what is passed through; convert to a .csv or .parquet file"
        )


def _with_table(samples: Samples, folder: Path, tell: Progress) -> None:
    used: set[str] = set()
    paths = []
    for index in range(len(samples)):
        paths.append(_write(samples, index, folder, "images", used))
        tell(index + 1, len(samples))
    write_csv(folder / "labels.csv", *_rows(samples, paths))


def _write(samples: Samples, index: int, folder: Path, place: str, used: set[str]) -> str:
    """Write one picture; its path within the folder."""
    found = content(samples, index)
    path = os.path.join(place, _name(samples.paths[index], found))
    stem, ending = os.path.splitext(path)
    number = 1
    while path.casefold() in used:  # two folders may hold the same name, and disks may ignore case
        number += 1
        path = f"{stem}_{number}{ending}"
    used.add(path.casefold())
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(found)
    return path


def _name(path: str, found: bytes) -> str:
    """A file's name for a picture, with an ending that says what it is."""
    base = copy_name(path.replace("\\", "/"))
    if is_picture(base) and not is_hidden(base):
        return base
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in base).lstrip(".") or "picture"
    return plain + _ENDINGS.get(sniff(found[:HEAD]) or "", ".png")


def _parquet(samples: Samples, output: Path, tell: Progress) -> str:
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise DataError("writing Parquet needs pyarrow; install it with: pip install 'transferkit[parquet]'") from error
    header, rows = _rows(samples, [path if path.isprintable() else shown(path) for path in samples.paths])
    bad = [name for name in samples.classes if not _is_utf8(name)]
    if bad:
        raise DataError(f"the names {listed(bad)} are no UTF-8, which Parquet holds alone; convert to a folder")
    image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    schema = arrow.schema([("image", image), *((name, arrow.string()) for name in header[1:])])
    with output_path(output) as temporary, parquet.ParquetWriter(temporary, schema) as out:
        group: list[dict[str, str | dict[str, bytes | str]]] = []
        for index, (path, *others) in enumerate(rows):
            entry: dict[str, bytes | str] = {"bytes": content(samples, index), "path": path}
            group.append({"image": entry, **dict(zip(header[1:], others, strict=True))})
            if len(group) == _AT_ONCE or index == len(samples) - 1:
                out.write_table(arrow.Table.from_pylist(group, schema))
                group.clear()
            tell(index + 1, len(samples))
    return "a Parquet file with the pictures in it"


def _is_utf8(name: str) -> bool:
    try:
        return bool(name.encode("utf-8") or True)
    except UnicodeEncodeError:
        return False


@contextmanager
def _new_folder(output: Path) -> Iterator[Path]:
    """A folder that takes its name when it is whole."""
    temporary = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(output)
    except OSError as error:
        raise StorageError(f"{shown(output)} cannot be written ({reason(error)}); choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
