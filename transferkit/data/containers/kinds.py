"""Which container a file is, by its first bytes. Each is opened and indexed once in a process; a changed one again."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import OrderedDict
from functools import partial
from pathlib import Path

from transferkit.data.containers import films, kept, pixels, plugged_pictures, tfrecords
from transferkit.data.containers.base import Archive, Container
from transferkit.data.containers.parquet import ARROW, PARQUET, ParquetRows
from transferkit.data.containers.tars import Tar, plain
from transferkit.data.containers.zips import Zip
from transferkit.errors import DataError
from transferkit.text import shown

_HEAD = 512
_MOST_OPEN = 64
_open: OrderedDict[str, tuple[tuple[int, ...], Container | None]] = OrderedDict()
_lock = threading.RLock()
# Containers by path, and when each was last found unchanged: what is read often is not looked at before every entry.
_opened_before: dict[str, tuple[Container, float]] = {}
_TRUSTED = 0.25  # seconds; what is read meanwhile comes from the file that was opened


def container(path: str | os.PathLike[str]) -> Container | None:
    """The container that the file at `path` is, or None. Raises DataError for one that is damaged or means harm."""
    name = os.fspath(path)
    try:
        status = os.stat(name)
    except (OSError, ValueError):
        _opened_before.pop(name, None)
        return None
    if not stat.S_ISREG(status.st_mode):
        _opened_before.pop(name, None)
        return None
    key = (status.st_size, status.st_mtime_ns, status.st_ino)
    with _lock:
        known = _open.get(name)
        if known is None or known[0] != key:
            known = (key, _opened(Path(name)))
            if known[1] is not None:
                kept.hold(Path(name), known[1])
            _open[name] = known
            while len(_open) > _MOST_OPEN:
                _opened_before.pop(_open.popitem(last=False)[0], None)
        _open.move_to_end(name)
    if known[1] is not None:
        _opened_before[name] = (known[1], time.monotonic())
    return known[1]


def opened_before(path: str | os.PathLike[str]) -> tuple[Container, str] | None:
    """The container that is open already and that `path` leads into, and the entry; None where there is none."""
    if not _opened_before:
        return None
    name = os.fspath(path)
    at = name.rfind(os.sep)
    while at > 0:
        found = _opened_before.get(name[:at])
        if found is not None:
            holder = found[0] if time.monotonic() - found[1] < _TRUSTED else container(name[:at])
            rest = name[at + 1 :] if os.sep == "/" else name[at + 1 :].replace(os.sep, "/")
            return (holder, rest) if holder is not None and holder.has(rest) else None
        at = name.rfind(os.sep, 0, at)
    return None


def nested(holder: Container, entry: str, name: str) -> Container | None:
    """The file of arrays, or the film, that an entry of a container is; opened once and kept with the container.

    Args:
        holder: the container.
        entry: its name inside.
        name: the entry's whole path, for errors.

    Returns:
        A container of its pictures, or None where it is no such file.

    Raises:
        DataError: it is damaged.
    """
    with _lock:
        if entry not in holder.nested:
            if isinstance(holder, Archive) and films.is_film(entry):
                holder.nested[entry] = _film_in(holder, entry, name)
            else:
                content = holder.read(entry)
                holder.nested[entry] = _arrays(Path(name), content[:_HEAD], content)
        return holder.nested[entry]


def _film_in(holder: Archive, entry: str, name: str) -> films.Film:
    start = partial(holder.opened, entry)
    with start() as handle:
        head = handle.read(_HEAD)
    return films.Film(Path(name), head, start)


def _opened(path: Path) -> Container | None:
    try:
        head = _head(path)
        arrays = _arrays(path, head)
        if arrays is not None:
            return arrays
        if films.is_film(path.name):
            return films.Film(path, head)
        if head[:2] == b"PK":
            return Zip(shown(path), path)
        if head[:4] == PARQUET or head[:6] == ARROW or (path.suffix.lower() in (".arrow", ".feather") and head):
            return ParquetRows(path)
        there = plain(path, head)
        if there != path:
            head = _head(there)
        found: Container | None = None
        if tfrecords.is_record(head):
            found = tfrecords.Records(shown(path), there)
        elif head[257:262] == b"ustar" or path.suffix.lower() == ".tar":
            found = Tar(shown(path), there)
        if found is not None and there != path:
            kept.hold(there, found)
            found.notes.append(f"{shown(path.name)} is read from a copy unpacked in the cache ({there.parent})")
        if found is not None:
            return found
    except PermissionError as error:
        raise DataError(f"{shown(path)} may not be read (no permission)") from error
    return plugged_pictures.container(path)


def _arrays(path: Path, head: bytes, content: bytes | None = None) -> Container | None:
    """The pictures of a file of arrays; `content` of one that lies inside an archive."""
    name = shown(path)
    if path.suffix.lower() == ".npz":
        return pixels.Arrays(name, pixels.npz(path, content))
    if head.startswith(pixels.NPY):
        return pixels.Arrays(name, pixels.npy(path, content))
    packed = head.startswith(pixels.GZIP) and "ubyte" in path.name.lower()
    if packed or pixels.is_idx(head):
        content = pixels.unpacked(path, content)
        return pixels.Arrays(name, pixels.idx(name, content, "images")) if pixels.is_idx(content[:8]) else None
    if head[:1] == pixels.PICKLE and b"\2" <= head[1:2] <= b"\5":
        return pixels.Arrays(name, pixels.cifar(name, path.read_bytes() if content is None else content))
    return None


def _head(path: Path) -> bytes:
    with open(path, "rb") as handle:
        return handle.read(_HEAD)
