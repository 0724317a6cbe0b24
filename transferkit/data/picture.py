"""Opening picture files safely: what a file is by its content, how large it is, and why it is refused.

Nothing here decodes pixels. A pipe or device is refused before it is opened, so that nothing hangs.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from PIL import Image, UnidentifiedImageError

from transferkit.data.samples import shown, unreadable_reason
from transferkit.errors import DataError

Fault = Literal["unreadable", "empty", "not_a_picture", "unsupported", "too_large", "damaged"]
# Pillow's own warning limit: about 9,450 × 9,450 pixels, 268 MB as RGB.
MAX_PIXELS = 89_478_485
MAX_FILE_BYTES = 1 << 30
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow and its plugins are known to raise on damaged files (warnings, where they are made errors).
DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError,
    OverflowError, ZeroDivisionError, struct.error, RuntimeError, MemoryError, AssertionError,
    Image.DecompressionBombError, Warning,
)  # fmt: skip


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
    """What the head of a picture file says: size (width, height) as stored, Pillow's mode and format."""

    size: tuple[int, int]
    mode: str
    format: str
    frames: int
    orientation: int


def read_header(source: os.PathLike[str]) -> Header:
    """Size, mode, format, frames and EXIF orientation of a file, without decoding it. Raises PictureError."""
    name = shown(source)
    with opened(source, name) as handle:
        image = identify(handle, name)
        orientation = orientation_of(image)
        frames = 1
        with suppress(*DAMAGE):
            frames = int(getattr(image, "n_frames", 1))
        return Header(image.size, image.mode, str(image.format), frames, orientation)


def enable_heif() -> bool:
    """Register pillow-heif's reader where it is installed (the `transferkit[heic]` extra)."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        return True
    return False


def sniff(head: bytes) -> str | None:
    """Pillow's name of the picture format that a file's first 64 bytes announce, or None."""
    if head[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[4:8] == b"ftyp":
        brands = head[8:]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        return "HEIF" if any(b in brands for b in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")) else None
    return "BMP" if head[:2] == b"BM" else None


@contextmanager
def opened(path: os.PathLike[str], name: str) -> Iterator[IO[bytes]]:
    """The file at `path`, opened for reading; every refusal is a PictureError."""
    reason = unreadable_reason(Path(path))
    if reason is not None:
        raise PictureError(name, reason, "empty" if "0 bytes" in reason else "unreadable")
    try:
        handle = open(path, "rb")  # noqa: SIM115 - closed below; only the opening is guarded
    except OSError as error:
        raise PictureError(name, f"cannot be opened ({error.strerror or error})", "unreadable") from error
    with handle:
        yield handle


def identify(handle: IO[bytes], name: str) -> Image.Image:
    """Open by content and check the size; nothing is decoded yet."""
    head = handle.read(64)
    size = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    if size > MAX_FILE_BYTES:
        raise PictureError(name, f"has {size:,} bytes; files above {MAX_FILE_BYTES:,} bytes are refused", "too_large")
    kind = sniff(head)
    if kind is None:
        what = f"is not a picture that can be read ({_looks_like(head)})"
        raise PictureError(name, what, "not_a_picture")
    if kind == "HEIF" and not enable_heif():
        advice = "is HEIC; install the reader with: pip install 'transferkit[heic]'"
        raise PictureError(name, advice, "unsupported")
    try:
        image = Image.open(handle, formats=("JPEG", "MPO") if kind == "JPEG" else (kind,))
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        many = f"has more than {MAX_PIXELS:,} pixels (a decompression bomb?); scale it down to use it"
        raise PictureError(name, many, "too_large") from error
    except UnidentifiedImageError as error:
        raise PictureError(name, f"has a damaged {kind} header") from error
    except DAMAGE as error:
        raise PictureError(name, f"has a damaged header ({error or type(error).__name__})") from error
    return image


def _looks_like(head: bytes) -> str:
    """What a file that is no picture seems to be."""
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page"
    if start.startswith((b"<?xml", b"<svg")):
        return "it is XML or SVG"
    if head.startswith(b"%PDF"):
        return "it is a PDF"
    if head.startswith(b"PK"):
        return "it is a ZIP archive"
    if not head.strip(b"\0"):
        return "it holds zeros only"
    return "unknown content; supported are JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF and HEIC"


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 2 … 8, or 1 for upright, unknown or damaged."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except DAMAGE:  # a damaged EXIF block does not make the pixels unusable
        return 1
    return orientation if orientation in ORIENTATIONS else 1
