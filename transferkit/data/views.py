"""The geometry of one view: numbers drawn from a seed, one affine map, one colour map. Pillow only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from PIL import Image

from transferkit.data.colour import colour_matrix, recolour
from transferkit.data.decode import LETTERBOX, DecodeSettings, Resize, letterboxed
from transferkit.data.ranges import Augmentation

# The picture is kept this much larger than the view, so that views that zoom in still see real pixels.
WORKING = 1.25


@dataclass(frozen=True)
class Draw:
    """The numbers drawn for one view."""

    rotate: float
    zoom: float
    shift: tuple[float, float]
    mirror: tuple[bool, bool]
    shear: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    erase: tuple[float, float, float, float]  # area share, log aspect, centre x, centre y; each 0 … 1 or range

    @classmethod
    def of(cls, a: Augmentation, seed: int) -> Draw:
        """Every number is drawn, used or not, so that changing one range leaves the others alone."""
        random = Random(seed)  # its `random()` is the same on every machine and Python version

        def around(extent: float) -> float:
            return (2 * random.random() - 1) * extent

        return cls(
            rotate=around(a.rotate),
            zoom=a.zoom[0] + random.random() * (a.zoom[1] - a.zoom[0]),
            shift=(around(a.shift), around(a.shift)),
            mirror=(a.flip_horizontal and random.random() < 0.5, a.flip_vertical and random.random() < 0.5),
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

    def reach(self) -> tuple[float, float]:
        """How far the view reaches from the middle of the picture, in frame sides, across and down."""
        a, b, c, d = self.linear()
        return (abs(a) + abs(b)) / 2 + abs(self.shift[0]), (abs(c) + abs(d)) / 2 + abs(self.shift[1])


@dataclass(frozen=True)
class Canvas:
    """A picture scaled to working size, with its border mirrored outwards as far as the views reach."""

    image: Image.Image
    centre: tuple[float, float]
    frame: tuple[float, float]  # sides of the clean view, in canvas pixels
    size: int
    mean: tuple[int, int, int]

    @classmethod
    def of(cls, image: Image.Image, settings: DecodeSettings, draws: Sequence[Draw]) -> Canvas:
        """Scale down once (antialiased; an affine map alone would alias) and mirror what the views need."""
        working, frame = _working(image, settings)
        margins = []
        for axis in (0, 1):
            reach = max(draw.reach()[axis] for draw in draws) * frame[axis]
            margins.append(max(0, math.ceil(reach - working.size[axis] / 2) + 2))
        mean = working.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        assert isinstance(mean, tuple)  # RGB
        padded = _padded(working, (margins[0], margins[1]), settings.resize)
        centre = (padded.width / 2, padded.height / 2)
        return cls(padded, centre, frame, settings.size, (int(mean[0]), int(mean[1]), int(mean[2])))

    def view(self, draw: Draw) -> Image.Image:
        """One fused affine map, one fused colour map, one rectangle."""
        a, b, c, d = draw.linear()
        across, down = self.frame[0] / self.size, self.frame[1] / self.size
        half = self.size / 2
        a, b, c, d = a * across, b * across, c * down, d * down
        e = self.centre[0] + draw.shift[0] * self.frame[0] - (a + b) * half
        f = self.centre[1] + draw.shift[1] * self.frame[1] - (c + d) * half
        side = (self.size, self.size)
        # Pillow samples at pixel centres itself: the coefficients map corners to corners.
        image = self.image.transform(
            side, Image.Transform.AFFINE, (a, b, e, c, d, f), Image.Resampling.BILINEAR, fillcolor=self.mean
        )
        colours = colour_matrix(draw.brightness, draw.contrast, draw.saturation, draw.hue, self.mean)
        image = recolour(image, colours)
        if draw.erase[0] > 0:
            image.paste(self.mean, _rectangle(draw.erase, self.size))
        return image


def _working(image: Image.Image, settings: DecodeSettings) -> tuple[Image.Image, tuple[float, float]]:
    """The picture near the size of the views, and the sides of the frame that a clean view shows of it."""
    most = math.ceil(settings.size * WORKING)
    width, height = image.size
    if settings.resize == "letterbox":
        side = min(most, max(settings.size, width, height))
        return letterboxed(image, side), (side, side)
    if settings.resize == "crop":
        scale = min(1.0, most / min(image.size))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        frame = (float(min(size)), float(min(size)))
    else:
        size = (min(width, most), min(height, most))
        frame = (float(size[0]), float(size[1]))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return image, frame


def _padded(image: Image.Image, margins: tuple[int, int], resize: Resize) -> Image.Image:
    """`image` with `margins` mirrored (letterbox: filled) on both sides, repeatedly for tiny pictures."""
    if resize == "letterbox":
        canvas = Image.new("RGB", (image.width + 2 * margins[0], image.height + 2 * margins[1]), LETTERBOX)
        canvas.paste(image, margins)
        return canvas
    for axis in (0, 1):
        left = margins[axis]
        while left > 0:
            step = min(left, image.size[axis])
            image = _mirrored(image, step, axis)
            left -= step
    return image


def _mirrored(image: Image.Image, margin: int, axis: int) -> Image.Image:
    width, height = image.size
    if axis == 0:
        canvas = Image.new("RGB", (width + 2 * margin, height))
        canvas.paste(image, (margin, 0))
        flip = Image.Transpose.FLIP_LEFT_RIGHT
        canvas.paste(image.crop((0, 0, margin, height)).transpose(flip), (0, 0))
        canvas.paste(image.crop((width - margin, 0, width, height)).transpose(flip), (width + margin, 0))
        return canvas
    canvas = Image.new("RGB", (width, height + 2 * margin))
    canvas.paste(image, (0, margin))
    flip = Image.Transpose.FLIP_TOP_BOTTOM
    canvas.paste(image.crop((0, 0, width, margin)).transpose(flip), (0, 0))
    canvas.paste(image.crop((0, height - margin, width, height)).transpose(flip), (0, height + margin))
    return canvas


def _rectangle(erase: tuple[float, float, float, float], size: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a rectangle of the drawn area, with sides of 1:1.65 to 1.65:1."""
    area, aspect, x, y = erase
    width = min(size, max(1, round(size * math.sqrt(area * math.exp(aspect)))))
    height = min(size, max(1, round(size * math.sqrt(area / math.exp(aspect)))))
    left, top = round(x * (size - width)), round(y * (size - height))
    return left, top, left + width, top + height
