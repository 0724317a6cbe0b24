"""Files of arrays → samples: `.npz` and `.npy` beside their labels, MNIST's IDX files, CIFAR's batches.

What labels mean follows the rules for arrays in memory (`arrays`); pictures stay in their files and are read as needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from transferkit.data.containers import places
from transferkit.data.containers.pixels import Arrays
from transferkit.data.readers.arrays import scan_arrays
from transferkit.data.readers.exported import files_of, folders_of
from transferkit.data.readers.layouts import split_name
from transferkit.data.readers.request import Request
from transferkit.data.samples import Part, Samples, listed, shown
from transferkit.errors import DataError

_BATCH = re.compile(r"data_batch_\d+|test_batch|train|test")
_IDX = re.compile(r"(?P<part>train|t10k|test|val|[\w-]*)[-.]images[-.]idx[34]-ubyte(\.gz)?", re.I)
_NAMES = ("class_names", "classes", "label_names", "target_names", "fine_label_names", "names")
_LABELS = ("fine_labels", "labels", "label", "y", "target", "targets", "classes", "class", "arr_1")


@dataclass(frozen=True)
class ArrayGroup:
    """One array of pictures with its labels: `prefix` leads to it from the source, and `names` name its rows."""

    names: tuple[str, ...]
    pictures: Any
    labels: Any
    part: Part | None
    classes: Sequence[str] | None


def detect(path: Path) -> float:
    """1 for a file of arrays, or a folder of MNIST's or CIFAR's files."""
    if path.is_file():
        suffixes = path.suffix.lower() in (".npz", ".npy") or _IDX.fullmatch(path.name)
        return 1.0 if suffixes or _is_batch_file(path) else 0.9 if _inner(path) else 0.0
    return 0.9 if places.is_folder(path) and (_idx_files(path) or _batches(path)) else 0.0


def read(source: Path, request: Request) -> Samples:
    """Samples of every picture in files of arrays.

    Args:
        source: a file, or a folder of them.
        request: see `source.scan`.

    Raises:
        DataError: no array holds pictures, or the labels do not fit them.
    """
    groups = list(_groups(source))
    if not groups:
        raise DataError(
            f"{shown(source)} holds no array of pictures: uint8 of shape [n, height, width, 3] or [n, height, width]"
        )
    names = [name for group in groups for name in group.names]
    pictures = [picture for group in groups for picture in group.pictures]
    labels = [np.asarray(group.labels) for group in groups]
    if len({(label.ndim, label.shape[1:]) for label in labels}) > 1:
        raise DataError(f"{shown(source)}: the labels have different shapes: {listed([list(y.shape) for y in labels])}")
    classes = next((group.classes for group in groups if group.classes), None)
    if classes and request.classes and set(classes) == set(request.classes):
        # Numbers are those of the file's own order of names.
        labels = [np.asarray(classes)[y.reshape(-1)] if y.dtype.kind in "iu" else y for y in labels]
        classes = None
    data = (pictures, np.concatenate(labels), *([classes] if classes else []))

    def excluded(place: str, label: str | None) -> bool:
        return request.excluded(names[int(place[6:-1])], label)

    found = scan_arrays(data, request.task, excluded, request.classes)
    rows = [int(place[6:-1]) for place in found.paths]
    several = len({group.part for group in groups}) > 1  # one split alone is none
    parts = [group.part if several else None for group in groups for _ in group.names]
    return replace(
        found, root=source, paths=tuple(names[row] for row in rows), split=tuple(parts[row] for row in rows),
        pixels=None, origin=str(source), reader={"said": [_said(groups)]},
    )  # fmt: skip


def _said(groups: Sequence[ArrayGroup]) -> str:
    filled = [group for group in groups if group.names]
    places_of = [
        shown(group.names[0].rpartition("/")[0]) + (f" ({group.part})" if group.part else "") for group in filled
    ]
    return f"pictures of {listed(places_of)}"


def _groups(source: Path) -> Iterator[ArrayGroup]:
    inner = _inner(source)
    if source.is_file() and not inner:
        yield from _of_file(source, "")
        return
    folder = source / inner
    prefix = "" if folder == source else f"{inner}/"
    for name in _idx_files(folder) or _batches(folder):
        yield from _of_file(folder / name, f"{prefix}{name}/")


def _inner(source: Path) -> str:
    """The folder of an archive that holds CIFAR's batches or MNIST's files, `.` for its top; empty for all else."""
    if not places.is_folder(source) or source.is_dir():
        return ""
    if _idx_files(source) or _batches(source):
        return "."
    return next((name for name in folders_of(source) if _batches(source / name) or _idx_files(source / name)), "")


def _idx_files(folder: Path) -> list[str]:
    return [name for name in files_of(folder) if _IDX.fullmatch(name)]


def _batches(folder: Path) -> list[str]:
    """CIFAR's batches, which lie beside a file of names."""
    names = files_of(folder)
    return [name for name in names if _BATCH.fullmatch(name)] if {"batches.meta", "meta"} & set(names) else []


