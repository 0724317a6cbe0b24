"""The on-disk feature store: rows of activations, memory-mapped, written while computing, never trusted unchecked.

A *set* belongs to one network, cut, picture size and precision; its folder name is the digest of everything that
changes content. A *row* is one view of one picture, named by the picture's bytes and the view. Rows come in chunks;
a chunk exists once its index file does, and the index is written last, so a kill loses one chunk at most. A chunk
whose length or checksum is wrong is left out, and its rows are computed again.
"""

from __future__ import annotations

import errno
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np

from transferkit import cache_quota
from transferkit.errors import StorageError
from transferkit.features.number_formats import BFLOAT16, as_numbers, packed, width_of
from transferkit.features.row_blocks import BLOCK_BYTES
from transferkit.file_windows import release
from transferkit.files import (
    ARRAY_DAMAGE,
    LARGER_BOUND,
    atomic_path,
    digest,
    full,
    read_json,
    remove_temporaries_of,
    write_json,
)
from transferkit.record import JsonObject
from transferkit.storage import cache_folder, locked

FORMAT = 2
AN_HOUR = 3600.0  # seconds; nothing takes that long to write a chunk


# Chunks whose checksum this process has verified: a set is opened several times in a run, and reading all of it each
# time would cost seconds a gigabyte.
_verified: set[tuple[str, int, int, int]] = set()


