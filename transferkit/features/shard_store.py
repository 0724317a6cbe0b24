"""Where workers put rows: the store on a file system that all of them see, or its copy behind an address.

Workers write and never read: what a set holds is known from its indices as it is opened, and from what the worker wrote
since. Chunks have the form and the names of the store's own (`features.store`), and the index is written last here too.
"""

from __future__ import annotations

import io
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import cache_quota
from transferkit.data.containers import bucket
from transferkit.errors import StorageError
from transferkit.features.extract import RowSet
from transferkit.features.number_formats import packed, width_of
from transferkit.features.store import FORMAT, index_of, place_of, root, storing, write_rows
from transferkit.files import parse_json, read_json, sync_folder, to_json, write_json, write_text
from transferkit.record import JsonObject
from transferkit.storage import locked

Shapes = Sequence[tuple[int, ...]]


class Names:
    """Names of rows in 32 bytes each: a set of texts would take four times that."""

    def __init__(self, names: Iterable[str]) -> None:
        self._old = np.unique(np.array(list(names), "S32"))
        self._new: set[str] = set()

    def __len__(self) -> int:
        return len(self._old) + len(self._new)

    def missing(self, names: Sequence[str]) -> set[str]:
        """Those of `names` that are none of these."""
        asked = np.array(names, "S32")
        if not len(self._old) or not len(asked):
            return set(names) - self._new
        at = np.minimum(np.searchsorted(self._old, asked), len(self._old) - 1)
        known = self._old[at] == asked
        return {name for name, here in zip(names, known.tolist(), strict=True) if not here} - self._new

    def add(self, names: Sequence[str]) -> None:
        """These too from now on."""
        self._new.update(names)


class _Set:
    """What both kinds share: shapes, and the names that are known."""

    def __init__(self, shapes: Shapes, names: Iterable[str]) -> None:
        self.shapes = [tuple(shape) for shape in shapes]
        self.known = Names(names)

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return width_of(self.shapes)

    def missing(self, names: Sequence[str]) -> set[str]:
        """Those of `names` that are not stored."""
        return self.known.missing(names)


