"""The straight way to the pixels of ordinary JPEGs: what Pillow would give, bit for bit, in half the time.

libjpeg-turbo is called on the bytes directly (simplejpeg), without Pillow's blocks of 64 kB, its fourth channel and
the copy out of it. Anything out of the ordinary (colour spaces other than YCbCr and grey, damage, warnings of the
library) is left to Pillow, so that there is one set of rules and one set of messages.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from typing import IO

import numpy as np

from transferkit.data.images.decode_settings import DecodeSettings
from transferkit.data.images.memory import BUFFERED, MEMORY, SMALL
from transferkit.data.images.opening import identify
from transferkit.data.images.reading import MAX_PIXELS, draft_scale, orientation_of
from transferkit.data.samples import Pixels

MAX_BYTES = 64 << 20  # larger files are read piece by piece, by Pillow
_APP1, _START_OF_SCAN = 0xE1, 0xDA
_SEQUENTIAL = (0xC0, 0xC1)  # frames whose rows are told one after the other
_LARGEST = 1 << 24  # bytes kept for the next picture
_kept = threading.local()


def straight(handle: IO[bytes], name: str, settings: DecodeSettings) -> Pixels | None:
    """The upright pixels of an ordinary JPEG, as `decode.picture_in` gives them.

    Args:
        handle: of the file, at its start.
        name: for errors, printable.
        settings: by whose size it may be decoded at a reduced scale.

    Returns:
        uint8 [h, w, 3], valid until the next call on the same thread; None for all else.

    Raises:
        PictureError: it is damaged.
    """
    if handle.read(3) != b"\xff\xd8\xff" or handle.seek(0, os.SEEK_END) > MAX_BYTES:
        return None
    handle.seek(0)
    content = handle.read()
    size = size_of(content)
    if size is None:
        return None
    scale = draft_scale(size, settings.size, settings.resize)
    area = size[0] * size[1]
    if (3 + BUFFERED) * area > SMALL:
        MEMORY.take(3 * area // scale**2 + (0 if in_one_scan(content) else BUFFERED * area))
    found = pixels(content, size, scale)
    if found is None or not may_be_turned(content):
        return found
    return _turned(found, orientation_of(identify(io.BytesIO(content), name)))


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """What Pillow's `transpose` by `reading.ORIENTATIONS` does, for arrays."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def may_be_turned(content: bytes) -> bool:
    """Whether a JPEG has a segment that may tell an orientation (EXIF and XMP lie in APP1), wherever before its pixels;
    True also where its segments cannot be followed.
    """
    for marker, _ in _segments(content):
        if marker in (_APP1, _START_OF_SCAN):
            return marker == _APP1
    return True


def in_one_scan(content: bytes) -> bool:
    """Whether the pixels come row by row, so that libjpeg keeps a few rows; else it keeps the whole picture, at full
    scale. False also where the segments cannot be followed.
    """
    channels = 0
    for marker, at in _segments(content):
        if marker in _SEQUENTIAL:
            channels = content[at + 9] if at + 9 < len(content) else 0
        if marker == _START_OF_SCAN:
            return 0 < channels == content[at + 4]
    return False


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment, as far as they can be followed."""
    at = 2
    while content[at : at + 1] == b"\xff" and at + 4 < len(content):
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD9:  # markers without a length
            at += 2
        else:
            yield marker, at
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")


def size_of(content: bytes) -> tuple[int, int] | None:
    """(width, height) of an ordinary JPEG; None for anything else."""
    import simplejpeg  # type: ignore[import-untyped]

    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(content)
    except (ValueError, RuntimeError):
        return None
    ordinary = space in ("YCbCr", "Gray") and 0 < width * height <= MAX_PIXELS
    return (width, height) if ordinary else None


def pixels(content: bytes, size: tuple[int, int], scale: int) -> Pixels | None:
    """The pixels of an ordinary JPEG.

    Args:
        content: the bytes of the file.
        size: its width and height in pixels, as its head says.
        scale: 1, 2, 4 or 8: the fraction of `size` to decode at.

    Returns:
        uint8 [h, w, 3], valid until the next call on the same thread: the memory is used again. None where Pillow has
        to look.
    """
    import simplejpeg

    width, height = (-(-side // scale) for side in size)
    try:
        # `strict`, the default: every warning of the library is an error. Pillow then decides how bad it is.
        found: Pixels = simplejpeg.decode_jpeg(
            content, min_height=size[1] // scale, min_width=size[0] // scale, min_factor=scale,
            buffer=_buffer(width * height * 3),
        )  # fmt: skip
    except (ValueError, RuntimeError):
        return None
    return found if found.shape == (height, width, 3) else None


def _buffer(size: int) -> Pixels:
    """Memory of this thread. Asking the system for it again costs a fifth of the time of a small picture."""
    kept: Pixels | None = getattr(_kept, "buffer", None)
    if kept is None or len(kept) < size:
        kept = np.empty(size, np.uint8)
        if size <= _LARGEST:
            _kept.buffer = kept
    return kept