class FeatureSet:
    """Rows of one network at one cut, each of length `sum(prod(shape))`, on disk in float32, float16 or bfloat16.

    `shapes` are those of the cut's tensors without the batch axis; a row holds them flattened, one after the other.
    """

    def __init__(self, folder: Path, spec: JsonObject, shapes: Sequence[tuple[int, ...]]) -> None:
        self.folder = folder
        self.shapes = [tuple(shape) for shape in shapes]
        self.spec = spec
        self._chunks: list[np.ndarray] = []
        self._places: dict[str, tuple[int, int]] = {}  # name → chunk, row
        self._seen: set[str] = set()
        self._swept = False
        cache_quota.hold(folder, self)  # while this object lives, the set is not evicted
        self.refresh()

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return width_of(self.shapes)

    def refresh(self) -> None:
        """Take in chunks that this or another process has finished."""
        meta = self.folder / "set.json"
        try:
            os.utime(meta)  # the time of last use, for eviction
        except FileNotFoundError:  # new, or another process has just cleared the cache
            self._describe(meta)
        except OSError:  # another user's, or read only: what is there can be read all the same
            pass
        for index in sorted(self.folder.glob("chunk-*.json")):
            if index.name not in self._seen:
                self._seen.add(index.name)
                self._open(index)

    def _describe(self, meta: Path) -> None:
        """Write what the set holds. Under the lock, so that `_sweep` knows a half-written one for a killed writer's."""
        with storing(self.folder), locked(self.folder / "write.lock"):
            write_json(meta, {"format": FORMAT, "spec": self.spec, "shapes": self.shapes})

    def _open(self, index: Path) -> None:
        try:
            entry = read_json(index)
            rows = np.load(index.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            good = (
                rows.shape == (len(entry["rows"]), self.width)
                and rows.dtype in (np.float16, np.float32, BFLOAT16)
                and _intact(index.with_suffix(".npy"), rows, int(entry["checksum"]))
            )
        except ARRAY_DAMAGE as error:
            if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
                raise StorageError(
                    f"too many open files while opening {self.folder}; raise the limit (`ulimit -n 65536`) and repeat"
                ) from error
            if isinstance(error, OSError | MemoryError) and not isinstance(error, FileNotFoundError):
                return  # not readable for us, which says nothing against its content
            good = False
        if not good:
            # Damaged: its rows are missing from now on and are computed again, into a new chunk.
            for path in (index, index.with_suffix(".npy")):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            return
        self._chunks.append(rows)
        for row, name in enumerate(entry["rows"]):
            self._places[name] = (len(self._chunks) - 1, row)

    def missing(self, names: Sequence[str]) -> set[str]:
        """Those of `names` that are not stored."""
        return {name for name in names if name not in self._places}

    def append(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Store `rows` [n, width] under `names`, whole or not at all.

        Raises StorageError when the disk is full; what was stored before stays valid.
        """
        rows = packed(rows)
        with storing(self.folder), locked(self.folder / "write.lock"):
            self._sweep()
            stem = self.folder / f"chunk-{time.time_ns():020d}-{os.getpid()}"
            with atomic_path(stem.with_suffix(".npy")) as temporary, open(temporary, "wb") as handle:
                write_rows(handle, rows)
            write_json(stem.with_suffix(".json"), index_of(names, rows))
        self.refresh()

    def _sweep(self) -> None:
        """Remove what killed writers left. Only under the lock: nobody else is between a chunk and its index."""
        if self._swept:
            return
        self._swept = True
        for path in self.folder.glob("chunk-*.npy"):
            if not path.with_suffix(".json").exists():
                path.unlink(missing_ok=True)
        for path in self.folder.glob(".chunk-*.tmp.*"):
            path.unlink(missing_ok=True)
        remove_temporaries_of(self.folder / "set.json")
        for path in self.folder.glob(".shard-*"):  # which are written without the lock (`shard_store`)
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > AN_HOUR:
                    path.unlink()

    def places(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Chunk numbers and rows of `names`, int64 arrays. Raises StorageError for a row that is not there: what was
        stored may have been removed since."""
        try:
            found = [self._places[name] for name in names]
        except KeyError as error:
            raise StorageError(
                "features are not there any more: the cache was removed or damaged while they were needed; repeat the "
                "command, which computes them again (a run: `transferkit resume RUN`)"
            ) from error
        chunks, rows = np.array(found, np.int64).reshape(-1, 2).T
        return chunks, rows

    def gather(self, chunks: np.ndarray, rows: np.ndarray, once: bool = False) -> np.ndarray:
        """Rows at the given places, in that order, as float32 [n, width]. `once`: they are not asked for again soon, so
        that no memory is kept for them."""
        out, step = np.empty((len(rows), self.width), np.float32), max(1, BLOCK_BYTES // (4 * self.width))
        for chunk in np.unique(chunks):
            here = np.flatnonzero(chunks == chunk)
            here = here[np.argsort(rows[here], kind="stable")]  # reading forwards is what disks like
            for start in range(0, len(here), step):  # a copy of a whole chunk beside `out` might be as large as that
                some = here[start : start + step]
                out[some] = as_numbers(self._chunks[chunk][rows[some]])
                if once:
                    release(self._chunks[chunk])
        return out

    def unpack(self, rows: np.ndarray) -> list[np.ndarray]:
        """Rows [n, width] as the cut's tensors [n, *shape], in order."""
        return unpacked(rows, self.shapes)


class ResidentSet(FeatureSet):
    """Rows in memory, for one run: what would be stored, where nothing is or can be."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self.shapes = [tuple(shape) for shape in shapes]
        self._chunks, self._places = [], {}

    def append(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Keep `rows` [n, width] under `names`."""
        self._places |= {name: (len(self._chunks), row) for row, name in enumerate(names)}
        self._chunks.append(packed(rows))


def unpacked(rows: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Rows [n, width] as tensors [n, *shape], in order.

    Args:
        rows: float [n, width].
        shapes: of the tensors, without the batch axis; their sizes sum to `width`.
    """
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [
        part.reshape(len(rows), *shape) for part, shape in zip(np.split(rows, ends[:-1], axis=1), shapes, strict=True)
    ]


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """What the disk refuses while features are written into `folder` becomes a StorageError with the remedy."""
    try:
        yield
    except OSError as error:
        cause = error.__cause__ if isinstance(error, StorageError) else error
        if getattr(cause, "errno", None) == errno.EFBIG:
            raise StorageError(
                f"cannot write features in {folder}: a file of them is larger than files may become here; "
                f"{LARGER_BOUND}, move the cache to another file system with TRANSFERKIT_CACHE, or use --no-cache"
            ) from error
        if full(cause):
            raise StorageError(
                f"no space left for features in {folder}; free some (`transferkit cache clear`), move the "
                "cache with TRANSFERKIT_CACHE, or use --no-cache"
            ) from error
        raise StorageError(
            f"cannot write features in {folder} ({getattr(cause, 'strerror', None) or cause}); set "
            "TRANSFERKIT_CACHE to a folder that can be written, or give --no-cache"
        ) from error


def index_of(names: Sequence[str], rows: np.ndarray) -> JsonObject:
    """The index of a chunk of `packed` rows: what they are called, and how to tell whether they are whole.

    Args:
        names: of the rows, in their order.
        rows: [n, width], as they are written.
    """
    return {"rows": list(names), "checksum": checksum(rows)}


def write_rows(handle: IO[bytes], rows: np.ndarray) -> None:
    """As np.save, which hides the error number of a full disk.

    Args:
        handle: of the file.
        rows: `packed`, [n, width].
    """
    rows = np.ascontiguousarray(rows)
    np.lib.format.write_array_header_1_0(handle, np.lib.format.header_data_from_array_1_0(rows))
    handle.write(rows.view(np.uint8).reshape(-1).data)


def _intact(path: Path, rows: np.ndarray, expected: int) -> bool:
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns, expected)
    if key not in _verified and checksum(rows) == expected:
        _verified.add(key)
    return key in _verified


def checksum(rows: np.ndarray) -> int:
    """CRC-32 of the raw bytes: guards against truncation and bit rot, not against an adversary."""
    found, step = 0, max(1, BLOCK_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):  # of a file no more than a block is in memory
        found = zlib.crc32(np.ascontiguousarray(rows[start : start + step]).view(np.uint8).reshape(-1).data, found)
        release(rows)
    return found


def root() -> Path:
    """The folder of all feature sets."""
    return cache_folder() / "features"


def place_of(spec: JsonObject) -> str:
    """The folder of the set that belongs to `spec`, relative to that of all sets."""
    name = digest({"format": FORMAT, **spec})
    return f"{name[:2]}/{name}"


def open_set(spec: JsonObject, shapes: Sequence[tuple[int, ...]]) -> FeatureSet:
    """The set that belongs to `spec`, made if absent.

    Args:
        spec: everything that changes the content of a row.
        shapes: of a row's tensors, without the batch axis.
    """
    return FeatureSet(root() / place_of(spec), spec, shapes)


def listed_rows(spec: JsonObject, names: Sequence[str]) -> set[str]:
    """Those of `names` that the set of `spec` lists; nothing is made, checked or marked as used.

    Args:
        spec: as for `open_set`.
        names: of rows.
    """
    found: set[str] = set()
    for index in (root() / place_of(spec)).glob("chunk-*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.update(read_json(index)["rows"])
    return found.intersection(names)
