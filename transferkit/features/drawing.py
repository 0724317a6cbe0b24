"""Views of pictures in batches, drawn ahead on threads, straight into memory that is used again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from transferkit.data.images.decode import BUNDLE, PictureError
from transferkit.data.images.memory import keep_freed
from transferkit.data.threads import available_threads, map_ordered, one_core_each

Unreadable = Callable[[int, PictureError], None]  # is told the number of a picture, and why it cannot be read
Work = tuple[int, Sequence[int]]  # a picture and some of its views
Place = tuple[np.ndarray, int]  # the memory of a batch, and a row of it


@dataclass(frozen=True)
class Batch:
    """(picture, view) of each row, and `pixels` uint8 [n, size, size, 3]."""

    views: list[tuple[int, int]]
    pixels: np.ndarray


class BatchDrawing:
    """`pixels(picture, views)` gives uint8 [len(views), size, size, 3]; `batch` views go into a batch, less into the
    last one, and where a picture cannot be read: `on_error` is told of it, and without `on_error` its error is raised.
    """

    def __init__(
        self, pixels: Callable[[int, Sequence[int]], np.ndarray], size: int, batch: int, on_error: Unreadable | None
    ) -> None:
        self._pixels, self._shape, self._on_error = pixels, (batch, size, size, 3), on_error
        self._free: deque[np.ndarray] = deque()

    def batches(self, work: Iterable[Work], most: int) -> Iterator[Batch]:
        """The batches, in order.

        Args:
            work: what is to be drawn.
            most: views of a picture at a time.
        """
        keep_freed()
        one_core_each()
        # Two batches in the making: with less, decoding would wait for the network, and it for decoding.
        window, bundle = max(2 * available_threads(), 2 * self._shape[0] // most), max(1, BUNDLE // most)
        views: list[tuple[int, int]] = []
        rows: list[int] = []
        for (picture, some), places, error in map_ordered(self._draw, self._placed(work), 0, window, bundle):
            if error is not None and self._on_error is not None:
                self._on_error(picture, error)
            for view, (memory, row) in zip(some, places, strict=True):
                if error is None:
                    views.append((picture, view))
                    rows.append(row)
                if row == len(memory) - 1 and rows:
                    yield Batch(views, _filled(memory, rows))
                    views, rows = [], []
        if rows:
            yield Batch(views, _filled(memory, rows))

    def use_again(self, batch: Batch, outputs: Sequence[np.ndarray]) -> None:
        """Nothing reads the pixels of a batch any more, unless the outputs that came of it lie in them.

        Asking the system for memory costs as much as filling it with pictures.
        """
        pixels = batch.pixels
        if pixels.shape == self._shape and not any(np.may_share_memory(pixels, output) for output in outputs):
            self._free.append(pixels)

    def _placed(self, work: Iterable[Work]) -> Iterator[tuple[Work, list[Place]]]:
        """Where each view goes: one batch after the other, without gaps."""
        memory, row = np.empty(0, np.uint8), 0
        for one in work:
            places = []
            for _ in one[1]:
                if row == len(memory):
                    memory, row = self._free.pop() if self._free else np.empty(self._shape, np.uint8), 0
                places.append((memory, row))
                row += 1
            yield one, places

    def _draw(self, item: tuple[Work, list[Place]]) -> tuple[Work, list[Place], PictureError | None]:
        work, places = item
        try:
            # Into the batch by the thread that drew them: they lie in its core's cache.
            for (memory, row), pixels in zip(places, self._pixels(*work), strict=True):
                memory[row] = pixels
        except PictureError as error:
            if self._on_error is None:
                raise
            return work, places, error
        return work, places, None


def _filled(memory: np.ndarray, rows: list[int]) -> np.ndarray:
    """The rows of a batch that hold pictures: all of it, or a copy of those."""
    return memory if len(rows) == len(memory) else memory[rows]
