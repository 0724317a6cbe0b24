"""What the cache keeps of data (unpacked archives, fetched files): within its size, least recently used first to go.

What a process has open as a container stays. Everything is made or fetched again when it is needed.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from transferkit import cache_quota
from transferkit.errors import StorageError
from transferkit.storage import cache_folder

STORES = ("archives", "fetched")
_COUNTED = 60.0  # seconds for which a sum is trusted, since other processes add to it too
_lock = threading.Lock()


@dataclass
class _Sum:
    """Bytes that are kept, as far as this process knows."""

    folder: Path
    bytes: int
    counted: float


ABANDONED = 3600.0  # seconds after which a half-written file is taken for one whose writer is gone

_sum: _Sum | None = None


def store(name: str) -> Path:
    """One of the `STORES`."""
    return cache_folder() / name


def files(name: str = "") -> list[Path]:
    """The files that are kept, of one of the `STORES` or of all; none that are just being written."""
    found = [path for one in ([name] if name else STORES) for path in store(one).rglob("*")]
    return sorted(p for p in found if not p.name.startswith(".") and p.suffix != ".lock" and p.is_file())


def _abandoned(name: str) -> list[Path]:
    """What processes that were killed left half-written."""
    now, found = time.time(), []
    for path in store(name).rglob(".*.tmp*"):
        with suppress(OSError):
            found += [path] if now - path.stat().st_mtime > ABANDONED else []
    return found


def limit() -> int:
    """Most bytes that are kept of data: as many as of features, which are counted by themselves."""
    return cache_quota.limit(cache_folder())


def use(path: Path) -> None:
    """Mark a kept file as used lately: by its time of access, for by that of change it would be opened again."""
    with suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def hold(path: Path, owner: object) -> None:
    """Keep a file of the cache from being evicted; one that lies elsewhere needs no keeping.

    Args:
        path: of the file.
        owner: for as long as this object lives.
    """
    if any(store(name) in path.parents for name in STORES):
        cache_quota.hold_file(path, owner)


def make_room(needed: int, what: str) -> None:
    """Let go what nobody uses until more bytes fit, and count these as taken.

    Args:
        needed: how many bytes.
        what: they are for, to begin the error's sentence.

    Raises:
        StorageError: they do not fit even so.
    """
    global _sum
    with _lock:
        folder, now = cache_folder(), time.monotonic()
        if _sum is None or _sum.folder != folder or now - _sum.counted > _COUNTED:
            _sum = _Sum(folder, sum(map(_bytes, files())), now)
        if _sum.bytes + needed > limit():
            _sum = _Sum(folder, _evicted(needed), now)
        if _sum.bytes + needed > limit():
            raise StorageError(
                f"{what} does not fit into the cache, which may keep {limit():,} bytes of data "
                f"({cache_quota.VARIABLE}; {_sum.bytes:,} of them are in use): raise that, or put the data on a disk "
                "and give the folder"
            )
        _sum.bytes += needed


def _evicted(needed: int) -> int:
    """Bytes left, when the least recently used files are gone that keep `needed` from fitting."""
    there = sorted(files(), key=_used)
    left = sum(map(_bytes, there))
    for path in there:
        if left + needed <= limit():
            break
        size = _bytes(path)
        if cache_quota.remove_unused_file(path):
            left -= size
    return left


def clear(name: str) -> tuple[int, int]:
    """Remove what one store keeps and nobody has open; how many files that were, and their bytes."""
    global _sum
    count = freed = 0
    for path in (*files(name), *_abandoned(name)):
        size = _bytes(path)
        if cache_quota.remove_unused_file(path, asked=True):
            with suppress(OSError):
                path.with_suffix(".lock").unlink(missing_ok=True)
            count, freed = count + 1, freed + size
    _sum = None
    return count, freed


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # gone meanwhile
        return 0


def _used(path: Path) -> float:
    try:
        return path.stat().st_atime
    except OSError:
        return 0.0
