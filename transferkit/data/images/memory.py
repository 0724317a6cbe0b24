"""How much memory pictures take while they are decoded, over all threads: large ones wait for their turn.

The largest picture that is read (`reading.MAX_PIXELS`) holds up to a gigabyte until it is small, and as many are
decoded at once as there are processors. What one will take is estimated from its head, before any of it is decoded.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from transferkit.data.images.tones import STRIP, is_deep
from transferkit.data.machine import machine_memory

LEAST = 1 << 30  # bytes: the largest picture passes alone, wherever it is read
SHARE = 8  # of the machine's memory: one part of so many
SMALL = 16 << 20  # bytes of a picture of which no account is kept
LARGE = 64 << 20  # bytes of one whose decoding takes so long that the search for freed memory behind it costs little
KEPT = 16 << 20  # bytes: twice as many are kept of what a thread has freed
# Bytes a pixel at the peak, measured with pictures of 16 million pixels: what the format's library holds, Pillow's four
# bytes, and the RGB that is made of them.
PEAK = {"JPEG": 8, "MPO": 8, "PNG": 8, "BMP": 8, "GIF": 8, "TIFF": 8, "WEBP": 17, "AVIF": 16, "HEIF": 16, "DICOM": 8}
DEEP = 14  # of grey of 32 bits, spread between its percentiles
STRIPS = 20 << 20  # bytes for the strips of a picture that is computed in several
BUFFERED = 6  # bytes a pixel of the whole picture that libjpeg keeps of one which comes in several scans


class MemoryBudget:
    """`most` bytes for the pictures of all threads together; one that needs more has them to itself."""

    def __init__(self, most: int = 0) -> None:
        self.most, self._taken, self._free, self._mine = most, 0, threading.Condition(), threading.local()
        self._strict = False

    def refuse_beyond(self, most: int) -> None:
        """From now on a picture that needs more than `most` bytes is a MemoryError, and none waits."""
        self.most, self._strict = most, True

    def turn(self) -> MemoryBudget:
        """A context: what this thread takes inside is given back at the end of the outermost one."""
        return self  # and no generator: small pictures take 200 µs in all

    def __enter__(self) -> None:
        self._mine.depth = getattr(self._mine, "depth", 0) + 1

    def __exit__(self, *_: object) -> None:
        self._mine.depth -= 1
        if not self._mine.depth:
            self._hold(0)

    def take(self, more: int) -> None:
        """Wait until there is room for `more` bytes of this thread, to be called inside a turn."""
        held = getattr(self._mine, "held", 0)
        if self._strict and held + more > max(SMALL, self.most):
            raise MemoryError(f"a picture needs {held + more} bytes, of which there are {self.most} for it")
        if held or more > SMALL:
            # What is held is given back before all is asked for: two threads that each hold some would wait for ever.
            self._hold(0)
            self._hold(held + more)

    def _hold(self, wanted: int) -> None:
        held = getattr(self._mine, "held", 0)
        if held == wanted:
            return
        if held > LARGE and not wanted:
            trim()
        with self._free:
            self.most = self.most or max(LEAST, machine_memory() // SHARE)
            wanted = min(wanted, self.most)
            self._taken -= held
            self._mine.held = 0  # already here: waiting may be interrupted
            self._free.notify_all()
            self._free.wait_for(lambda: self._taken + wanted <= self.most)
            self._taken += wanted
        self._mine.held = wanted


@functools.cache
def _trimming() -> Callable[[int], int] | None:
    """glibc's, where this is glibc."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
        return found
    except (OSError, AttributeError, TypeError):
        return None


@functools.cache
def keep_freed() -> None:
    """Let glibc keep the memory of one small picture for the next.

    It gives what threads free back to the system, and gets it again page by page, until the process has freed a larger
    block once: its thresholds follow the largest (mallopt(3)). Twenty page faults were a tenth of a small picture's
    processor time, and threads wait for each other in them.
    """
    np.empty(KEPT, np.uint8)  # never touched, and freed at once


def trim() -> None:
    """Give freed memory back to the system: each thread keeps what it freed, which no other thread can use."""
    found = _trimming()
    if found is not None:
        found(0)


MEMORY = MemoryBudget()


def needed(image: Any, scale: int = 1) -> int:
    """Bytes that the decoding of a picture will take at the most, beside its file.

    Args:
        image: Pillow's, opened and not decoded yet.
        scale: of JPEGs: 1, 2, 4 or 8, by which they are decoded smaller.
    """
    pixels = image.width * image.height
    kept = BUFFERED * pixels if image.info.get("progressive") else 0
    kept += STRIPS if pixels > STRIP else 0
    each = max(PEAK.get(str(image.format), 20), DEEP if is_deep(image.mode) else 0)
    return int(kept + each * pixels // scale**2)
