"""Zip archives that strangers may have made (`.keras`, `.npz`): sizes are looked at before anything is unpacked.

A few megabytes of zeros unpack to gigabytes. Networks do not compress like that: Keras stores weights as they are, and
a deflated copy of them shrinks by a tenth.
"""

from __future__ import annotations

import io
import math
import struct
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from transferkit.file_windows import File, Window
from transferkit.storage import own_temporaries
from transferkit.text import shown

RATIO = 10  # bytes that a byte of the file may unpack to, above the allowance
ALLOWANCE = 64 << 20
MEMBERS = 100_000
WEIGHTS = ".h5"  # ending of the members that hold arrays
FIRST = 315_619_200.0  # seconds of `time.time` on 1980-01-02: zip archives know no day before 1980, in any time zone
_loading = threading.RLock()


def problem(source: Path | IO[bytes]) -> str:
    """Why the archive must not be unpacked, in words; empty where it may be. Unpacks nothing but its directory.

    Raises zipfile.BadZipFile for what is no archive, OSError for what cannot be read.
    """
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        size = _size(archive)
        if len(members) > MEMBERS:
            return f"it holds {len(members):,} members"
        claimed = sum(member.file_size for member in members)
        if claimed > _limit(size):
            return f"its {_megabytes(size)} would unpack to {_megabytes(claimed)}"
        for member in members:
            if _leads_out(member.filename):
                return f"it holds a member with the name {shown(member.filename[:100])}"
            if member.filename.endswith(WEIGHTS):
                found = _arrays_problem(archive, member)
                if found:
                    return found
    return ""


def read_member(path: Path, name: str, limit: int) -> bytes:
    """A member of a zip archive.

    Args:
        path: the archive.
        name: the member's.
        limit: bytes that it may have at most.

    Raises:
        ValueError: it is larger.
        KeyError: there is none.
        zipfile.BadZipFile, OSError: the file is damaged or cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(name)
        if member.file_size > limit:
            raise ValueError(f"{name} would unpack to {_megabytes(member.file_size)}; at most {_megabytes(limit)} may")
        # No more than the directory says is ever unpacked.
        return archive.read(member)


@contextmanager
def dated() -> Iterator[None]:
    """Inside, zip archives are written under any clock: one that was never set says 1970, and they cannot hold that.

    One thread at a time.
    """
    if time.time() >= FIRST:
        yield
        return
    ours = SimpleNamespace(time=time.time, localtime=lambda seconds=0.0: time.localtime(max(FIRST, seconds)))
    before, zipfile.time = zipfile.time, ours  # type: ignore[attr-defined]
    try:
        yield
    finally:
        zipfile.time = before  # type: ignore[attr-defined]


@contextmanager
def bounded(path: Path) -> Iterator[None]:
    """A Keras model that is loaded from `path` inside this block makes no more weights than such a file can hold.

    Keras makes the weights of all layers before it reads any, of the sizes that the layers' settings say. Raises
    ValueError, before the first that is too much. One thread at a time. Temporary files of it are gone afterwards.
    """
    import keras

    size, made, add = path.stat().st_size, 0, keras.layers.Layer.add_weight

    def counted(self: Any, shape: Any = None, *others: Any, **more: Any) -> Any:
        nonlocal made
        made += 4 * math.prod(shape if isinstance(shape, list | tuple) else [shape or 1])
        if made > _limit(size):
            raise ValueError(_declared(size, made))
        return add(self, shape, *others, **more)

    with _loading, own_temporaries():
        keras.layers.Layer.add_weight = counted
        try:
            yield
        except Exception as error:
            if made > _limit(size):  # Keras may have wrapped it
                raise ValueError(_declared(size, made)) from error
            raise
        finally:
            keras.layers.Layer.add_weight = add


def _declared(size: int, made: int) -> str:
    return f"its {_megabytes(size)} declare weights of {_megabytes(made)} or more, which no network does"


def _leads_out(name: str) -> bool:
    """Whether a member would lie outside the folder it is unpacked to, or its name would do something to a terminal."""
    return name.startswith("/") or "\\" in name or ".." in name.split("/") or not name.isprintable()


def _arrays_problem(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    """HDF5 compresses by itself, and keeps arrays that were never written in no space at all."""
    import h5py

    total, elsewhere = 0, False

    def add(_: str, item: Any) -> None:
        nonlocal total, elsewhere
        if isinstance(item, h5py.Dataset):
            total += int(item.nbytes)
            elsewhere |= bool(item.external) or bool(item.is_virtual)

    try:
        with h5py.File(_content(archive, member), "r") as content:
            content.visititems(add)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, struct.error, zipfile.BadZipFile):
        return ""  # damaged: loading it says so
    if elsewhere:  # any file of the reader's machine
        return f"{member.filename} takes arrays from other files"
    if total > _limit(member.file_size):
        return f"the {_megabytes(member.file_size)} of {member.filename} would unpack to {_megabytes(total)}"
    return ""


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """The member as a file to seek in. What is stored as it is (all that Keras writes) is not read into memory."""
    if member.compress_type != zipfile.ZIP_STORED or archive.filename is None:
        return io.BytesIO(archive.read(member))
    file = File(Path(archive.filename))
    names, extra = struct.unpack("<26xHH", file.read(member.header_offset, 30))
    return io.BufferedReader(Window(file, member.header_offset + 30 + names + extra, member.file_size))


def _size(archive: zipfile.ZipFile) -> int:
    assert archive.fp is not None
    place = archive.fp.tell()
    size = archive.fp.seek(0, io.SEEK_END)
    archive.fp.seek(place)
    return size


def _limit(size: int) -> int:
    return ALLOWANCE + RATIO * size


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
