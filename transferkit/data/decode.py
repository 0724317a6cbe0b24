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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import IO, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, features

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
    "decode", "decode_many", "decoder_versions", "fit", "open_picture",
]  # fmt: skip

DECODER_VERSION = 1
Resize = Literal["stretch", "crop", "letterbox"]
RESIZES: tuple[Resize, ...] = get_args(Resize)
# ImageNet's mean colour: about zero after every backbone's preprocessing.
LETTERBOX = (124, 116, 104)
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
    try:
        heif = version("pillow-heif")
    except PackageNotFoundError:
        heif = "None"
    return {"pillow": PIL.__version__, "pillow_heif": heif, **{name: str(features.version(name)) for name in names}}


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
            raise PictureError(name, "is empty (0 bytes)", "empty")
        return _read(io.BytesIO(source), name, settings)
    with opened(source, name) as handle:
        return _read(handle, name, settings)


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
    canvas.paste(image.resize((width, height), Image.Resampling.BILINEAR), ((size - width) // 2, (size - height) // 2))
    return canvas


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
