"""Views of pictures in batches, drawn ahead on threads, straight into memory that is used again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from transferkit.data.images.decode import BUNDLE, PictureError
from transferkit.data.images.memory import keep_freed
from transferkit.data.threads import available_threads, map_ordered, one_core_each
from transferkit.features.row_sources import Work

Unreadable = Callable[[int, PictureError], None]  # is told the number of a picture, and why it cannot be read
Draw = Callable[[Sequence[Work], Sequence[Iterable[np.ndarray]]], list[PictureError | None]]
Place = tuple[np.ndarray, int]  # the memory of a batch, and a row of it
Placed = tuple[Work, list[Place]]


@dataclass(frozen=True)
class Batch:
    """(picture, view) of each row, and `pixels` uint8 [n, size, size, 3]."""

    views: list[tuple[int, int]]
    pixels: np.ndarray


class BatchDrawing:
    """`draw` is as `Views.draw` of some samples; `batch` views go into a batch, less into the last one, and where a
    picture cannot be read: `on_error` is told of it, and without `on_error` its error is raised.
    """

    def __init__(self, draw: Draw, size: int, batch: int, on_error: Unreadable | None) -> None:
        self._draw, self._shape, self._on_error = draw, (batch, size, size, 3), on_error
        self._free: deque[np.ndarray] = deque()

    def batches(self, work: Iterable[Work], most: int) -> Iterator[Batch]:
        """The batches, in order.

        Args:
            work: what is to be drawn.
            most: views of a picture at a time.
        """
        keep_freed()
        one_core_each()
        # Two batches in the making: with less, decoding would wait for the network, and it for decoding. Two bundles a
        # thread, for the same reason.
        bundle = max(1, BUNDLE // most)
        window = max(2 * available_threads(), 2 * self._shape[0] // (most * bundle))
        views: list[tuple[int, int]] = []
        rows: list[int] = []
        for bundled, errors in map_ordered(self._drawn, _bundles(self._placed(work), bundle), 0, window):
            for ((picture, some), places), error in zip(bundled, errors, strict=True):
                if error is not None:
                    if self._on_error is None:
                        raise error
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

    def _placed(self, work: Iterable[Work]) -> Iterator[Placed]:
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

    def _drawn(self, bundled: list[Placed]) -> tuple[list[Placed], list[PictureError | None]]:
        # Into the batch by the thread that drew them: they lie in its core's cache.
        into = [[memory[row] for memory, row in places] for _, places in bundled]
        return bundled, self._draw([work for work, _ in bundled], into)


def _bundles(items: Iterator[Placed], count: int) -> Iterator[list[Placed]]:
    while some := list(islice(items, count)):
        yield some


def _filled(memory: np.ndarray, rows: list[int]) -> np.ndarray:
    """The rows of a batch that hold pictures: all of it, or a copy of those."""
    return memory if len(rows) == len(memory) else memory[rows]
