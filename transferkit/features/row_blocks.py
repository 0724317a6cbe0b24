"""Rows that are read a block at a time, so that who works on them need not hold them: in memory or on disk alike.

Blocks depend on the shape of the rows alone, and are gone through in the order of rows: sums, and all that is made of
them, are the same numbers in both cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.features import working_arrays
from transferkit.file_windows import release

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

BLOCK_BYTES = 16 << 20  # of a block of rows; what is computed of it takes some times as much,
BLOCK_ROWS = 8192  # or so many rows, where they are short


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Rows float32 [n, V, D] on disk. `read` gives those at places int64 [k]; none are kept in memory."""

    read: Callable[[Places], Rows]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: Places | slice) -> Rows:
        """Rows [k, V, D], read now."""
        if isinstance(places, slice):
            places = np.arange(*places.indices(len(self)))
        return self.read(places)


Table = Rows | StoredRows  # float32 [n, V, D]: V views of each picture, of which the first is the clean one


def blocks(x: Table, places: Places | None = None, most: int = BLOCK_ROWS) -> Iterator[tuple[Any, Rows]]:
    """Where, and the rows there, block by block: of all rows, or of those at `places` in that order.

    Args:
        x: rows [n, V, D].
        places: int [k].
        most: rows in a block, where what is made of one is much larger.
    """
    size = max(1, min(BLOCK_ROWS, most, BLOCK_BYTES // max(1, 4 * math.prod(x.shape[1:]))))
    for start in range(0, len(x) if places is None else len(places), size):
        some: Any = slice(start, start + size) if places is None else places[start : start + size]
        yield some, x[some]


def at(x: Table, places: Places) -> Table:
    """Some rows: a copy of what is in memory.

    Args:
        x: rows [n, V, D].
        places: of those that are wanted, int [k], in that order.
    """
    if isinstance(x, StoredRows):
        return StoredRows(lambda some: x.read(places[some]), (len(places), *x.shape[1:]))
    return x[places]


def narrow(x: Table, start: int, stop: int) -> Table:
    """Some columns of all rows: a copy of what is in memory.

    Args:
        x: rows [n, V, D].
        start: the first column.
        stop: the one after the last.
    """
    if isinstance(x, StoredRows):
        return StoredRows(lambda some: x.read(some)[:, :, start:stop], (*x.shape[:2], stop - start))
    return x[:, :, start:stop].copy()


def beside(parts: Sequence[Table], views: int, most: int) -> Table:
    """Columns of several tables side by side: put together in memory where all are there and come to `most` bytes at
    the most, else whenever they are read.

    Args:
        parts: rows [n, V, D] of the same pictures.
        views: how many of the first views are taken.
        most: see above.
    """
    width = sum(part.shape[2] for part in parts)
    if all(isinstance(part, np.ndarray) for part in parts) and 4 * len(parts[0]) * views * width <= most:
        return np.concatenate([part[:][:, :views] for part in parts], axis=2)
    return StoredRows(
        lambda some: np.concatenate([part[some][:, :views] for part in parts], axis=2), (len(parts[0]), views, width)
    )


def held(x: Table) -> Rows:
    """The rows in memory."""
    if isinstance(x, np.ndarray):
        return x
    found = np.empty(x.shape, np.float32)
    for places, rows in blocks(x):
        found[places] = rows
    return found


def mapped(x: Table, function: Callable[[Rows], Rows], width: int) -> Table:
    """What `function` makes of each block, [k, V, D] → [k, V, width]: in memory or on disk (`working_arrays`).

    Args:
        x: rows [n, V, D].
        function: see there.
        width: numbers in a row that it makes.
    """
    found = working_arrays.array((len(x), x.shape[1], width), np.float32)
    for places, rows in blocks(x):
        found[places] = function(rows)
        release(found)
    return _read_back(found) if isinstance(found, np.memmap) else found


def _read_back(found: Rows) -> StoredRows:
    plain = np.asarray(found)  # rows that are taken out of a map would be maps as well

    def read(places: Places) -> Rows:
        rows = plain[places]
        release(found)
        return rows

    return StoredRows(read, found.shape)


def mean_and_variance(x: Table, start: int = 0, stop: int | None = None) -> tuple[Floats, Floats]:
    """Of columns of the clean view, float64 [D], by one pass (Chan, Golub & LeVeque 1979).

    Args:
        x: rows [n, V, D].
        start: the first column.
        stop: the one after the last; None: all.
    """
    width = (x.shape[2] if stop is None else stop) - start
    count, mean, squares = 0, np.zeros(width), np.zeros(width)
    for _, rows in blocks(x):
        clean = rows[:, 0, start:stop]
        here = clean.mean(0, dtype=np.float64)
        apart, total = here - mean, count + len(clean)
        squares += ((clean - here) ** 2).sum(0) + apart**2 * (count * len(clean) / total)
        mean += apart * (len(clean) / total)
        count = total
    return mean, squares / max(count, 1)