class FolderSet(_Set):
    """A set of the store in `folder`, which may lie on a disk that many machines share."""

    def __init__(self, folder: Path, spec: JsonObject, shapes: Shapes) -> None:
        self.folder = folder
        cache_quota.hold(folder, self)
        with storing(folder):
            if not (folder / "set.json").exists():
                with locked(folder / "write.lock"):  # or a sweep would take it, half-written, for a killed worker's
                    write_json(folder / "set.json", _about(spec, shapes))
        super().__init__(shapes, _rows(map(_index, folder.glob("chunk-*.json"))))

    def append(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Store `rows` [n, width] under `names`, whole or not at all.

        Raises StorageError when the disk is full. Other workers are kept waiting for two renames, not for the writing:
        a hundred of them would stand in line.
        """
        rows = packed(rows)
        stem = f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}"
        parts = {self.folder / f".shard-{stem}{end}": self.folder / f"chunk-{stem}{end}" for end in (".npy", ".json")}
        data, index = parts
        try:
            with storing(self.folder):
                _written(data, _bytes(rows))
                _written(index, to_json(index_of(names, rows)).encode())
                with locked(self.folder / "write.lock"):  # nobody sweeps between the two
                    for part, whole in parts.items():
                        os.replace(part, whole)
                sync_folder(self.folder)
        finally:
            for part in parts:
                with suppress(OSError):
                    part.unlink()
        self.known.add(names)


class AddressSet(_Set):
    """A set behind an address (`s3://bucket/features/…`), by fsspec. There a file is there whole, or not at all."""

    def __init__(self, address: str, spec: JsonObject, shapes: Shapes) -> None:
        self.address, self._files = address, bucket.filesystem(address)
        with reaching(address):
            if not self._files.exists(f"{address}/set.json"):
                self._files.pipe_file(f"{address}/set.json", to_json(_about(spec, shapes)).encode())
            found = _rows(parse_json(self._files.cat_file(path)) for path in indices(self._files, address))
        super().__init__(shapes, found)

    def append(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Store `rows` [n, width] under `names`. Raises StorageError where the store does not take them."""
        rows = packed(rows)
        stem = f"{self.address}/chunk-{time.time_ns():020d}-{uuid.uuid4().hex[:12]}"
        with reaching(self.address):
            self._files.pipe_file(f"{stem}.npy", _bytes(rows))
            self._files.pipe_file(f"{stem}.json", to_json(index_of(names, rows)).encode())
        self.known.add(names)


def open_shards(target: str, spec: JsonObject, shapes: Shapes) -> RowSet:
    """The set of `spec` in `target`, made if absent.

    Args:
        target: the folder of a store, or its address.
        spec: everything that changes the content of a row.
        shapes: of a row's tensors, without the batch axis.
    """
    if bucket.is_address(target):
        return AddressSet(f"{bucket.address(target).rstrip('/')}/{place_of(spec)}", spec, shapes)
    return FolderSet(Path(target) / place_of(spec), spec, shapes)


@contextmanager
def marked(target: str) -> Iterator[Path | None]:
    """A file in the store `target`, by which workers see that they share it; None for an address."""
    if bucket.is_address(target):
        yield None
        return
    marker = Path(target) / f".extraction-{uuid.uuid4().hex}"
    write_text(marker, "who sees this file shares this store with an extraction that is running\n")
    try:
        yield marker
    finally:
        marker.unlink(missing_ok=True)


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """What a library raises inside, of whatever kind, becomes a StorageError that names the address."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:  # each library has errors of its own
        raise StorageError(
            f"--store {address} cannot be used ({type(error).__name__}: {error}); look at the address, the network and "
            "the credentials"
        ) from error


def indices(files: Any, address: str) -> list[str]:
    """The paths of the indices of a set, whose chunks are there then.

    Args:
        files: the file system.
        address: of the set.
    """
    try:
        listed = files.ls(address, detail=False, refresh=True)
    except FileNotFoundError:
        return []
    names = [str(path) for path in listed]
    return sorted(name for name in names if name.rpartition("/")[2].startswith("chunk-") and name.endswith(".json"))


def fetch(address: str) -> tuple[int, int]:
    """Copy what a store behind an address holds, and this machine's does not, into this machine's.

    Args:
        address: of the store, as `--store` was given it.

    Returns:
        Chunks that were copied, and their bytes.

    Raises:
        StorageError: it cannot be reached, or the disk is full.
    """
    base, files = bucket.address(address).rstrip("/"), bucket.filesystem(address)
    copied = size = 0
    with reaching(base):
        found = [str(path) for path in files.glob(f"{base}/*/*/set.json")]
    for about in found:
        remote = about.rpartition("/")[0]
        local = root().joinpath(*remote.split("/")[-2:])
        # Chunk by chunk, each with its index: a chunk without one is swept away by the next who writes.
        with reaching(base):
            listed = indices(files, remote)
        whole = [f"{index.removesuffix('.json')}{end}" for index in listed for end in (".npy", ".json")]
        for name in (*whole, about):
            target = local / name.rpartition("/")[2]
            if target.exists():
                continue
            with reaching(base):
                content = files.cat_file(name)
            with storing(local):
                local.mkdir(parents=True, exist_ok=True)
                part = local / f".shard-{target.name}"
                _written(part, content)
                os.replace(part, target)
            copied, size = copied + name.endswith(".npy"), size + len(content)
    return copied, size


def _about(spec: JsonObject, shapes: Shapes) -> JsonObject:
    return {"format": FORMAT, "spec": spec, "shapes": [[*shape] for shape in shapes]}


def _index(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):  # damaged: its rows are computed again
        return {}


def _rows(indices: Iterable[Any]) -> Iterable[str]:
    for index in indices:
        with suppress(KeyError, TypeError, AttributeError):
            yield from index["rows"]


def _bytes(rows: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    write_rows(buffer, rows)
    return buffer.getvalue()


def _written(path: Path, content: bytes) -> None:
    with open(path, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
