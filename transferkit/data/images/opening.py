"""Opening picture files safely: what may be opened, what a file's head says, and errors that name the file.

Nothing here decodes pixels. A pipe or device is refused before it is opened, so that nothing hangs.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Literal, cast

from PIL import Image

from transferkit.data.containers.base import EntryError
from transferkit.data.containers.places import at_once, open_file, part_of, unreadable_reason
from transferkit.data.images import reading, tiff_pages
from transferkit.data.images.reading import DAMAGE, MAX_PIXELS, NO_HEIC, ReadingError, orientation_of, sniff
from transferkit.errors import DataError
from transferkit.text import shown

__all__ = [
    "MAX_PIXELS", "Fault", "Header", "PictureError", "header_in", "identify", "named", "opened", "orientation_of",
    "read_header", "sniff",
]  # fmt: skip
Fault = Literal["unreadable", "empty", "not_a_picture", "unsupported", "too_large", "damaged"]


class PictureError(DataError):
    """One picture that cannot be used: `path` (printable), `reason`, and its `kind` for the audit."""

    def __init__(self, path: str, reason: str, kind: Fault = "damaged") -> None:
        super().__init__(path, reason, kind)
        self.path = path
        self.reason = reason
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Header:
    """What the head of a picture file says: size (width, height) as stored, Pillow's mode and format, and how many
    frames there are, 0 where damage keeps them from being counted.
    """

    size: tuple[int, int]
    mode: str
    format: str
    frames: int
    orientation: int


def read_header(source: os.PathLike[str]) -> Header:
    """Size, mode, format, frames and orientation of a file; only a PNG is decoded for it. Raises PictureError."""
    name = shown(source)
    with opened(source, name) as handle:
        return header_in(handle, name)


def header_in(handle: IO[bytes], name: str) -> Header:
    """What the head of an open picture file says.

    Args:
        handle: of the file, at any place.
        name: for errors, printable.

    Raises:
        PictureError: it is no picture, or too large.
    """
    image = identify(handle, name)
    if image.format == "PNG":  # which may tell its orientation behind the pixels
        with suppress(*DAMAGE):
            image.load()
    orientation = orientation_of(image)
    frames = 0
    with suppress(*DAMAGE):
        uncounted = image.format == "TIFF" and tiff_pages.too_much(handle)
        frames = 0 if uncounted else int(getattr(image, "n_frames", 1))
    return Header(image.size, image.mode, str(image.format), frames, orientation)


@contextmanager
def opened(path: os.PathLike[str], name: str) -> Iterator[IO[bytes]]:
    """The file at a path, opened for reading, and closed afterwards.

    Args:
        path: on the disk or inside of a container; a part (a page, a box) opens its file.
        name: for errors, printable.

    Raises:
        PictureError: whatever the reason.
    """
    part = part_of(path)
    path = path if part is None else part[0]
    content = at_once(path)
    if content is not None:
        with io.BytesIO(content) as handle:
            yield handle
        return
    with _opened(path, name) as handle:
        yield handle


def _opened(path: os.PathLike[str], name: str) -> IO[bytes]:
    """A file that cannot be read at once, open. Raises PictureError with the reason where it cannot be read at all."""
    reason = unreadable_reason(path)
    if reason is not None:
        raise PictureError(name, reason, "empty" if "0 bytes" in reason else "unreadable")
    try:
        return open_file(path)
    except EntryError as error:
        raise PictureError(name, str(error), "damaged") from error
    except OSError as error:
        raise PictureError(name, f"cannot be opened ({error.strerror or error})", "unreadable") from error


def identify(handle: IO[bytes], name: str) -> Image.Image:
    """Open by content and check the size; nothing is decoded yet.

    Args:
        handle: of the file, at any place.
        name: for errors, printable.

    Raises:
        PictureError: it is no picture, or too large.
    """
    with named(name):
        return reading.identify(handle)


@contextmanager
def named(name: str) -> Iterator[None]:
    """What is refused within is refused as one picture.

    Args:
        name: the picture's, printable.

    Raises:
        PictureError: in place of a ReadingError.
    """
    try:
        yield
    except ReadingError as error:
        reason = NO_HEIC.replace("pillow-heif>=0.16", "transferkit[heic]") if error.reason == NO_HEIC else error.reason
        raise PictureError(name, reason, cast(Fault, error.kind)) from error
