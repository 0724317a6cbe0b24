"""How every Pillow mode becomes RGB: grey of any depth, transparency, colour spaces. The rules are told in `decode`.

Large pictures are computed strip by strip: beside a picture and its RGB no third copy of its size is held.
Self-contained (Pillow and NumPy, nothing of this package), because its text goes into the example beside an exported
model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

STRIP = 1 << 20  # pixels at a time
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
        return _over_white(image)
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
    for (top, high), (_, low) in zip(strips(upper), strips(lower), strict=True):
        pixels = np.array(high)
        deep = pixels.astype(np.uint16) << 8 | np.asarray(low)
        pixels[(deep == clear).all(axis=2)] = 255
        upper.paste(Image.fromarray(pixels), (0, top))
    return upper


def _over_white(image: Image.Image) -> Image.Image:
    rgb = Image.new("RGB", image.size)
    for top, strip in strips(image):
        clear = strip if strip.mode == "RGBA" else strip.convert("RGBA")
        white = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        rgb.paste(Image.alpha_composite(white, clear).convert("RGB"), (0, top))
    return rgb


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """A loaded picture in pieces over its whole width, with the row at which each begins; a small one as it is."""
    width, height = image.size
    rows = max(1, STRIP // max(1, width))
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(height, top + rows)))


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
    spread = intensity == "percentile" and is_deep(image.mode)
    low, high = _percentiles(image) if spread else _range(image)
    # Of 8 bits and less Pillow turns these itself; this is for the others.
    turned = hasattr(image, "tag_v2") and (_tag(image, _PHOTOMETRIC) or 0) == _ZERO_IS_WHITE
    clear = image.info.get("transparency")
    found = np.empty((image.height, image.width), np.uint8)
    for top, values in _values(image):
        grey = _finite(values)
        if spread:
            grey = np.clip(grey, low, high)
        scaled = np.rint((grey - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)
        if turned:
            scaled = 255 - scaled
        if isinstance(clear, int):
            scaled[values == clear] = 255
        found[top : top + len(scaled)] = scaled
    return found


def _values(image: Image.Image) -> Iterator[tuple[int, Any]]:
    """Rows of numbers as the file means them, with the row at which they begin."""
    kind: Any = None
    if _is_signed(image):
        kind = np.int8
    # Pillow reads unsigned numbers of 32 bits as signed ones.
    elif image.mode == "I" and hasattr(image, "tag_v2") and _tag(image, _SAMPLE_FORMAT) in (None, _UNSIGNED):
        kind = np.uint32
    for top, strip in strips(image):
        values = np.asarray(strip)
        yield top, values if kind is None else values.view(kind)


def _finite(values: Any) -> Any:
    with np.errstate(invalid="ignore"):  # damaged bits may be a NaN that signals
        return np.nan_to_num(values.astype(np.float64), copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _percentiles(image: Image.Image) -> tuple[float, float]:
    """What `numpy.percentile` gives for `PERCENTILES` of all pixels, without its copies of eight bytes a pixel."""
    every = np.concatenate([_finite(values).astype(values.dtype).ravel() for _, values in _values(image)])
    place = (every.size - 1) * np.true_divide(PERCENTILES, 100)
    below = np.floor(place).astype(np.intp)
    above = np.minimum(below + 1, every.size - 1)
    every.partition(np.unique([below, above]))
    first, second = every[below].astype(np.float64), every[above].astype(np.float64)
    share, step = place - below, second - first
    low, high = np.where(share >= 0.5, second - step * (1 - share), first + step * share)
    return float(low), float(high)


def _range(image: Image.Image) -> tuple[float, float]:
    """The values that are black and white."""
    mode = image.mode
    if mode.startswith("I;16"):
        return 0.0, 4095.0 if _tag(image, _BITS) == 12 else 65535.0
    extremes = [(float(grey.min()), float(grey.max())) for grey in (_finite(values) for _, values in _values(image))]
    low, high = min(lowest for lowest, _ in extremes), max(highest for _, highest in extremes)
    if low >= 0.0:
        ceilings = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
        holding = [ceiling for ceiling in ceilings if high <= ceiling]
        return (0.0, holding[0]) if holding else (low, high)
    return low, high
