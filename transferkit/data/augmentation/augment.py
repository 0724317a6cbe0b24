"""Seeded views of a picture: decode once, then one affine map and one colour map per view.

A view depends on nothing but the picture, the settings and its seed (pixels also on the version of OpenCV).
View 0 is the clean picture that evaluation and prediction see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from transferkit.data.augmentation.augmentation_config import (
    PRESET_NAMES,
    PRESETS,
    AugmentationRanges,
    Preset,
    augmentation,
)
from transferkit.data.augmentation.views import Canvas, Draw
from transferkit.data.images.decode import DecodeSettings, fit
from transferkit.data.samples import Pixels

__all__ = [
    "CLEAN", "PRESETS", "PRESET_NAMES", "AugmentationRanges", "Preset", "augmentation", "render",
    "view_seed",
]  # fmt: skip

CLEAN = 0  # the seed of view 0


def view_seed(run_seed: int, picture_sha256: str, view: int) -> int:
    """The seed of one view of one picture, the same on every machine and in every version of Python.

    Args:
        run_seed: of the run.
        picture_sha256: of the picture's file, hex.
        view: its number; 0 is the clean picture.

    Returns:
        `CLEAN` for view 0, else 1 … 2^63.
    """
    if view == 0:
        return CLEAN
    text = f"view:{run_seed}:{picture_sha256}:{view}".encode()
    return 1 + (int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1)


def render(
    image: Image.Image | Pixels, settings: DecodeSettings, augment: AugmentationRanges, seeds: Sequence[int]
) -> Pixels:
    """Views of one picture.

    Args:
        image: what `open_pixels(source, settings)` or `open_picture(source, settings)` returned.
        settings: size in pixels, and how pictures become square.
        augment: the ranges that changes are drawn from.
        seeds: one a view (`view_seed`); `CLEAN` gives the picture as `fit` does.

    Returns:
        uint8 [V, size, size, 3], in the order of `seeds`.
    """
    pixels: Pixels = np.asarray(image)
    drawn = [i for i, seed in enumerate(seeds) if changes(augment, seed)]
    if len(seeds) == 1 and not drawn:
        return fit(pixels, settings)[None]
    views = np.empty((len(seeds), settings.size, settings.size, 3), dtype=np.uint8)
    if drawn:
        changed = changed_views(Canvas.of(pixels, settings), augment, [seeds[i] for i in drawn])
        for i, view in zip(drawn, changed, strict=True):
            views[i] = view
    clean = [i for i in range(len(seeds)) if i not in drawn]
    if clean:
        views[clean] = fit(pixels, settings)
    return views


def changes(augment: AugmentationRanges, seed: int) -> bool:
    """Whether a view is not the clean one.

    Args:
        augment: the ranges that changes are drawn from.
        seed: of the view.
    """
    return seed != CLEAN and not augment.is_none


def changed_views(canvas: Canvas, augment: AugmentationRanges, seeds: Iterable[int]) -> Iterator[Pixels]:
    """Views of a canvas, one after the other.

    Args:
        canvas: of the picture.
        augment: see `render`.
        seeds: one a view, none of them `CLEAN`.

    Yields:
        uint8 [size, size, 3].
    """
    for seed in seeds:
        yield augment.finish(canvas.view(Draw.of(augment, seed)), seed)
