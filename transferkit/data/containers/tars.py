"""Tar archives: the headers are read once, then any entry by its offset.

A compressed tar can only be read from its start. It is unpacked once, as one plain tar in this program's cache (never
beside the user's data), and read from there: a file of seek points would save the space, and cost every picture the
unpacking of what lies before it. `transferkit cache clear` removes it.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from transferkit.data.containers import kept
from transferkit.data.containers.base import ALLOWANCE, RATIO, Archive, EntryError
from transferkit.data.containers.tfrecords import HEAD, is_record
from transferkit.errors import DataError
from transferkit.file_windows import Window
from transferkit.files import atomic_path, digest, remove_temporaries_of
from transferkit.storage import locked
from transferkit.text import shown

_BLOCK = 1 << 20
GZIP, BZIP2, XZ, ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
# What unpackers raise on damage, beside OSError.
_DAMAGE = (EOFError, lzma.LZMAError, zlib.error, ValueError)


class Tar(Archive):
    """Entries are kept as (offset, bytes)."""

    kind = "tar archive"

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name, path)
        size = os.stat(path).st_size
        try:
            with tarfile.open(path, mode="r:", errorlevel=2) as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # or all of them stay in memory
                    self._take(member, size)
        except (tarfile.TarError, *_DAMAGE) as error:
            raise DataError(f"{name} is no whole tar archive ({error}); fetch or make it again") from error

    def _take(self, member: tarfile.TarInfo, size: int) -> None:
        if member.issym() or member.islnk():
            self.refuse_link(member.name)
        name = self.checked(member.name)
        if member.isdir() or not name:
            return
        if not member.isreg() or member.issparse():
            self.refuse_link(member.name, "what is no plain file")
        self.refuse_bomb(name, member.size, member.size)
        if member.offset_data + member.size > size:
            raise DataError(f"{self.name} is cut short within {shown(name)}; fetch or make it again")
        self.add(name, (member.offset_data, member.size))

    def size(self, name: str) -> int:
        """Bytes of an entry."""
        return self.index[name][1]

    def read(self, name: str) -> bytes:
        """The bytes of an entry."""
        offset, size = self.index[name]
        self.refuse_whole(size)
        content = self.file.read(offset, size)
        if len(content) != size:
            raise EntryError("is cut short (the archive became smaller)")
        return content

    def opened(self, name: str) -> IO[bytes]:
        """An entry as a file, where it lies."""
        return Window.of(self.file, *self.index[name])


def plain(path: Path, head: bytes) -> Path:
    """A tar or TFRecord file without its compression, which is undone once, into the cache.

    Args:
        path: of the file.
        head: its first bytes.

    Returns:
        `path` where it is not compressed, or no such file; else the plain one in the cache.

    Raises:
        DataError: the archive is damaged, or would unpack to far more than its size.
        StorageError: the disk or the cache is full.
    """
    if not head.startswith((GZIP, BZIP2, XZ, ZSTD)):
        return path
    status = os.stat(path)
    key = digest([os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ino])
    target = kept.store("archives") / f"{key}.tar"
    if not target.exists():
        if not _is_worth_it(path, head):
            return path
        with locked(target.with_suffix(".lock")):
            if not target.exists():
                remove_temporaries_of(target)  # of a process that was killed
                _unpack(path, head, target, ALLOWANCE + RATIO * status.st_size)
    kept.use(target)
    return target


def _is_worth_it(path: Path, head: bytes) -> bool:
    """By its name or its first bytes: other packed files (`labels.csv.gz`) are not worth a copy in the cache."""
    if re.search(r"\.(tar|tgz|tbz2?|txz|tzst)\b", path.name, re.I):
        return True
    inside = next(_blocks(path, head), b"")
    return inside[257:262] == b"ustar" or is_record(inside[:HEAD])


def _unpack(path: Path, head: bytes, target: Path, most: int) -> None:
    with atomic_path(target) as temporary, open(temporary, "wb") as out:
        written = 0
        for block in _blocks(path, head):
            written += len(block)
            if written > most:
                raise DataError(
                    f"{shown(path)} would unpack to more than {most:,} bytes (a decompression bomb?); no archive of "
                    "pictures does. Make it again as a plain .tar, or give the folder"
                )
            kept.make_room(len(block), f"{shown(path)}, unpacked,")
            out.write(block)


def _blocks(path: Path, head: bytes) -> Iterator[bytes]:
    try:
        with _opened(path, head) as handle:
            while block := handle.read(_BLOCK):
                yield block
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(f"{shown(path)} cannot be unpacked to its end ({error}); fetch or make it again") from error


def _opened(path: Path, head: bytes) -> IO[bytes]:
    if head.startswith(GZIP):
        return cast(IO[bytes], gzip.open(path))
    if head.startswith(BZIP2):
        return bz2.open(path)
    if head.startswith(XZ):
        return lzma.open(path)
    try:
        zstandard: Any = importlib.import_module("zstandard")
    except ImportError as error:
        raise DataError(
            f"{shown(path)} is packed with Zstandard; install the reader with: pip install 'transferkit[zstd]'"
        ) from error
    opened: IO[bytes] = zstandard.open(path, "rb")
    return opened
