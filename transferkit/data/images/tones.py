"""How every Pillow mode becomes RGB: grey of any depth, transparency, colour spaces. The rules are told in `decode`.

Self-contained (Pillow and NumPy, nothing of this package), because its text goes into the example beside an exported
model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

# TIFF's tags BitsPerSample, PhotometricInterpretation and SampleFormat, and two of their values.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_ZERO_IS_WHITE, _UNSIGNED, _SIGNED = 0, 1, 2
# Shares of the pixels between which grey of many bits is spread where that is asked for: what lies outside is cut off.
PERCENTILES = (0.1, 99.9)
_LEVELS = {"L;2": 85, "L;4": 17}  # by which Pillow spreads grey of 2 and 4 bits over 0 … 255


def as_rgb(image: Image.Image, intensity: str = "full") -> Image.Image:
    """A loaded picture of any mode but LAB as RGB, transparent pixels over white.

    Args:
        image: the picture.
        intensity: grey of more than 8 bits is scaled by its full range ("full"), or between its own percentiles
            ("percentile").
    """
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image
    if is_deep(mode) or _is_signed(image):
        return Image.fromarray(_eight_bits(image, intensity)).convert("RGB")
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_white(image.convert("RGBA") if mode != "RGBA" else image)
    return image.convert("RGB")


def spread_transparency(image: Image.Image) -> None:
    """Put the transparent grey of a PNG of 2 or 4 bits on the scale that its pixels get. To be called before `load`."""
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        image.info["transparency"] = clear * _LEVELS.get(_raw_mode(image), 1)


def transparent_deep(image: Image.Image) -> tuple[int, ...] | None:
    """The transparent colour of a PNG of 16 bits a channel, which Pillow compares with 8; None for all others. It is
    taken out of `image`, which must not be loaded yet.
    """
    clear = image.info.get("transparency")
    if not isinstance(clear, tuple) or _raw_mode(image) != "RGB;16B":
        return None
    del image.info["transparency"]
    return clear


def _raw_mode(image: Any) -> str:
    """How Pillow is about to unpack the pixels of a picture that is not loaded yet."""
    tiles = getattr(image, "tile", None)
    return str(tiles[0][3]) if tiles else ""


def lower_bytes(image: Any) -> None:
    """Make a PNG of 16 bits a channel, not loaded yet, give the lower byte of each number instead of the upper."""
    codec, extents, offset, _ = image.tile[0]
    image.tile = [type(image.tile[0])(codec, extents, offset, "RGB;16L")]


def cleared(upper: Image.Image, lower: Image.Image, clear: tuple[int, ...]) -> Image.Image:
    """A picture of 16 bits, of which one colour is transparent, as RGB of 8 bits, with white in its place.

    Args:
        upper: the upper bytes, RGB.
        lower: the lower bytes, RGB.
        clear: the transparent colour, three numbers of 16 bits.
    """
    pixels = np.array(upper)
    deep = pixels.astype(np.uint16) << 8 | np.asarray(lower)
    pixels[(deep == clear).all(axis=2)] = 255
    return Image.fromarray(pixels)


def _over_white(image: Image.Image) -> Image.Image:
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _tag(image: Image.Image, number: int) -> Any:
    """The first value of a TIFF tag; None where there is none, or no TIFF."""
    value = getattr(image, "tag_v2", {}).get(number)
    return value[0] if isinstance(value, tuple) and value else value


def _is_signed(image: Image.Image) -> bool:
    """Grey of 8 bits from -128 to 127, which Pillow takes for 0 … 255."""
    return image.mode == "L" and _tag(image, _SAMPLE_FORMAT) == _SIGNED


def is_deep(mode: str) -> bool:
    """Whether a picture of this mode has grey of more than 8 bits."""
    return mode == "F" or mode.startswith("I")


def _eight_bits(image: Image.Image, intensity: str) -> Any:
    """Grey values of 16 or 32 bits, signed ones, or floats, as uint8 [H, W]."""
    values, mode = np.asarray(image), image.mode
    if _is_signed(image):
        values = values.view(np.int8)
    # Pillow reads unsigned numbers of 32 bits as signed ones.
    elif mode == "I" and hasattr(image, "tag_v2") and _tag(image, _SAMPLE_FORMAT) in (None, _UNSIGNED):
        values = values.view(np.uint32)
    with np.errstate(invalid="ignore"):  # damaged bits may be a NaN that signals
        grey = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if intensity == "percentile" and is_deep(mode):
        low, high = map(float, np.percentile(grey, PERCENTILES))
        grey = np.clip(grey, low, high)
    else:
        low, high = _range(grey, mode, _tag(image, _BITS))
    scaled = np.rint((grey - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)
    # Of 8 bits and less Pillow turns these itself; this is for the others.
    if hasattr(image, "tag_v2") and (_tag(image, _PHOTOMETRIC) or 0) == _ZERO_IS_WHITE:
        scaled = 255 - scaled
    if isinstance(clear := image.info.get("transparency"), int):
        scaled[values == clear] = 255
    return scaled


def _range(grey: Any, mode: str, bits: int | None) -> tuple[float, float]:
    """The values that are black and white."""
    if mode.startswith("I;16"):
        return 0.0, 4095.0 if bits == 12 else 65535.0
    low, high = float(grey.min()), float(grey.max())
    if low >= 0.0:
        ceilings = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
        holding = [ceiling for ceiling in ceilings if high <= ceiling]
        return (0.0, holding[0]) if holding else (low, high)
    return low, high
