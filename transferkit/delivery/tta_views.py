"""The looks at one picture that test-time augmentation averages: mirrored, and a crop of its middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transferkit.data.images.decode import DecodeSettings, fit, open_pixels
from transferkit.data.images.memory import MEMORY
from transferkit.data.samples import Pixels, Source

SHARE = 0.9  # of each side that the crop keeps


@dataclass(frozen=True)
class Look:
    """One way to look at a picture; the plain one is what evaluation saw."""

    mirror: bool = False
    crop: bool = False


PLAIN, MIRRORED, CROPPED, BOTH = Look(), Look(mirror=True), Look(crop=True), Look(mirror=True, crop=True)
# Name → the looks whose answers are averaged.
CANDIDATES: dict[str, tuple[Look, ...]] = {
    "mirror": (PLAIN, MIRRORED),
    "crop": (PLAIN, CROPPED),
    "mirror and crop": (PLAIN, MIRRORED, CROPPED, BOTH),
}


def looked(source: Source, settings: DecodeSettings, looks: Sequence[Look]) -> Pixels:
    """Looks at a picture that is decoded once.

    Args:
        source: of the picture.
        settings: of the decoder.
        looks: which parts and mirror images.

    Returns:
        uint8 [looks, size, size, 3].

    Raises:
        PictureError: it cannot be read.
    """
    with MEMORY.turn():
        whole = open_pixels(source, settings)
        fitted = {crop: fit(_middle(whole) if crop else whole, settings) for crop in {look.crop for look in looks}}
    return np.stack([fitted[look.crop][:, ::-1] if look.mirror else fitted[look.crop] for look in looks])


def _middle(pixels: Pixels) -> Pixels:
    """The central part of uint8 [H, W, 3] with `SHARE` of each side."""
    height, width = (max(1, round(SHARE * side)) for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])
