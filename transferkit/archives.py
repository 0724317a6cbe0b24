"""Zip archives that strangers may have made (`.keras`, `.npz`): sizes are looked at before anything is unpacked.

A few megabytes of zeros unpack to gigabytes. Networks do not compress like that: Keras stores weights as they are, and
a deflated copy of them shrinks by a tenth.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

from transferkit.files import parse_json

RATIO = 10  # bytes that a byte of the file may unpack to, above the allowance
ALLOWANCE = 64 << 20
MEMBERS = 100_000
CONFIG = "config.json"  # of a .keras file: its layers, which are made before their weights are read
LARGEST_CONFIG = 64 << 20
WEIGHTS = ".h5"  # ending of the members that hold arrays


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
            if member.filename.endswith(WEIGHTS):
                found = _arrays_problem(archive, member)
                if found:
                    return found
        declared = _declared(archive) if CONFIG in archive.namelist() else 0
        if declared > _limit(size):
            return f"its {_megabytes(size)} declare weights of {_megabytes(declared)}"
    return ""


def read_member(path: Path, name: str, limit: int) -> bytes:
    """The member `name` of the archive, of at most `limit` bytes.

    Raises ValueError for a larger one, KeyError where there is none, zipfile.BadZipFile or OSError for a damaged file.
    """
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(name)
        if member.file_size > limit:
            raise ValueError(f"{name} would unpack to {_megabytes(member.file_size)}; at most {_megabytes(limit)} may")
        # No more than the directory says is ever unpacked.
        return archive.read(member)


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
        return ""  # damaged: whoever loads it says so
    if elsewhere:  # any file of the reader's machine
        return f"{member.filename} takes arrays from other files"
    if total > _limit(member.file_size):
        return f"the {_megabytes(member.file_size)} of {member.filename} would unpack to {_megabytes(total)}"
    return ""


def _declared(archive: zipfile.ZipFile) -> int:
    """Bytes of the float32 weights that the layers of a Keras model will be given, as far as their settings tell."""
    member = archive.getinfo(CONFIG)
    try:
        waiting = [parse_json(archive.read(member))] if member.file_size <= LARGEST_CONFIG else []
    except (ValueError, zipfile.BadZipFile, zlib.error):
        return 0  # damaged: whoever loads it says so
    total = 0
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            total += _weights_of(node)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return 4 * total


def _weights_of(layer: dict[str, Any]) -> int:
    """Of a dense, convolutional or embedding layer; 0 for others."""
    settings, built = layer.get("config"), layer.get("build_config")
    if not isinstance(settings, dict):
        return 0
    shape = built.get("input_shape") if isinstance(built, dict) else None
    width = _whole(shape[-1]) if isinstance(shape, list) and shape else 1
    kernel = settings.get("kernel_size")
    sides = [_whole(side) for side in kernel] if isinstance(kernel, list) else [1]
    if "input_dim" in settings and "output_dim" in settings:
        return _whole(settings["input_dim"]) * _whole(settings["output_dim"])
    if "filters" in settings and "depth_multiplier" in settings:  # separable
        return width * _whole(settings["depth_multiplier"]) * (math.prod(sides) + _whole(settings["filters"]))
    if "filters" in settings:
        return _whole(settings["filters"]) * math.prod(sides) * width // _whole(settings.get("groups", 1))
    return _whole(settings["units"]) * width if "units" in settings else 0


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 1


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """The member as a file to seek in. What is stored as it is (all that Keras writes) is not read into memory."""
    if member.compress_type != zipfile.ZIP_STORED or archive.filename is None:
        return io.BytesIO(archive.read(member))
    raw = open(archive.filename, "rb")  # noqa: SIM115 (the window closes it)
    raw.seek(member.header_offset)
    names, extra = struct.unpack("<26xHH", raw.read(30))
    return io.BufferedReader(_Window(raw, member.header_offset + 30 + names + extra, member.file_size))


class _Window(io.RawIOBase):
    """`size` bytes of an open file from `start` on, as a file of its own."""

    def __init__(self, raw: IO[bytes], start: int, size: int) -> None:
        self._raw, self._start, self._size, self._place = raw, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence])
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        self._raw.seek(self._start + self._place)
        found = self._raw.read(min(len(buffer), max(0, self._size - self._place)))
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)

    def close(self) -> None:
        self._raw.close()
        super().close()


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
