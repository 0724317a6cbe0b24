"""The only decoder: every picture that is trained on, evaluated, predicted or exported passes through here.

Rules (a change to any of them raises `DECODER_VERSION`, which is part of every cache key):
EXIF orientation is applied. Transparent pixels are laid over white. CMYK, palette, grey and YCbCr become
RGB by Pillow's conversion; colour profiles are not applied. 16-bit grey is scaled by its full range (65535
is white); 32-bit and float pictures are taken as 0–1, 0–255 or 0–65535 by the smallest of these that holds
them, else stretched from their minimum to their maximum. Of an animation the first frame is read. A picture
of more than `MAX_PIXELS` pixels, or one that ends early, is refused. JPEGs much larger than needed are
decoded at 1/2, 1/4 or 1/8 scale, chosen from the file and the settings alone, so that training and
prediction see the same pixels. Sizing is bilinear; a side to be shrunk to a half or less is averaged over whole
pixels first, so that nothing aliases.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, features

from transferkit.data import jpeg
from transferkit.data.picture import (
    DAMAGE,
    MAX_PIXELS,
    ORIENTATIONS,
    PictureError,
    identify,
    opened,
    orientation_of,
)
from transferkit.data.samples import Pixels, Source, shown
from transferkit.data.threads import map_ordered
from transferkit.errors import ConfigError

__all__ = [
    "DECODER_VERSION", "LETTERBOX", "MAX_PIXELS", "RESIZES", "DecodeSettings", "PictureError", "Resize",
    "decode", "decode_many", "decoder_versions", "fit", "open_picture", "open_pixels",
]  # fmt: skip

DECODER_VERSION = 2
Resize = Literal["stretch", "crop", "letterbox"]
RESIZES: tuple[Resize, ...] = get_args(Resize)
# ImageNet's mean colour: about zero after every backbone's preprocessing.
LETTERBOX = (124, 116, 104)
BUNDLE = 8  # pictures that a thread takes at a time
# JPEGs keep this much more than the wanted size, so that views that zoom in still see real pixels.
DRAFT_MARGIN = 1.25


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
    found = {name: str(features.version(name)) for name in names}
    return found | {name: _version(name) for name in ("pillow", "pillow-heif", "simplejpeg", "opencv-python-headless")}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "None"


def decode(source: Source, settings: DecodeSettings) -> Pixels:
    """Read one picture as uint8 [size, size, 3]. Raises PictureError."""
    return fit(open_pixels(source, settings), settings)


def _straight(source: Path | bytes, settings: DecodeSettings) -> Pixels | None:
    """The upright pixels of an ordinary JPEG, as `open_picture` gives them; None for all else."""
    if isinstance(source, bytes):
        content = source
    else:
        with opened(source, shown(source)) as handle:
            if handle.read(3) != b"\xff\xd8\xff" or handle.seek(0, os.SEEK_END) > jpeg.MAX_BYTES:
                return None
            handle.seek(0)
            content = handle.read()
    size = jpeg.size_of(content) if content[:3] == b"\xff\xd8\xff" else None
    pixels = None if size is None else jpeg.pixels(content, size, _scale(size, settings))
    if pixels is None or not jpeg.has_exif(content):
        return pixels
    return _turned(pixels, orientation_of(identify(io.BytesIO(content), "")))


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """What Pillow's `transpose` by `ORIENTATIONS` does, for arrays."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


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

    for index, result in enumerate(map_ordered(one, sources, threads, bundle=BUNDLE)):
        if not isinstance(result, PictureError):
            yield index, result
        elif on_error is None:
            raise result
        else:
            on_error(index, result)


def open_pixels(source: Source, settings: DecodeSettings) -> Pixels:
    """What `open_picture` reads, as uint8 [H, W, 3]; of ordinary JPEGs in half the time.

    Valid until the next picture is read on the same thread: the memory is used again. Raises PictureError.
    """
    straight = None if isinstance(source, np.ndarray) else _straight(source, settings)
    return np.asarray(open_picture(source, settings)) if straight is None else straight


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
            raise PictureError(name, "is empty (0 bytes)", "empty")
        return _read(io.BytesIO(source), name, settings)
    with opened(source, name) as handle:
        return _read(handle, name, settings)


def fit(image: Image.Image | Pixels, settings: DecodeSettings) -> Pixels:
    """Scale an RGB picture (Pillow's, or uint8 [H, W, 3]) to uint8 [size, size, 3] as `settings.resize` says."""
    pixels: Pixels = np.asarray(image)
    size, (height, width) = settings.size, pixels.shape[:2]
    if settings.resize == "letterbox":
        return letterboxed(pixels, size)
    if settings.resize == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    return scaled(pixels, size, size)


def scaled(pixels: Pixels, width: int, height: int) -> Pixels:
    """`pixels` [H, W, 3] as a new array [height, width, 3]."""
    import cv2

    # Whole pixels are averaged down to less than twice the size; what is left, bilinear does without aliasing.
    across, down = pixels.shape[1] // width, pixels.shape[0] // height
    if across > 1 or down > 1:
        smaller = (pixels.shape[1] // max(1, across), pixels.shape[0] // max(1, down))
        pixels = np.asarray(cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    if pixels.shape[:2] == (height, width):
        return np.array(pixels)
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _inside(width: int, height: int, size: int) -> tuple[int, int]:
    """Sides of a picture whose long side is scaled to `size`."""
    scale = size / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def central_square(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the largest centred square."""
    width, height = size
    side = min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def letterboxed(pixels: Pixels, size: int) -> Pixels:
    """The whole picture [H, W, 3], long side scaled to `size`, centred on a square of the fill colour."""
    canvas = np.full((size, size, 3), LETTERBOX, np.uint8)
    across, down = _inside(pixels.shape[1], pixels.shape[0], size)
    left, top = (size - across) // 2, (size - down) // 2
    canvas[top : top + down, left : left + across] = scaled(pixels, across, down)
    return canvas


def _draft(image: Image.Image, settings: DecodeSettings) -> None:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 where that still exceeds the wanted size."""
    scale = _scale(image.size, settings)
    if image.format in ("JPEG", "MPO") and scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))


def _scale(size: tuple[int, int], settings: DecodeSettings) -> int:
    """1, 2, 4 or 8: how much smaller a JPEG may be decoded and still exceed the wanted size."""
    extent = max(size) if settings.resize == "letterbox" else min(size)
    return next((scale for scale in (8, 4, 2) if extent / scale >= settings.size * DRAFT_MARGIN), 1)


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; called after `load()`, when Pillow's TIFF reader has applied its own."""
    method = ORIENTATIONS.get(orientation_of(image))
    return image if method is None else image.transpose(method)


def _read(handle: IO[bytes], name: str, settings: DecodeSettings | None) -> Image.Image:
    """Identify, load and convert; every failure is a PictureError with a plain reason."""
    image = identify(handle, name)
    try:
        if settings is not None:
            _draft(image, settings)
        image.load()
        return _to_rgb(_upright(image))
    except DAMAGE as error:
        raise PictureError(name, f"is damaged or cut short ({error or type(error).__name__})") from error


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
        raise PictureError(name, f"has more than {MAX_PIXELS:,} pixels", "too_large")
    return _to_rgb(Image.fromarray(np.ascontiguousarray(array)))
