"""From an open file to upright RGB: what a picture is by its content, what is refused, how each mode becomes RGB.

The rules are told in `decode`. Self-contained (Pillow and NumPy, nothing of this package), because its text goes into
the example beside an exported model: there is no second implementation to disagree with.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import struct
import warnings
from contextlib import suppress
from typing import IO

from PIL import Image, TiffImagePlugin, TiffTags, UnidentifiedImageError

from transferkit.data.images import tiff_pages, tones

# Pillow's own warning limit: about 9,450 × 9,450 pixels, 268 MB as RGB.
MAX_PIXELS = 89_478_485
MAX_FILE_BYTES = 1 << 30
HEAD = 132  # bytes by which a file is known
# JPEGs keep this much more than the wanted size, so that views that zoom in still see real pixels.
DRAFT_MARGIN = 1.25
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
NO_HEIC = "is HEIC; install the reader with: pip install 'pillow-heif>=0.16'"
# What Pillow and its plugins are known to raise on damaged files (warnings, where they are made errors).
DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError,
    OverflowError, ZeroDivisionError, struct.error, RuntimeError, MemoryError, AssertionError,
    Image.DecompressionBombError, Warning,
)  # fmt: skip
# How Pillow says that a sound file is of a form which it does not read.
_UNSUPPORTED = re.compile(
    r"unknown pixel mode|samples per pixel|unsupported|not (yet )?supported|cannot handle|not available", re.I
)
# Pillow logs what it raises; without a handler Python would print that to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# What it warns of are blocks beside the pixels (EXIF, TIFF tags) that it leaves out, with a line of its code.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `identify` refuses by itself
# libtiff prints what it finds, in bytes of the file, before Pillow raises it. Where it is part of Pillow's own library
# or one that cannot be asked (Windows), it goes on doing so.
with suppress(OSError, AttributeError):
    _library = ctypes.CDLL(Image.core.__file__)  # type: ignore[attr-defined]
    for _told in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        getattr(_library, _told).restype = ctypes.c_void_p
        getattr(_library, _told)(None)

# Grey TIFFs of many bits whose 0 is white: Pillow reads some of them, and turns the values of none; `tones` does.
for (_order, _photometric, *_rest), _modes in list(TiffImagePlugin.OPEN_INFO.items()):
    if _photometric == 1 and _modes[0] in ("F", "I", "I;16", "I;16B"):
        TiffImagePlugin.OPEN_INFO.setdefault((_order, 0, *_rest), _modes)  # type: ignore[arg-type]


class ReadingError(Exception):
    """A picture that cannot be used: `reason` completes "this file …"; `kind` is for programs."""

    def __init__(self, reason: str, kind: str = "damaged") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


def read(
    handle: IO[bytes], size: int = 0, resize: str = "stretch", page: int = 0, intensity: str = "full"
) -> Image.Image:
    """A picture of an open file, upright, as RGB.

    Args:
        handle: of the file, at any place.
        size: in pixels; large JPEGs are decoded at a reduced scale that still exceeds it. 0: at full scale.
        resize: "stretch", "crop" or "letterbox": which side has to exceed it.
        page: of a file of several pictures, from 0.
        intensity: how grey of many bits is scaled, see `tones.as_rgb`.

    Raises:
        ReadingError: with the reason.
    """
    return upright(handle, identify(handle, page), size, resize, page, intensity)


def upright(
    handle: IO[bytes], image: Image.Image, size: int = 0, resize: str = "stretch", page: int = 0,
    intensity: str = "full",
) -> Image.Image:  # fmt: skip
    """What `read` gives of a file that was identified.

    Args:
        handle: of the file, at any place.
        image: what `identify` gave.
        size: as for `read`.
        resize: as for `read`.
        page: as for `read`.
        intensity: as for `read`.

    Raises:
        ReadingError: with the reason.
    """
    kind = str(image.format)
    try:
        if page and kind != "DICOM":
            image.seek(page)
        if size and kind in ("JPEG", "MPO") and (scale := draft_scale(image.size, size, resize)) > 1:
            image.draft(None, (image.width // scale, image.height // scale))
        rgb = _colours(handle, image, intensity)
        # Asked after `load()`: PNG may tell it at the end, and Pillow's TIFF reader has applied its own by then.
        method = ORIENTATIONS.get(orientation_of(image))
        if rgb is not image:
            image.im = None  # type: ignore[assignment]  # its pixels: a large picture is not held three times
        return rgb if method is None else rgb.transpose(method)
    except DAMAGE as error:
        if _UNSUPPORTED.search(str(error)):
            raise _unsupported(kind, error) from error
        raise ReadingError(f"is damaged or cut short ({error or type(error).__name__})") from error


def draft_scale(sides: tuple[int, int], size: int, resize: str) -> int:
    """How much smaller a JPEG may be decoded and still exceed the wanted size.

    Args:
        sides: width and height, in pixels.
        size: wanted, in pixels.
        resize: with "letterbox" the long side counts, else the short one.

    Returns:
        1, 2, 4 or 8.
    """
    extent = max(sides) if resize == "letterbox" else min(sides)
    return next((scale for scale in (8, 4, 2) if extent / scale >= size * DRAFT_MARGIN), 1)


def sniff(head: bytes) -> str | None:
    """The picture format that a file's first `HEAD` bytes announce, by Pillow's name or `DICOM`, or None."""
    if head[128:132] == b"DICM":  # before that a file of this kind may hold anything
        return "DICOM"
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
        brands = head[8:64]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        return "HEIF" if any(b in brands for b in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")) else None
    if head[:2] == b"\xff\x0a" or head[:12] == b"\0\0\0\x0cJXL \r\n\x87\n":
        return "JXL"
    return "BMP" if head[:2] == b"BM" else None


def enable_heif() -> bool:
    """Register pillow-heif's reader where it is installed."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        return True
    return False


