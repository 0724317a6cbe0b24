"""Zip archives, read in place: one look at the directory, then any entry by its offset."""

from __future__ import annotations

import bz2
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from transferkit.data.containers.base import Archive, EntryError
from transferkit.errors import DataError
from transferkit.text import shown

_HEAD = 30  # bytes of an entry's own header, before its name
_EXTRA = 64  # bytes of further fields that an entry's header mostly stays below
_UTF8, _ENCRYPTED = 0x800, 0x1
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2}


class Zip(Archive):
    """Entries are kept as (offset of the header, bytes packed, bytes, method, check sum, bytes of the name)."""

    kind = "zip archive"

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name, path)
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
        raw = self.file.read(offset, _HEAD + length + _EXTRA + packed)
        if raw[:4] != b"PK\3\4":
            raise EntryError("is damaged (no entry begins where the archive's directory says)")
        names, extra = struct.unpack_from("<HH", raw, 26)
        start = _HEAD + names + extra
        content = raw[start : start + packed]
        if len(content) < packed:
            content = self.file.read(offset + start, packed)
        content = _unpacked(content, size, method)
        if len(content) != size or zlib.crc32(content) != crc:
            raise EntryError("is damaged (its bytes are not those the archive's check sum is of)")
        return content


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
