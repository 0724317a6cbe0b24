"""Arrays that are worked with for a while: in memory up to one bound for all of them, beyond it in nameless files.

So a process takes as much memory for a million rows as for some ten thousand. What is computed is the same in both.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.data.machine import available_memory
from transferkit.errors import StorageError
from transferkit.file_windows import release
from transferkit.files import reason
from transferkit.storage import cache_folder

HELD_BYTES = 256 << 20  # of such arrays in memory at once; of rows that are read into it, as many again
TABLE_BYTES = 32 << 20  # of a table that is gone through a few times, a part at a time
WRITE = 1 << 24  # bytes written at a time

_held: dict[int, int] = {}  # by a number of each array in memory, its bytes


def array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
    """An array whose content is not set: in memory while there is room within the bound, else in a file, which
    `release` gives back; in memory too where there is no file to be had, and memory enough.

    Args:
        shape: of the array.
        dtype: of its numbers.

    Raises:
        StorageError: there is no room for it.
    """
    size = _bytes(shape, dtype)
    stored = _where_it_fits(shape, dtype) if size + held_bytes() > HELD_BYTES else None
    if stored is not None:
        return stored
    found = np.empty(shape, dtype)
    _held[id(found)] = size
    weakref.finalize(found, _held.pop, id(found))
    return found


def table(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
    """The same of what is written once and then read some rows at a time, as answers are: beyond `TABLE_BYTES` in a
    file, whatever else there is. Who goes through it calls `release` behind each part, or goes by `tasks.task.parts`.

    Args:
        shape, dtype: as of `array`.

    Raises:
        StorageError: there is no room for it.
    """
    stored = _where_it_fits(shape, dtype) if _bytes(shape, dtype) > TABLE_BYTES else None
    return np.empty(shape, dtype) if stored is None else stored


def filled(count: int, parts: Iterable[npt.NDArray[Any]]) -> Any:
    """A `table` of its parts, one after the other: beside all of them it would be twice as much.

    Args:
        count: rows of all parts together.
        parts: arrays [n, …], at least one.

    Raises:
        StorageError: there is no room for it.
    """
    found, start = None, 0
    for part in parts:
        found = table((count, *part.shape[1:]), part.dtype) if found is None else found
        found[start : start + len(part)] = part
        start += len(part)
        release(found)
    assert found is not None
    return found


def _where_it_fits(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
    """An array in a file; None where there is no file to be had, and memory enough. Raises StorageError for neither."""
    try:
        return _on_disk(shape, dtype)
    except StorageError:
        if 2 * _bytes(shape, dtype) > available_memory():
            raise
    return None


def _bytes(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def room(like: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """An `array` of the shape and type of another, as answers have those of the targets.

    Args:
        like: the other.
    """
    found: npt.NDArray[np.float64] = array(like.shape, like.dtype)
    return found


def held_bytes() -> int:
    """Bytes of all that `array` made in memory and that is still used."""
    return sum(list(_held.values()))


def _on_disk(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
    """An array of zeros in a file that has no name, and is gone with it. Raises StorageError: no room for it."""
    size = _bytes(shape, dtype)
    folder = _place()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Written, not only made long: a map into a file that the disk has no room for ends the process.
            for start in range(0, size, WRITE):
                file.write(bytes(min(WRITE, size - start)))
            file.flush()
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise StorageError(
            f"{size / 1e9:.1f} GB of features that memory has no room for cannot be written in {folder} "
            f"({reason(error)}); free some space, or move the cache with TRANSFERKIT_CACHE"
        ) from error


def free_on_disk() -> int:
    """Bytes that are free where `array` puts arrays."""
    return shutil.disk_usage(_place()).free


def _place() -> Path:
    """Where `on_disk` puts arrays: the cache, or the folder for temporary files where that cannot be written."""
    folder = cache_folder()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder if os.access(folder, os.W_OK) else Path(tempfile.gettempdir())
