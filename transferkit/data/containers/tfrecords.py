"""TensorFlow's record files, read without TensorFlow: each record by its offset, proved by its check sum.

A record is its length, the length's check sum, the content and the content's check sum. Contents are
`tf.train.Example`s; those features that hold the bytes of picture files are entries: `feature/record`.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

from transferkit.data.containers.base import LARGEST, Derived, EntryError, numbered
from transferkit.data.containers.crc32c import masked
from transferkit.data.containers.examples import Value, features
from transferkit.errors import DataError
from transferkit.file_windows import File

HEAD = 12  # bytes before a record's content
_TAIL = 4
_BLOCK = 1 << 20
_LOOKED_AT = 20  # records, for which features are pictures
# How the picture formats that the decoder reads begin; what else is in bytes is text, or nothing for us.
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def is_record(head: bytes) -> bool:
    """Whether a file begins with a record: the check sum of its length is right."""
    if len(head) < HEAD or any(head[5:8]):  # the second: a length that no record has, without summing
        return False
    return masked(head[:8]) == int.from_bytes(head[8:HEAD], "little")


class Records(Derived):
    """The pictures of a file of Examples. Opening looks at the lengths alone."""

    kind = "TFRecord file"

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        self._file = File(path)
        self._offsets = array("Q")
        self._sizes = array("Q")
        self._index(os.stat(path).st_size)

    def __len__(self) -> int:
        return len(self._offsets)

    def _index(self, end: int) -> None:
        at, block, begun = 0, b"", 0
        while at < end:
            if not (begun <= at and at + HEAD <= begun + len(block)):
                block, begun = self._file.read(at, HEAD if self._sizes and self._sizes[-1] > _BLOCK else _BLOCK), at
            head = block[at - begun : at - begun + HEAD]
            where = f"{self.name}: record {len(self)} (at byte {at:,})"
            if len(head) < HEAD:
                raise DataError(f"{where} is cut short; fetch or make the file again")
            size, check = struct.unpack("<QI", head)
            if masked(head[:8]) != check:
                raise DataError(f"{where} is damaged (its length does not have its check sum); fetch the file again")
            if at + HEAD + size + _TAIL > end:
                raise DataError(f"{where} is cut short; fetch or make the file again")
            if size > LARGEST:
                raise DataError(f"{where} has {size:,} bytes; more than {LARGEST:,} are not read")
            self._offsets.append(at)
            self._sizes.append(size)
            at += HEAD + size + _TAIL

    @cached_property
    def pictures(self) -> tuple[str, ...]:
        """The features that hold the bytes of picture files, as the first records tell."""
        found: dict[str, None] = {}
        for record in islice(self.examples(), _LOOKED_AT):
            found |= {name: None for name, value in record.items() if is_picture(value)}
        return tuple(sorted(found))

    def examples(self) -> Iterator[dict[str, Value]]:
        """The features of every record. Raises DataError that names a damaged one."""
        for number in range(len(self)):
            try:
                yield self._example(number)
            except EntryError as error:
                raise DataError(f"{self.name}: record {number} {error}; fetch or make the file again") from error

    def _example(self, number: int) -> dict[str, Value]:
        size = self._sizes[number]
        content = self._file.read(self._offsets[number] + HEAD, size + _TAIL)
        if len(content) != size + _TAIL or masked(content[:size]) != struct.unpack_from("<I", content, size)[0]:
            raise EntryError("is damaged (its bytes are not those the file's check sum is of)")
        try:
            return features(content[:size])
        except ValueError as error:
            raise EntryError(f"holds no tf.train.Example ({error})") from error

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(f"{feature}/{number}" for feature in self.pictures for number in range(len(self)))

    def names(self) -> Collection[str]:
        """Every picture."""
        return self._names

    def has(self, name: str) -> bool:
        """Whether there is a picture of that name."""
        feature, _, text = name.rpartition("/")
        row = numbered(text)
        return row is not None and row < len(self) and feature in self.pictures

    def read(self, name: str) -> bytes:
        """The bytes of a picture, as they lie in the record."""
        if not self.has(name):
            raise KeyError(name)
        feature, _, text = name.rpartition("/")
        value = self._example(int(text)).get(feature, [])
        if len(value) != 1 or not isinstance(value[0], bytes):
            raise EntryError(f"holds {len(value)} pictures in its record, where one is read")
        if not value[0]:
            raise EntryError("is empty (0 bytes)")
        return value[0]


def is_picture(value: Value) -> bool:
    """Whether a feature holds the bytes of one picture file."""
    if len(value) != 1 or not isinstance(value[0], bytes):
        return False
    head = value[0][:12]
    return head.startswith(_STARTS) or head[4:8] == b"ftyp"
