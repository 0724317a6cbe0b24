"""All feature sets of the store together: what they are, what room there is for more, and which go first."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from transferkit import cache_quota
from transferkit.features.number_formats import row_bytes
from transferkit.features.store import root
from transferkit.files import read_json
from transferkit.record import JsonObject

SHARE_OF_FREE_DISK = 0.5  # what one extraction may take of the space left


@dataclass(frozen=True, kw_only=True)
class StoredSet:
    """A set on disk: what makes it this one, its bytes, and the time of its last use (seconds since 1970)."""

    folder: str
    spec: JsonObject
    bytes: int
    used: float


def listing() -> list[StoredSet]:
    """Every stored set."""
    found = []
    for folder in sorted(root().glob("*/*/")):
        meta = folder / "set.json"
        try:
            spec, used = read_json(meta)["spec"], meta.stat().st_mtime
        except (OSError, ValueError, KeyError, TypeError):
            spec, used = {"network": "(damaged)", "rows": "?", "precision": "?"}, 0.0  # the first to go
        size = sum(f.stat().st_size for f in folder.iterdir() if f.is_file())
        found.append(StoredSet(folder=str(folder), spec=spec, bytes=size, used=used))
    return found


def room_for(rows: int, width: int, promised: int = 0) -> tuple[bool, int, int]:
    """Whether rows fit: within the store's limit, and never more than half of what is free on the disk.

    Args:
        rows: how many.
        width: numbers in a row.
        promised: bytes that have been given to others and are not written yet.

    Returns:
        Whether they fit, bytes needed, bytes there are.
    """
    folder = root()
    folder.mkdir(parents=True, exist_ok=True)
    needed = rows * row_bytes(width)
    there = min(_disk_share(folder), cache_quota.limit(folder) - sum(s.bytes for s in listing()))
    return needed + promised <= there or not needed, needed, max(0, there)


def make_room(needed: int) -> tuple[int, int]:
    """Evict sets that nobody uses, least recently used first, until `needed` bytes fit; (sets removed, bytes freed).

    Nothing is evicted where that would not be enough.
    """
    folder, sets = root(), sorted(listing(), key=lambda s: s.used)
    stored, cap = sum(s.bytes for s in sets), cache_quota.limit(folder)
    if needed > cap or needed > _disk_share(folder) + SHARE_OF_FREE_DISK * stored:
        return 0, 0
    removed, freed = 0, 0
    for entry in sets:
        if stored - freed + needed <= cap and needed <= _disk_share(folder):
            break
        if cache_quota.remove_unused(Path(entry.folder)):
            removed, freed = removed + 1, freed + entry.bytes
    return removed, freed


def _disk_share(folder: Path) -> int:
    return int(shutil.disk_usage(folder).free * SHARE_OF_FREE_DISK)


def clear(keep_bytes: int = 0) -> tuple[int, int]:
    """Remove least recently used sets until at most `keep_bytes` remain; returns (sets removed, bytes freed).

    What a running job uses stays.
    """
    sets = sorted(listing(), key=lambda s: s.used)
    total, removed, freed = sum(s.bytes for s in sets), 0, 0
    for entry in sets:
        if total - freed <= keep_bytes:
            break
        if cache_quota.remove_unused(Path(entry.folder), asked=True):
            removed, freed = removed + 1, freed + entry.bytes
    return removed, freed