def identify(handle: IO[bytes], page: int = 0) -> Image.Image:
    """Open by content and check the size; nothing is decoded yet (but DICOM).

    Args:
        handle: of the file, at any place.
        page: which frame of DICOM; of other kinds the caller seeks it.

    Raises:
        ReadingError: with the reason.
    """
    handle.seek(0)
    head = handle.read(HEAD)
    size = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    if size > MAX_FILE_BYTES:
        raise ReadingError(f"has {size:,} bytes; files above {MAX_FILE_BYTES:,} bytes are refused", "too_large")
    kind = sniff(head)
    if kind == "DICOM":
        return _dicom(handle, page)
    if kind is None:
        raise ReadingError(f"is not a picture that can be read ({_looks_like(head[:64])})", "not_a_picture")
    if kind == "HEIF" and not enable_heif():
        raise ReadingError(NO_HEIC, "unsupported")
    if kind == "JXL":
        _check_jxl(handle)
    if kind == "TIFF" and (why := tiff_pages.too_much(handle, page + 1)):
        raise ReadingError(why, "too_large")
    try:
        image = Image.open(handle, formats=("JPEG", "MPO") if kind == "JPEG" else (kind,))
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        many = f"has more than {MAX_PIXELS:,} pixels (a decompression bomb?); scale it down to use it"
        raise ReadingError(many, "too_large") from error
    except DAMAGE as error:
        raise _unopened(handle, kind, error) from error
    return image


def _dicom(handle: IO[bytes], page: int) -> Image.Image:
    try:
        from transferkit.data.images import dicom
    except ImportError as error:  # beside an exported model
        raise ReadingError("is DICOM, which is read where transferkit is installed only", "unsupported") from error
    try:
        return dicom.read(handle, page, MAX_PIXELS)
    except dicom.DicomError as error:
        raise ReadingError(str(error), error.kind) from error


def _check_jxl(handle: IO[bytes]) -> None:
    try:
        from transferkit.data.images import jxl
    except ImportError as error:  # beside an exported model
        raise ReadingError("is JPEG XL, which is read where transferkit is installed only", "unsupported") from error
    try:
        jxl.check(handle, MAX_PIXELS)
    except jxl.JxlError as error:
        raise ReadingError(str(error), error.kind) from error


def orientation_of(image: Image.Image) -> int:
    """EXIF (else XMP) orientation 2 … 8, as Pillow finds it; 1 for upright, unknown or damaged."""
    # JPEG XL tells it beside the pixels, where its reader obeys it; what EXIF says is not meant.
    if image.format == "JXL":
        return 1
    try:
        orientation = image.getexif().get(0x0112, 1)
        return orientation if orientation in ORIENTATIONS else 1
    except DAMAGE:  # a damaged EXIF block does not make the pixels unusable
        return 1


def _colours(handle: IO[bytes], image: Image.Image, intensity: str) -> Image.Image:
    """The pixels of an identified picture as RGB, as they are stored."""
    if image.mode == "LAB":
        raise ReadingError("has colours in LAB, which is not supported; save it as RGB", "unsupported")
    tones.spread_transparency(image)
    clear = tones.transparent_deep(image)
    image.load()
    if clear is None:
        return tones.as_rgb(image, intensity)
    lower = identify(handle)
    tones.lower_bytes(lower)
    lower.load()
    return tones.cleared(image, lower, clear)


def _unopened(handle: IO[bytes], kind: str, error: Exception) -> ReadingError:
    """Why Pillow does not open a file: its form is not supported, or it is damaged."""
    told = f"has a damaged header ({error or type(error).__name__})"
    if isinstance(error, UnidentifiedImageError):
        told = f"has a damaged {kind} header"
        try:  # Pillow keeps the reason to itself; the format's own reader tells it
            handle.seek(0)
            Image.OPEN[kind][0](handle, "")
        except DAMAGE as found:
            error = found
    # Of a compression it has no name for, Pillow gives the number alone.
    if kind == "TIFF" and str(error).isdigit() and int(str(error)) not in TiffTags.TAGS_V2:
        return _unsupported(kind, f"compression {error}")
    return _unsupported(kind, error) if _UNSUPPORTED.search(str(error)) else ReadingError(told)


def _unsupported(kind: str, why: object) -> ReadingError:
    return ReadingError(f"is {kind} of a form that is not supported ({why}); save it as RGB with 8 bits", "unsupported")


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
    if head[4:8] == b"ftyp" or head.startswith(b"\x1a\x45\xdf\xa3") or head[8:12] == b"AVI ":
        return "it is a film; in training, --frames every:1s takes pictures from films"
    if not head.strip(b"\0"):
        return "it holds zeros only"
    return "unknown content; supported are JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC, JPEG XL and DICOM"
