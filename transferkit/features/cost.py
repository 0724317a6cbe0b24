"""Whether activations at a cut are worth their place on the disk: measured, not guessed, and remembered.

A cut deep in the network gives small maps that were expensive to compute; one near the pictures gives large maps that
cost little. Which is which depends on the processor and the disk.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferkit.features.precision import machine
from transferkit.files import digest
from transferkit.record import JsonObject
from transferkit.seals import recalled, remember
from transferkit.storage import cache_folder

LARGE = 256 << 20  # bytes of rows below which storing them costs less than measuring would
DISK_SAMPLE = 48 << 20  # bytes that are written and read to measure the disk
Pass = Callable[[Sequence[Any]], Any]


@dataclass(frozen=True)
class ExtractionCost:
    """Seconds of a picture's way to its activations, and bytes a second of the disk that would hold them."""

    decode: float
    forward: float
    write: float
    read: float

    def again(self, visits: int) -> float:
        """Seconds of computing `visits` rows each time they are asked for."""
        return visits * (self.decode + self.forward)

    def stored(self, visits: int, lacking: int, row_bytes: int) -> float:
        """Seconds of writing `lacking` rows, which come out of the head's own pass, and of reading `visits`."""
        return lacking * row_bytes / self.write + visits * row_bytes / self.read


def measured(key: JsonObject, folder: Path, pixels: Callable[[], np.ndarray], run: Pass, batch: int) -> ExtractionCost:
    """The cost of one picture's way through the frozen part, measured once for each network, cut, precision, machine
    and disk.

    Args:
        key: names network, cut and precision.
        folder: of the cache, whose disk is measured too.
        pixels: gives uint8 [n, size, size, 3] of real pictures, 0 < n ≤ `batch`; asked for only where nothing is known.
        run: uint8 [batch, size, size, 3] → activations.
        batch: pictures of a call.

    Returns:
        Seconds a picture of decoding and of the forward pass, and bytes a second of the disk.
    """
    known = {**key, "cost": 1, "machine": machine(), "disk": os.stat(folder).st_dev}
    memory = cache_folder() / "precision" / f"{digest(known)[:32]}.json"
    try:
        return ExtractionCost(**recalled(memory))
    except (OSError, ValueError, TypeError):
        pass
    started = time.perf_counter()
    some = pixels()
    decode = (time.perf_counter() - started) / len(some)
    full = np.resize(some, (batch, *some.shape[1:]))
    run([full])  # traced
    started = time.perf_counter()
    run([full])
    forward = (time.perf_counter() - started) / batch
    cost = ExtractionCost(decode, forward, *disk(folder))
    remember(memory, asdict(cost))
    return cost


def disk(folder: Path) -> tuple[float, float]:
    """Bytes a second that `folder`'s disk takes and gives, past the system's memory where that can be asked for."""
    block = np.random.default_rng(0).integers(0, 256, DISK_SAMPLE, np.uint8).data
    with tempfile.TemporaryFile(dir=folder, buffering=0) as handle:
        started = time.perf_counter()
        handle.write(block)
        os.fsync(handle.fileno())
        written = time.perf_counter() - started
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        handle.seek(0)
        started = time.perf_counter()
        while handle.read(1 << 20):
            pass
        gone = time.perf_counter() - started
    return DISK_SAMPLE / written, DISK_SAMPLE / gone
