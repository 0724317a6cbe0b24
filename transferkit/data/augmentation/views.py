"""The geometry of one view: numbers drawn from a seed, one affine map, one colour map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from transferkit.data.augmentation.augmentation_config import AugmentationRanges
from transferkit.data.augmentation.colour import colour_matrix, recolour
from transferkit.data.images.decode import LETTERBOX, DecodeSettings, letterboxed, scaled
from transferkit.data.samples import Pixels

# The picture is kept this much larger than the view, so that views that zoom in still see real pixels.
WORKING = 1.25


@dataclass(frozen=True)
class Draw:
    """The numbers drawn for one view; by default those that leave the picture as it is."""

    rotate: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    mirror: tuple[bool, bool] = (False, False)
    shear: float = 0.0
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    # area share, log aspect, centre x, centre y; each 0 … 1 or range
    erase: tuple[float, float, float, float] = (0.0, 0.0, 0.5, 0.5)

    @classmethod
    def of(cls, a: AugmentationRanges, seed: int) -> Draw:
        """Every number is drawn, used or not, so that changing one range leaves the others alone."""
        random = Random(seed)  # its `random()` is the same on every machine and Python version

        def around(extent: float) -> float:
            return (2 * random.random() - 1) * extent

        return cls(
            rotate=around(a.rotate),
            zoom=a.zoom[0] + random.random() * (a.zoom[1] - a.zoom[0]),
            shift=(around(a.shift), around(a.shift)),
            mirror=(
                random.random() < a.flip_horizontal / 2,
                random.random() < a.flip_vertical / 2,
            ),  # drawn if off, too
            shear=around(a.shear),
            brightness=1 + around(a.brightness),
            contrast=1 + around(a.contrast),
            saturation=1 + around(a.saturation),
            hue=around(a.hue),
            erase=(a.erase * max(0.0, around(1.0)), around(0.5), random.random(), random.random()),
        )

    def linear(self) -> tuple[float, float, float, float]:
        """View → picture, both with sides of 1 and the origin in the middle: a, b, c, d of (ax+by, cx+dy)."""
        turn, slant = math.radians(self.rotate), math.tan(math.radians(self.shear))
        cos, sin = math.cos(turn) * self.zoom, math.sin(turn) * self.zoom
        x, y = (-1.0 if on else 1.0 for on in self.mirror)
        return x * cos, y * (cos * slant - sin), x * sin, y * (sin * slant + cos)


@dataclass(frozen=True)
class Canvas:
    """A picture at working size, uint8 [H, W, 3]; what lies beyond its border is its mirror image."""

    pixels: Pixels
    frame: tuple[float, float]  # sides of the clean view, in canvas pixels
    size: int
    mean: tuple[int, int, int]
    filled: bool  # letterbox: beyond the border there is the fill colour instead

    @classmethod
    def of(cls, pixels: Pixels, settings: DecodeSettings) -> Canvas:
        """Scale uint8 [H, W, 3] down once (an affine map alone would alias)."""
        import cv2

        working, frame = _working(pixels, settings)
        red, green, blue = (round(value) for value in cv2.mean(working)[:3])
        return cls(working, frame, settings.size, (red, green, blue), settings.resize == "letterbox")

    def view(self, draw: Draw) -> Pixels:
        """One fused affine map, one fused colour map, one rectangle: uint8 [size, size, 3]."""
        import cv2

        border = cv2.BORDER_CONSTANT if self.filled else cv2.BORDER_REFLECT
        view: Pixels = cv2.warpAffine(  # type: ignore[assignment]
            self.pixels, self._map(draw), (self.size, self.size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=border, borderValue=LETTERBOX,
        )  # fmt: skip
        view = recolour(view, colour_matrix(draw.brightness, draw.contrast, draw.saturation, draw.hue, self.mean))
        if draw.erase[0] > 0:
            left, top, right, bottom = _rectangle(draw.erase, self.size)
            view[top:bottom, left:right] = self.mean
        return view

    def _map(self, draw: Draw) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """View → canvas, between the centres of pixels: float64 [2, 3]."""
        a, b, c, d = draw.linear()
        across, down = self.frame[0] / self.size, self.frame[1] / self.size
        a, b, c, d = a * across, b * across, c * down, d * down
        height, width = self.pixels.shape[:2]
        half = (self.size - 1) / 2
        e = (width - 1) / 2 + draw.shift[0] * self.frame[0] - (a + b) * half
        f = (height - 1) / 2 + draw.shift[1] * self.frame[1] - (c + d) * half
        return np.array([[a, b, e], [c, d, f]])


def _working(pixels: Pixels, settings: DecodeSettings) -> tuple[Pixels, tuple[float, float]]:
    """The picture near the size of the views, and the sides of the frame that a clean view shows of it."""
    most = math.ceil(settings.size * WORKING)
    height, width = pixels.shape[:2]
    if settings.resize == "letterbox":
        side = min(most, max(settings.size, width, height))
        return letterboxed(pixels, side), (side, side)
    if settings.resize == "crop":
        scale = min(1.0, most / min(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        frame = (float(min(size)), float(min(size)))
    else:
        size = (min(width, most), min(height, most))
        frame = (float(size[0]), float(size[1]))
    return pixels if size == (width, height) else scaled(pixels, *size), frame


def _rectangle(erase: tuple[float, float, float, float], size: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a rectangle of the drawn area, with sides of 1:1.65 to 1.65:1."""
    area, aspect, x, y = erase
    width = min(size, max(1, round(size * math.sqrt(area * math.exp(aspect)))))
    height = min(size, max(1, round(size * math.sqrt(area / math.exp(aspect)))))
    left, top = round(x * (size - width)), round(y * (size - height))
    return left, top, left + width, top + height
