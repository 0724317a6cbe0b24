"""Pictures kept where all processes that draw see them, in the state that views are drawn from.

Training asks for other views of the same pictures in every epoch. Reading, checking and decoding a file is half of
what a view costs, bringing the picture near the size of the views most of the rest, and neither depends on the view.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from transferkit.data.augmentation.view_drawing import State
from transferkit.data.augmentation.views import Canvas
from transferkit.data.images.decode import DecodeSettings
from transferkit.data.machine import available_memory, machine_memory
from transferkit.data.samples import Pixels

PART = 4  # one in so many bytes of the machine's memory, and of what is free, may hold pictures


def most() -> int:
    """Bytes that may be kept in all."""
    return min(machine_memory(), available_memory()) // PART


@dataclass(frozen=True)
class Kept:
    """A state lies at `at` bytes: uint8 [height, width, 3]. `frame` and `mean` are those of a canvas; None: it is the
    clean view.
    """

    at: int
    height: int
    width: int
    frame: tuple[float, float] | None
    mean: tuple[int, int, int] | None


class Keeping:
    """One process's sight of what all keep, and the part that it fills, from `start` to `stop`, in the order in which
    it is asked; what does not fit any more is not kept.
    """

    def __init__(self, memory: int, size: int, part: int, parts: int) -> None:
        """`memory`: a file of `size` bytes, of which this is the `part`th of `parts`."""
        self._next, self._stop = part * (size // parts), (part + 1) * (size // parts)
        self._memory: Pixels | None = None
        with suppress(OSError, ValueError):  # no such file, or no addresses for it: nothing is kept
            self._memory = np.frombuffer(mmap.mmap(memory, size), np.uint8)

    def keep(self, state: State) -> Kept | None:
        """Where it lies from now on; None where there is no room."""
        pixels, more = (state.pixels, (state.frame, state.mean)) if isinstance(state, Canvas) else (state, (None, None))
        if self._memory is None or self._next + pixels.size > self._stop:
            return None
        at, self._next = self._next, self._next + pixels.size
        self._memory[at : self._next] = pixels.ravel()
        height, width = pixels.shape[:2]
        return Kept(at, height, width, *more)

    def state(self, kept: Kept, settings: DecodeSettings) -> State:
        """What was kept, by this process or another one; not copied."""
        assert self._memory is not None
        size = kept.height * kept.width * 3
        pixels = self._memory[kept.at : kept.at + size].reshape(kept.height, kept.width, 3)
        if kept.frame is None or kept.mean is None:
            return pixels
        return Canvas(pixels, kept.frame, settings.size, kept.mean, settings.resize == "letterbox")
