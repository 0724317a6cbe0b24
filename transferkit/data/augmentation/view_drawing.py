"""How views of a picture are drawn, in a form that another process can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transferkit.data.augmentation.augment import AugmentationRanges, changed_views, changes, render
from transferkit.data.augmentation.views import Canvas
from transferkit.data.images.decode import DecodeSettings, fit, open_pixels
from transferkit.data.images.memory import MEMORY
from transferkit.data.samples import Pixels, Source

State = Canvas | Pixels  # what views are drawn from: a canvas, or the clean view itself


@dataclass(frozen=True)
class ViewDrawing:
    """How views are drawn, whatever the picture."""

    decode: DecodeSettings
    augmentation: AugmentationRanges
    mirrored: bool = False

    def draw(self, source: Source, seeds: Sequence[int]) -> Pixels:
        """uint8 [len(seeds), size, size, 3] of one picture, by this process. Raises PictureError."""
        with MEMORY.turn():
            return self._turned(render(open_pixels(source, self.decode), self.decode, self.augmentation, seeds))

    def state(self, source: Source, seed: int) -> State:
        """What the view of `seed` is drawn from, and others that are clean or changed like it. Raises PictureError."""
        with MEMORY.turn():
            pixels = open_pixels(source, self.decode)
            return Canvas.of(pixels, self.decode) if changes(self.augmentation, seed) else fit(pixels, self.decode)

    def draw_from(self, state: State, seeds: Sequence[int]) -> Pixels:
        """As `draw`, of a picture's state."""
        if isinstance(state, Canvas):
            return self._turned(np.stack(list(changed_views(state, self.augmentation, seeds))))
        return self._turned(np.stack([state] * len(seeds)))

    def _turned(self, found: Pixels) -> Pixels:
        return np.ascontiguousarray(found[:, :, ::-1]) if self.mirrored else found
