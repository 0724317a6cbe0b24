"""JPEG XL: the reader is looked for, and a file's size is read from its head (ISO/IEC 18181-1, 18181-2).

The reader unpacks all pixels as soon as a file is opened, which is too late to refuse a decompression bomb.
"""

from __future__ import annotations

import importlib
import os
import struct
from typing import IO

CODESTREAM, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_BITS = (9, 13, 18, 30)
_MOST_BOXES = 1000
_HEAD = 16  # bytes in which the size is told


class JxlError(Exception):
    """What keeps a file from being read; `kind` is as `reading.ReadingError` has it."""

    def __init__(self, reason: str, kind: str = "damaged") -> None:
        super().__init__(reason)
        self.kind = kind


def check(handle: IO[bytes], most: int) -> None:
    """Make Pillow know JPEG XL, and look how large a file is.

    Args:
        handle: the open file.
        most: pixels that it may have.

    Raises:
        JxlError: there is no reader, the file is larger, or its head is damaged.
    """
    try:
        importlib.import_module("pillow_jxl")
    except ImportError as error:
        raise JxlError("is JPEG XL; install the reader with: pip install 'transferkit[jxl]'", "unsupported") from error
    width, height = size_of(handle)
    if width * height > most:
        told = f"has more than {most:,} pixels (a decompression bomb?); scale it down to use it"
        raise JxlError(told, "too_large")
    handle.seek(0)


def size_of(handle: IO[bytes]) -> tuple[int, int]:
    """Width and height that a file tells of.

    Args:
        handle: the open file.

    Raises:
        JxlError: it tells none.
    """
    handle.seek(_start(handle))
    head = handle.read(_HEAD)
    if head[:2] != CODESTREAM or len(head) < 4:
        raise JxlError("has a damaged JPEG XL header")
    return _sides(_Bits(head[2:]))


def _sides(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if not ratio:
        return _side(bits, small), height
    over, under = _RATIOS[ratio - 1]
    return height * over // under, height


def _side(bits: _Bits, small: int) -> int:
    return (bits.take(5) + 1) * 8 if small else bits.take(_BITS[bits.take(2)]) + 1


class _Bits:
    """Bits in their order, the lowest of a byte first."""

    def __init__(self, content: bytes) -> None:
        self._left = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        """The number that the next bits make."""
        found = self._left & ((1 << count) - 1)
        self._left >>= count
        return found


def _start(handle: IO[bytes]) -> int:
    """Where the codestream begins: at once, or in a box of a container."""
    handle.seek(0)
    if handle.read(len(CONTAINER)) != CONTAINER:
        return 0
    end, at = handle.seek(0, os.SEEK_END), 0
    for _ in range(_MOST_BOXES):
        handle.seek(at)
        head = handle.read(16)
        if len(head) < 8:
            break
        size, kind = struct.unpack(">I4s", head[:8])
        inside = 8
        if size == 1 and len(head) == 16:
            size, inside = struct.unpack(">Q", head[8:])[0], 16
        if kind in (b"jxlc", b"jxlp"):  # a part begins with its number
            return at + inside + (4 if kind == b"jxlp" else 0)
        if size < inside or at + size > end:  # 0: to the end
            break
        at += size
    raise JxlError("has a damaged JPEG XL header")