def _is_batch_file(path: Path) -> bool:
    return bool(_BATCH.fullmatch(path.name)) and path.name in _batches(path.parent)


def _of_file(path: Path, prefix: str) -> Iterator[ArrayGroup]:
    holder = places.opened(path)
    if not isinstance(holder, Arrays):
        raise DataError(f"{shown(path)} is no file of arrays")
    arrays = dict(holder.arrays)
    if _IDX.fullmatch(path.name):
        arrays["labels"] = _idx_labels(path)
    classes = _class_names(path, arrays)
    for key, labels in _paired(path, holder, arrays):
        part = _part(key) or _part(path.name)
        names = tuple(f"{prefix}{holder.name_of(key, row)}" for row in range(len(holder.pictures[key])))
        yield ArrayGroup(names, holder.pictures[key], labels, part, classes)


def _part(name: str) -> Part | None:
    """The split that a name mentions."""
    if name.startswith("t10k"):
        return "test"
    found = {part for token in re.split(r"[^a-zA-Z]+", name) if (part := split_name(token))}
    return found.pop() if len(found) == 1 else "train" if name.startswith("data_batch") else None


def _idx_labels(path: Path) -> Any:
    name = re.sub("images", "labels", path.name, flags=re.I)
    name = re.sub(r"idx[34]", "idx1", name)
    other = name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz"
    for candidate in (name, other):
        holder = places.opened(path.parent / candidate)
        if isinstance(holder, Arrays):
            return holder.arrays["images"]
    raise DataError(f"{shown(path)}: its labels are to lie beside it, in {shown(name)}; fetch that file too")


def _class_names(path: Path, arrays: dict[str, Any]) -> list[str] | None:
    for name in _NAMES:
        value = arrays.get(name)
        if value is not None and np.asarray(value).ndim == 1 and np.asarray(value).dtype.kind in "USO":
            return [item.decode() if isinstance(item, bytes) else str(item) for item in np.asarray(value).tolist()]
    for beside in ("batches.meta", "meta"):
        if _BATCH.fullmatch(path.name) and isinstance(holder := places.opened(path.parent / beside), Arrays):
            return _class_names(path.parent / "", {k: v for k, v in holder.arrays.items() if k in _NAMES})
    return None


def _paired(path: Path, holder: Arrays, arrays: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each array of pictures and its labels: as many, and of the same split by name where there are several."""
    pictures = holder.pictures
    others = {key: value for key, value in arrays.items() if key not in pictures and _is_labels(value)}
    scaled = [k for k, v in arrays.items() if isinstance(v, np.ndarray) and v.ndim in (3, 4) and v.dtype.kind == "f"]
    if not pictures and scaled:
        raise DataError(
            f"{shown(path)}: '{shown(scaled[0])}' is {arrays[scaled[0]].dtype}; pictures are uint8 0–255: save "
            "(x * 255).round().astype('uint8') for 0–1, x.astype('uint8') for 0–255"
        )
    for key, value in pictures.items():
        same = [k for k, y in others.items() if len(y) == len(value) and (_part(k) == _part(key) or len(pictures) == 1)]
        usual = [
            k for k in _LABELS for s in same if s == k or s.startswith(f"{k}_") or s.endswith(f"_{k}") for k in [s]
        ]
        chosen = same if len(same) == 1 else list(dict.fromkeys(usual))[:1]
        if not chosen:
            has = listed([f"{k} {list(np.shape(v))}" for k, v in arrays.items()])
            raise DataError(
                f"{shown(path)}: no labels are found for the {len(value)} pictures of '{shown(key)}'; save both with "
                f"numpy.savez(file, x=pictures, y=labels). It holds: {has}"
            )
        yield key, others[chosen[0]]


def _is_labels(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray | list) and np.ndim(value) in (1, 2) and np.asarray(value).dtype.kind in "iufbUSO"
    )
