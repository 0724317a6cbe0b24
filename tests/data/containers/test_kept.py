"""What the cache keeps of data stays within its size; what is in use stays."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.data.readers import forms
from tests.data.readers.forms import Corpus
from transferkit.data.containers import kept, kinds
from transferkit.data.source import scan
from transferkit.errors import StorageError


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "_sum", None)


def kept_file(name: str, size: int, age: int) -> Path:
    path = kept.store("fetched") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def test_the_least_recently_used_makes_room_and_what_is_held_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", "1000")
    oldest, held, newer = (kept_file(name, 300, age) for name, age in (("a", 30), ("b", 20), ("c", 10)))

    class Owner:
        pass

    owner = Owner()
    kept.hold(held, owner)
    kept.make_room(100, "x")
    assert len(kept.files()) == 3
    kept.make_room(300, "x")
    assert kept.files() == [held, newer]
    kept_file("d", 300, 0)
    kept.make_room(600, "x")
    assert kept.files() == [held]
    with pytest.raises(StorageError, match=r"x does not fit .* 1,000 bytes of data \(TRANSFERKIT_CACHE_SIZE; 300"):
        kept.make_room(800, "x")
    del owner
    kept.make_room(800, "x")
    assert kept.files() == []
    assert not oldest.exists()


def test_what_a_killed_process_half_wrote_is_cleared_and_what_is_being_written_is_not() -> None:
    kept_file("a", 300, 10)
    abandoned = kept_file(".b.1-aaaaaaaa.tmp.jpg", 200, 10)
    fresh = kept_file(".c.1-aaaaaaaa.tmp.jpg", 100, 0)
    os.utime(fresh)
    assert kept.clear("fetched") == (2, 500)
    assert not abandoned.exists()
    assert fresh.exists()


def test_use_is_what_counts_and_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", "1000")
    first, second = kept_file("a", 400, 30), kept_file("b", 400, 20)
    before = first.stat().st_mtime_ns
    kept.use(first)
    assert first.stat().st_mtime_ns == before
    kept.make_room(400, "x")
    assert kept.files() == [first]
    assert not second.exists()


def packed(folder: Path, name: str) -> Path:
    folder.mkdir()
    source, _ = forms.tarred("gz")(Corpus(), folder)
    return source.rename(folder / name)


def test_unpacked_archives_make_room_for_others_and_are_unpacked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = packed(tmp_path / "1", "a.tar.gz"), packed(tmp_path / "2", "b.tar.gz")
    found = scan(first).hashed()
    (copy,) = kept.files("archives")
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", str(copy.stat().st_size * 3 // 2))
    monkeypatch.setattr(kept, "_sum", None)
    with pytest.raises(StorageError, match=r"b\.tar\.gz, unpacked, does not fit"):
        scan(second)  # the first is open still
    assert kept.files("archives") == [copy]
    kinds._open.clear()
    kinds._opened_before.clear()
    assert scan(second).hashed().sha256 == found.sha256
    assert copy not in kept.files("archives")
    kinds._open.clear()
    kinds._opened_before.clear()
    assert scan(first).hashed().sha256 == found.sha256


def test_a_fetched_archive_stays_while_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept_file("a.zip", 300, 10)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rose/1.png", bytes(300))
    holder = kinds.container(path)
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", "600")
    with pytest.raises(StorageError, match="does not fit"):
        kept.make_room(500, "x")
    assert kept.files() == [path]
    kinds._open.clear()
    kinds._opened_before.clear()
    del holder
    kept.make_room(500, "x")
    assert kept.files() == []


def test_an_archive_that_can_never_fit_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", "1MB")
    with tarfile.open(tmp_path / "a.tar", "w") as out:
        for number in range(3):
            (tmp_path / "x").write_bytes(np.random.default_rng(number).bytes(1 << 20))
            out.add(tmp_path / "x", f"rose/{number}.png")
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    with pytest.raises(StorageError, match="put the data on a disk and give the folder"):
        scan(tmp_path / "a.tar.gz")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
