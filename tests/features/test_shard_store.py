"""Workers write what the store reads: same files, same names, whole or not at all, from many at a time."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

from transferkit.data.containers import bucket
from transferkit.errors import StorageError
from transferkit.features import store
from transferkit.features.shard_store import FolderSet, Names, fetch, open_shards

SHAPES = [(4,), (2, 3)]
SPEC = {"network": "n", "rows": "r", "precision": "float32"}


def rows(count, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (count, 10)).astype(np.float32)


def names(count, first=0):
    return [f"{i:032x}" for i in range(first, first + count)]


def opened():
    return open_shards(str(store.root()), SPEC, SHAPES)


def read(features, asked):
    return features.gather(*features.places(asked))


def test_the_store_reads_what_a_worker_wrote_and_the_worker_knows_what_is_there():
    opened().append(names(3), rows(3))
    features = store.open_set(SPEC, SHAPES)
    np.testing.assert_array_equal(read(features, names(3)), rows(3))
    features.append(names(2, 10), rows(2, 1))
    worker = opened()
    assert worker.missing(names(12)) == set(names(7, 3))
    assert worker.width == 10
    worker.append(names(1, 5), rows(1, 2))
    assert worker.missing(names(12)) == set(names(2, 3)) | set(names(4, 6))
    assert opened().missing(names(12)) == worker.missing(names(12))


def test_a_worker_reads_indices_only(monkeypatch):
    opened().append(names(3), rows(3))
    monkeypatch.setattr(np, "load", None)
    assert opened().missing(names(4)) == {names(4)[3]}


def test_many_workers_write_at_a_time_and_nothing_is_lost():
    workers = [opened() for _ in range(4)]

    def write(number):
        for part in range(5):
            first = 100 * number + 10 * part
            workers[number].append(names(10, first), rows(10, first))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    features = store.open_set(SPEC, SHAPES)
    for first in range(0, 400, 10):
        if first % 100 < 50:
            np.testing.assert_array_equal(read(features, names(10, first)), rows(10, first))


def test_what_a_killed_worker_left_is_no_row_and_is_removed_when_it_is_old():
    worker = opened()
    assert isinstance(worker, FolderSet)
    left = [worker.folder / name for name in (".shard-1.npy", ".shard-2.json")]
    for path in left:
        path.write_bytes(b"half")
    os.utime(left[0], (time.time() - 7200,) * 2)
    features = store.open_set(SPEC, SHAPES)
    features.append(names(1), rows(1))
    assert [path.exists() for path in left] == [False, True], "the younger one may still be written"
    assert features.missing(names(2)) == {names(2)[1]}


def test_a_damaged_index_costs_its_rows_only():
    worker = opened()
    worker.append(names(2), rows(2))
    worker.append(names(2, 2), rows(2, 1))
    first = sorted(worker.folder.glob("chunk-*.json"))[0]
    first.write_text("{")
    assert opened().missing(names(4)) == set(names(2))


def test_a_full_disk_is_said_and_leaves_nothing(monkeypatch):
    worker = opened()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="no space left for features"):
        worker.append(names(2), rows(2))
    monkeypatch.undo()
    assert worker.missing(names(2)) == set(names(2))
    assert not list(worker.folder.glob("*shard-*")) + list(worker.folder.glob("chunk-*"))


def test_a_chunk_and_its_index_are_on_the_disk_under_their_names(synced):
    worker = opened()
    worker.append(names(2), rows(2))
    written = [path.stat() for path in worker.folder.glob("chunk-*")]
    assert [synced[status.st_ino] for status in written] == [status.st_size for status in written]
    assert len(written) == 2
    assert worker.folder.stat().st_ino in synced


class Line:
    """The store in `folder` as one behind an address, of which `most` files come through."""

    def __init__(self, folder, most):
        self.folder, self.most = folder, most

    def _names(self, pattern):
        return [f"s3://garden/{path.relative_to(self.folder)}" for path in sorted(self.folder.glob(pattern))]

    def glob(self, pattern):
        return self._names(pattern.removeprefix("s3://garden/"))

    def ls(self, address, detail, refresh):
        if not self.most:
            raise ConnectionResetError("the line is gone")
        return self._names(f"{address.removeprefix('s3://garden/')}/*")

    def exists(self, name):
        return bool(self._names(name.removeprefix("s3://garden/")))

    def pipe_file(self, name, content):
        path = self.folder / name.removeprefix("s3://garden/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def cat_file(self, name):
        if not self.most:
            raise ConnectionResetError("the line is gone")
        self.most -= 1
        return (self.folder / name.removeprefix("s3://garden/")).read_bytes()


def test_a_worker_that_writes_behind_an_address_knows_what_is_there_and_a_fetch_brings_it(tmp_path, monkeypatch):
    line = Line(tmp_path / "there", 100)
    monkeypatch.setattr(bucket, "filesystem", lambda address: line)
    worker = open_shards("s3://garden/", SPEC, SHAPES)
    worker.append(names(2), rows(2))
    assert worker.missing(names(3)) == {names(3)[2]}
    assert open_shards("s3://garden", SPEC, SHAPES).missing(names(3)) == {names(3)[2]}
    assert fetch("s3://garden")[0] == 1
    np.testing.assert_array_equal(read(store.open_set(SPEC, SHAPES), names(2)), rows(2))
    assert fetch("s3://garden") == (0, 0)


def test_of_a_fetch_that_was_cut_short_the_chunks_that_came_are_kept(tmp_path, monkeypatch):
    there = open_shards(str(tmp_path / "there"), SPEC, SHAPES)
    there.append(names(2), rows(2))
    there.append(names(2, 2), rows(2, 1))
    line = Line(tmp_path / "there", 2)
    monkeypatch.setattr(bucket, "filesystem", lambda address: line)
    with pytest.raises(StorageError, match="the line is gone"):
        fetch("s3://garden")
    features = store.open_set(SPEC, SHAPES)
    features.append(names(1, 10), rows(1, 2))  # who writes first sweeps up what lies about
    assert store.open_set(SPEC, SHAPES).missing(names(4)) == set(names(2, 2))
    line.most = 10
    assert fetch("s3://garden")[0] == 1
    np.testing.assert_array_equal(read(store.open_set(SPEC, SHAPES), names(2, 2)), rows(2, 1))


def test_a_store_whose_files_cannot_be_listed_is_named(tmp_path, monkeypatch):
    open_shards(str(tmp_path / "there"), SPEC, SHAPES).append(names(2), rows(2))
    monkeypatch.setattr(bucket, "filesystem", lambda address: Line(tmp_path / "there", 0))
    with pytest.raises(StorageError, match=r"--store s3://garden cannot be used .*the line is gone"):
        fetch("s3://garden")


def test_names_of_rows_that_are_known():
    known = Names(["b" * 32, "a" * 32, "a" * 32])
    assert len(known) == 2
    assert known.missing(["a" * 32, "c" * 32]) == {"c" * 32}
    known.add(["c" * 32])
    assert known.missing(["a" * 32, "c" * 32, "0" * 32]) == {"0" * 32}
    assert known.missing([]) == set()
    assert Names([]).missing(["a" * 32]) == {"a" * 32}
