"""How views of a picture are drawn, in a form that another process can be told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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

    def draw(self, source: Source, seeds: Sequence[int], into: Iterable[Pixels]) -> None:
        """Lay a view of one picture for each seed into a place uint8 [size, size, 3]. Raises PictureError."""
        with MEMORY.turn():
            pixels = open_pixels(source, self.decode)
            if len(seeds) == 1 and not changes(self.augmentation, seeds[0]) and not self.mirrored:
                fit(pixels, self.decode, *into)  # to copy it takes a tenth of the time of a small picture
            else:
                self._lay(render(pixels, self.decode, self.augmentation, seeds), into)

    def state(self, source: Source, seed: int) -> State:
        """What the view of `seed` is drawn from, and others that are clean or changed like it. Raises PictureError."""
        with MEMORY.turn():
            pixels = open_pixels(source, self.decode)
            return Canvas.of(pixels, self.decode) if changes(self.augmentation, seed) else fit(pixels, self.decode)

    def draw_from(self, state: State, seeds: Sequence[int], into: Iterable[Pixels]) -> None:
        """As `draw`, of a picture's state."""
        if isinstance(state, Canvas):
            self._lay(changed_views(state, self.augmentation, seeds), into)
        else:
            self._lay([state] * len(seeds), into)

    def _lay(self, views: Iterable[Pixels], into: Iterable[Pixels]) -> None:
        for view, place in zip(views, into, strict=True):
            place[...] = view[:, ::-1] if self.mirrored else view
