"""Zip archives, read in place: one look at the directory, then any entry by its offset."""

from __future__ import annotations

import bz2
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from transferkit.data.containers import kept
from transferkit.data.containers.base import Archive, EntryError
from transferkit.errors import DataError
from transferkit.file_windows import Window
from transferkit.files import atomic_path, digest
from transferkit.storage import locked
from transferkit.text import shown

_HEAD = 30  # bytes of an entry's own header, before its name
_EXTRA = 64  # bytes of further fields that an entry's header mostly stays below
_UTF8, _ENCRYPTED = 0x800, 0x1
_BLOCK = 1 << 20
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2}


class Zip(Archive):
    """Entries are kept as (offset of the header, bytes packed, bytes, method, check sum, bytes of the name)."""

    kind = "zip archive"

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name, path)
        self._proved: set[str] = set()  # entries that were read to their end where they lie
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, EOFError) as error:
            raise DataError(
                f"{name} is no whole zip archive ({error}); it may have been cut short: fetch or make it again"
            ) from error
        room = os.stat(path).st_size
        if sum(member.compress_size for member in members) > room:
            raise DataError(
                f"{name}: its entries say that they take more than its {room:,} bytes, so they overlap (a "
                "decompression bomb?); make it again"
            )
        for member in members:
            self._take(member)

    def _take(self, member: zipfile.ZipInfo) -> None:
        given = _name(member)
        if stat.S_ISLNK(member.external_attr >> 16):
            self.refuse_link(given)
        name = self.checked(given)
        if not name or member.is_dir() or given.endswith(("/", "\\")):
            return
        if member.flag_bits & _ENCRYPTED:
            raise DataError(f"{self.name} is encrypted ({shown(name)}); unpack it, and give the folder")
        self.refuse_bomb(name, member.compress_size, member.file_size)
        length = len(member.orig_filename.encode("utf-8" if member.flag_bits & _UTF8 else "cp437", "replace"))
        self.add(
            name,
            (member.header_offset, member.compress_size, member.file_size, member.compress_type, member.CRC, length),
        )

    def size(self, name: str) -> int:
        """Bytes of an entry, unpacked."""
        return self.index[name][2]

    def read(self, name: str) -> bytes:
        """The bytes of an entry, proved by its check sum."""
        offset, packed, size, method, crc, length = self.index[name]
        self.refuse_whole(size)
        raw = self.file.read(offset, _HEAD + length + _EXTRA + packed)
        start = _start(raw)
        content = raw[start : start + packed]
        if len(content) < packed:
            content = self.file.read(offset + start, packed)
        content = _unpacked(content, size, method)
        if len(content) != size or zlib.crc32(content) != crc:
            raise EntryError("is damaged (its bytes are not those the archive's check sum is of)")
        return content

    def opened(self, name: str) -> IO[bytes]:
        """An entry as a file, where it lies; of one that is packed, a copy that is unpacked once, in the cache.

        Raises DataError where it is damaged, StorageError where the copy has no room.
        """
        offset, _, size, method, _, _ = self.index[name]
        if method == zipfile.ZIP_STORED:
            if name not in self._proved:
                for _ in self._blocks(name):
                    continue
                self._proved.add(name)
            return Window.of(self.file, offset + _start(self.file.read(offset, _HEAD)), size)
        while True:
            with suppress(FileNotFoundError):  # it had to make room for others since
                return cast(IO[bytes], io.FileIO(self._copy(name)))

    def _copy(self, name: str) -> Path:
        status = os.stat(self.path)
        key = digest([os.path.realpath(self.path), status.st_size, status.st_mtime_ns, status.st_ino, name])
        target = kept.store("archives") / f"{key}.entry"
        if not target.exists():
            with locked(target.with_suffix(".lock")):
                if not target.exists():
                    with atomic_path(target) as temporary, open(temporary, "wb") as out:
                        for block in self._blocks(name):
                            kept.make_room(len(block), f"{self.name}/{shown(name)}, unpacked,")
                            out.write(block)
        kept.use(target)
        return target

    def _blocks(self, name: str) -> Iterator[bytes]:
        """An entry in pieces. Raises DataError where it is damaged, at the latest behind the last one."""
        offset, packed, size, method, crc, _ = self.index[name]
        info = zipfile.ZipInfo(name)
        info.compress_type, info.compress_size, info.file_size, info.CRC = method, packed, size, crc
        try:
            start = offset + _start(self.file.read(offset, _HEAD))
            with zipfile.ZipExtFile(Window.of(self.file, start, packed), "r", info) as unpacked:
                while block := unpacked.read(_BLOCK):
                    yield block
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, EntryError) as error:
            raise DataError(f"{self.name}/{shown(name)} is damaged ({error}); make the archive again") from error


def _start(head: bytes) -> int:
    """How far behind its own header an entry begins. Raises EntryError where there is no header."""
    if head[:4] != b"PK\3\4":
        raise EntryError("is damaged (no entry begins where the archive's directory says)")
    names, extra = struct.unpack_from("<HH", head, 26)
    return _HEAD + int(names) + int(extra)


def _name(member: zipfile.ZipInfo) -> str:
    """A name as it was meant: many programs write UTF-8 without saying so, which reads as odd Western letters."""
    if member.flag_bits & _UTF8:
        return member.orig_filename
    try:
        return member.orig_filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.orig_filename


def _unpacked(content: bytes, size: int, method: int) -> bytes:
    """At most one byte more than an entry says it has."""
    if method == zipfile.ZIP_STORED:
        return content
    if method not in _METHODS:
        raise EntryError(f"is packed by a method that is not read (number {method}); make it again with deflate")
    try:
        if method == zipfile.ZIP_BZIP2:
            return bz2.BZ2Decompressor().decompress(content, size + 1)
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
    except (zlib.error, OSError, ValueError) as error:
        raise EntryError(f"is damaged ({error})") from error
