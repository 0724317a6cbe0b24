"""The only decoder: every picture that is trained on, evaluated, predicted or exported passes through here.

Rules (a change to any of them raises `DECODER_VERSION`, which is part of every cache key):
EXIF orientation is applied. Transparent pixels are laid over white. CMYK, palette, grey and YCbCr become
RGB by Pillow's conversion; colour profiles are not applied. 16-bit grey is scaled by its full range (65535
is white); 32-bit and float pictures are taken as 0–1, 0–255 or 0–65535 by the smallest of these that holds
them, else stretched from their minimum to their maximum. Of an animation the first frame is read. A picture
of more than `MAX_PIXELS` pixels, or one that ends early, is refused. JPEGs much larger than needed are
decoded at 1/2, 1/4 or 1/8 scale, chosen from the file and the settings alone, so that training and
prediction see the same pixels.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, UnidentifiedImageError, features

from transferkit.data.samples import Pixels, Source, shown, unreadable_reason
from transferkit.data.threads import map_ordered
from transferkit.errors import ConfigError, DataError

DECODER_VERSION = 1
Resize = Literal["stretch", "crop", "letterbox"]
RESIZES: tuple[Resize, ...] = get_args(Resize)
# Pillow's own warning limit: about 9,450 × 9,450 pixels, 268 MB as RGB.
MAX_PIXELS = 89_478_485
MAX_FILE_BYTES = 1 << 30
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
# ImageNet's mean colour: about zero after every backbone's preprocessing.
LETTERBOX = (124, 116, 104)
# JPEGs keep this much more than the wanted size, so that views that zoom in still see real pixels.
DRAFT_MARGIN = 1.25

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow and its plugins are known to raise on damaged files.
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError,
    OverflowError, ZeroDivisionError, struct.error, RuntimeError, MemoryError, AssertionError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


class PictureError(DataError):
    """One picture that cannot be used: `path` (printable) and `reason`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class DecodeSettings:
    """How a picture becomes [size, size, 3].

    `stretch` scales both sides to `size` (shape changes, nothing is lost); `crop` takes the central square;
    `letterbox` scales the long side to `size` and fills the rest with ImageNet's mean colour.
    """

    size: int
    resize: Resize = "stretch"

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or isinstance(self.size, bool) or not 8 <= self.size <= 4096:
            raise ConfigError(f"size {self.size!r} is not a picture size; give a whole number from 8 to 4096")
        if self.resize not in RESIZES:
            raise ConfigError(f"resize {self.resize!r} is unknown; choose from {', '.join(RESIZES)}")

    def key(self) -> dict[str, Any]:
        """What changes the pixels, for cache keys and for the model's metadata."""
        return {"decoder": DECODER_VERSION, "size": self.size, "resize": self.resize}

    @classmethod
    def from_key(cls, key: dict[str, Any]) -> DecodeSettings:
        """The settings that made `key`; refuses one of another decoder version."""
        if key.get("decoder") != DECODER_VERSION:
            raise ConfigError(
                f"decoder version {key.get('decoder')!r} is not this version's {DECODER_VERSION}; "
                "use the transferkit release that wrote it"
            )
        return cls(size=int(key["size"]), resize=key["resize"])


def decoder_versions() -> dict[str, str]:
    """Versions of the libraries that compute pixels, for cache keys beside `DecodeSettings.key()`."""
    names = ("libjpeg_turbo", "jpg", "webp", "avif", "zlib")
    return {"pillow": PIL.__version__, **{name: str(features.version(name)) for name in names}}


def decode(source: Source, settings: DecodeSettings) -> Pixels:
    """Read one picture as uint8 [size, size, 3]. Raises PictureError."""
    return fit(open_picture(source, settings), settings)


def decode_many(
    sources: Iterable[Source],
    settings: DecodeSettings,
    threads: int = 0,
    on_error: Callable[[int, PictureError], None] | None = None,
) -> Iterator[tuple[int, Pixels]]:
    """Yield (index, uint8 [size, size, 3]) in order, decoding ahead on threads; memory holds a small window.

    A picture that cannot be read is handed to `on_error(index, error)` and left out; without `on_error` its
    PictureError is raised.
    """

    def one(source: Source) -> Pixels | PictureError:
        try:
            return decode(source, settings)
        except PictureError as error:
            return error

    for index, result in enumerate(map_ordered(one, sources, threads)):
        if not isinstance(result, PictureError):
            yield index, result
        elif on_error is None:
            raise result
        else:
            on_error(index, result)


