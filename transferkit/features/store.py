"""The on-disk feature store: rows of activations, memory-mapped, written while computing, never trusted unchecked.

A *set* belongs to one network, cut, picture size and precision; its folder name is the digest of everything that
changes content. A *row* is one view of one picture, named by the picture's bytes and the view. Rows come in chunks;
a chunk exists once its index file does, and the index is written last, so a kill loses one chunk at most. A chunk
whose length or checksum is wrong is left out, and its rows are computed again.
"""

from __future__ import annotations

import os
import shutil
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferkit.errors import StorageError
from transferkit.files import cache_folder, digest, locked, read_json, whole, write_json

FORMAT = 1
SHARE_OF_FREE_DISK = 0.5  # what one extraction may take of the space left


@dataclass(frozen=True)
class Place:
    """Where a row lies: chunk number and row within it."""

    chunk: int
    row: int


class FeatureSet:
    """Rows of one network at one cut. Each row is float32 or float16 of length `sum(prod(shape))`.

    `shapes` are those of the cut's tensors without the batch axis; a row holds them flattened, one after the other.
    """

    def __init__(self, folder: Path, spec: dict[str, Any], shapes: Sequence[tuple[int, ...]]) -> None:
        self.folder = folder
        self.shapes = [tuple(shape) for shape in shapes]
        self.spec = spec
        self._chunks: list[np.ndarray] = []
        self._places: dict[str, Place] = {}
        self._seen: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "set.json").exists():
            write_json(folder / "set.json", {"format": FORMAT, "spec": spec, "shapes": self.shapes})
        self.refresh()

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def refresh(self) -> None:
        """Take in chunks that this or another process has finished."""
        os.utime(self.folder / "set.json")  # the time of last use, for eviction
        for index in sorted(self.folder.glob("chunk-*.json")):
            if index.name not in self._seen:
                self._seen.add(index.name)
                self._open(index)

    def _open(self, index: Path) -> None:
        try:
            entry = read_json(index)
            rows = np.load(index.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            good = rows.shape == (len(entry["rows"]), self.width) and checksum(rows) == entry["checksum"]
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            good = False
        if not good:
            return  # damaged: its rows are simply missing, and are computed again into a new chunk
        self._chunks.append(rows)
        for row, name in enumerate(entry["rows"]):
            self._places[name] = Place(len(self._chunks) - 1, row)

    def missing(self, names: Sequence[str]) -> set[str]:
        """Those of `names` that are not stored."""
        return {name for name in names if name not in self._places}

    def append(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Store `rows` [n, width] under `names`, whole or not at all.

        Raises StorageError when the disk is full; what was stored before stays valid.
        """
        # Half precision where nothing overflows: activations carry about three significant digits of meaning,
        # and maps at a cut are large. Short rows (pooled vectors) are cheap, so they keep all digits.
        if self.width > 8192:
            half = rows.astype(np.float16)
            rows = half if np.isfinite(half).all() else rows
        try:
            with locked(self.folder / "write.lock"):
                stem = self.folder / f"chunk-{time.time_ns():020d}-{os.getpid()}"
                with whole(stem.with_suffix(".npy")) as temporary, open(temporary, "wb") as handle:
                    np.save(handle, rows)
                    handle.flush()
                write_json(stem.with_suffix(".json"), {"rows": list(names), "checksum": checksum(rows)})
        except OSError as error:
            if error.errno in (28, 122):
                raise StorageError(
                    f"no space left for features in {self.folder}; free some (`transferkit cache clear`), move the "
                    "cache with TRANSFERKIT_CACHE, or use --no-cache"
                ) from error
            raise
        self.refresh()

    def places(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Chunk numbers and rows of `names`, int64 arrays. Raises KeyError for a row that is not stored."""
        found = [self._places[name] for name in names]
        return np.array([p.chunk for p in found], np.int64), np.array([p.row for p in found], np.int64)

    def gather(self, chunks: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Rows at the given places, in that order, as float32 [n, width]."""
        out = np.empty((len(rows), self.width), np.float32)
        for chunk in np.unique(chunks):
            here = np.flatnonzero(chunks == chunk)
            here = here[np.argsort(rows[here], kind="stable")]  # reading forwards is what disks like
            out[here] = self._chunks[chunk][rows[here]]
        return out

    def unpack(self, rows: np.ndarray) -> list[np.ndarray]:
        """Rows [n, width] as the cut's tensors [n, *shape], in order."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        return [
            part.reshape(len(rows), *shape)
            for part, shape in zip(np.split(rows, ends[:-1], axis=1), self.shapes, strict=True)
        ]


def checksum(rows: np.ndarray) -> int:
    """CRC-32 of the raw bytes: guards against truncation and bit rot, not against an adversary."""
    return zlib.crc32(np.ascontiguousarray(rows).view(np.uint8).reshape(-1).data)


def root() -> Path:
    """The folder of all feature sets."""
    return cache_folder() / "features"


def open_set(spec: dict[str, Any], shapes: Sequence[tuple[int, ...]]) -> FeatureSet:
    """The set that belongs to `spec`, made if absent."""
    name = digest({"format": FORMAT, **spec})
    return FeatureSet(root() / name[:2] / name, spec, shapes)


def room_for(rows: int, width: int) -> tuple[bool, int, int]:
    """(whether `rows` rows fit, bytes needed, bytes free): the disk is never filled by more than half its rest."""
    folder = root()
    folder.mkdir(parents=True, exist_ok=True)
    needed = rows * width * (2 if width > 8192 else 4)
    free = shutil.disk_usage(folder).free
    return needed <= free * SHARE_OF_FREE_DISK, needed, free


def listing() -> list[dict[str, Any]]:
    """Every stored set: folder, spec, bytes, rows are not counted (that would read all indices), last use."""
    found = []
    for meta in sorted(root().glob("*/*/set.json")):
        files = [f for f in meta.parent.iterdir() if f.is_file()]
        found.append(
            {
                "folder": str(meta.parent),
                "spec": read_json(meta)["spec"],
                "bytes": sum(f.stat().st_size for f in files),
                "used": meta.stat().st_mtime,
            }
        )
    return found


def clear(keep_bytes: int = 0) -> tuple[int, int]:
    """Remove least recently used sets until at most `keep_bytes` remain; returns (sets removed, bytes freed)."""
    sets = sorted(listing(), key=lambda s: s["used"])
    total, removed, freed = sum(s["bytes"] for s in sets), 0, 0
    for entry in sets:
        if total - freed <= keep_bytes:
            break
        with locked(Path(entry["folder"]) / "write.lock"):
            shutil.rmtree(entry["folder"], ignore_errors=True)
        removed, freed = removed + 1, freed + entry["bytes"]
    return removed, freed