def open_picture(source: Source, settings: DecodeSettings | None = None) -> Image.Image:
    """Read a path, the bytes of a file, or a uint8 array [H, W], [H, W, 1|3|4], as an upright RGB picture.

    With `settings`, large JPEGs are decoded at a reduced scale that still exceeds the wanted size.
    Raises: PictureError with the reason (missing, empty, a pipe, truncated, not a picture, too large, …).
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    name = "<bytes>" if isinstance(source, bytes) else shown(source)
    if isinstance(source, bytes):
        if not source:
            raise PictureError(name, "is empty (0 bytes)")
        return _read(io.BytesIO(source), name, settings)
    reason = unreadable_reason(source)
    if reason is not None:
        raise PictureError(name, reason)
    try:
        with open(source, "rb") as handle:
            return _read(handle, name, settings)
    except OSError as error:
        raise PictureError(name, f"cannot be opened ({error.strerror or error})") from error


def fit(image: Image.Image, settings: DecodeSettings) -> Pixels:
    """Scale an RGB picture to uint8 [size, size, 3] as `settings.resize` says (bilinear, antialiased)."""
    side = (settings.size, settings.size)
    if settings.resize == "letterbox":
        return np.asarray(letterboxed(image, settings.size))
    box = central_square(image.size) if settings.resize == "crop" else None
    if image.size == side:
        return np.asarray(image)
    return np.asarray(image.resize(side, Image.Resampling.BILINEAR, box=box))


def central_square(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the largest centred square."""
    width, height = size
    side = min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def letterboxed(image: Image.Image, size: int) -> Image.Image:
    """The whole picture, long side scaled to `size`, centred on a square of the fill colour."""
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    canvas = Image.new("RGB", (size, size), LETTERBOX)
    canvas.paste(
        image.resize((width, height), Image.Resampling.BILINEAR), ((size - width) // 2, (size - height) // 2)
    )
    return canvas


def enable_heif() -> bool:
    """Register pillow-heif's reader where it is installed (the `transferkit[heic]` extra)."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        return True
    return False


def sniff(head: bytes) -> str | None:
    """Pillow's name of the picture format that a file's first 32 bytes announce, or None."""
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


def _read(handle: IO[bytes], name: str, settings: DecodeSettings | None) -> Image.Image:
    """Identify, check the size, load and convert; every failure is a PictureError with a plain reason."""
    head = handle.read(32)
    size = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    if size > MAX_FILE_BYTES:
        raise PictureError(name, f"has {size:,} bytes; files above {MAX_FILE_BYTES:,} bytes are refused")
    kind = sniff(head)
    if kind == "HEIF" and not enable_heif():
        raise PictureError(name, "is HEIC; install the reader with: pip install 'transferkit[heic]'")
    try:
        image = Image.open(handle, formats=FORMATS if kind is None else _formats(kind))
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        if settings is not None:
            _draft(image, settings)
        image.load()
        return _to_rgb(_upright(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(
            name, f"has more than {MAX_PIXELS:,} pixels (a decompression bomb?); scale it down to use it"
        ) from error
    except UnidentifiedImageError as error:
        what = f"a damaged {kind} header" if kind else _looks_like(head)
        raise PictureError(name, f"is not a picture that can be read ({what})") from error
    except _DAMAGE as error:
        raise PictureError(name, f"is damaged or cut short ({error or type(error).__name__})") from error


def _formats(kind: str) -> tuple[str, ...]:
    return ("JPEG", "MPO") if kind == "JPEG" else (kind,)


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


def _draft(image: Image.Image, settings: DecodeSettings) -> None:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 where that still exceeds the wanted size."""
    if image.format not in ("JPEG", "MPO"):
        return
    extent = max(image.size) if settings.resize == "letterbox" else min(image.size)
    for scale in (8, 4, 2):
        if extent / scale >= settings.size * DRAFT_MARGIN:
            image.draft(None, (image.width // scale, image.height // scale))
            return


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; read after `load()`, when Pillow's TIFF reader has applied its own."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except _DAMAGE:  # a damaged EXIF block does not make the pixels unusable
        return image
    method = _TRANSPOSE.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as RGB, by the rules at the head of this module."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image
    if mode == "F" or mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image), mode)).convert("RGB")
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_white(image.convert("RGBA") if mode != "RGBA" else image)
    if mode == "LAB":
        raise ValueError("colour mode LAB is not supported; save it as RGB")
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _eight_bits(values: npt.NDArray[Any], mode: str) -> Pixels:
    """Grey values of 16 or 32 bits, or floats, as uint8."""
    grey = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(grey.min()), float(grey.max())
    if mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif low >= 0.0:
        ceilings = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
        holding = [ceiling for ceiling in ceilings if high <= ceiling]
        low, high = (0.0, holding[0]) if holding else (low, high)
    return np.rint((grey - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    name = f"<array {array.dtype} {list(array.shape)}>"
    if array.dtype != np.uint8:
        raise PictureError(name, "pictures are uint8 with values 0–255; convert with .astype('uint8')")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise PictureError(name, "a picture array has the shape [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise PictureError(name, f"has more than {MAX_PIXELS:,} pixels")
    return _to_rgb(Image.fromarray(np.ascontiguousarray(array)))
