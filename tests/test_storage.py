"""Locks between processes, and where the cache is."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from tests.holder import held
from transferkit import storage
from transferkit.errors import ConfigError, StorageError


def test_a_lock_is_held_between_processes_and_freed_by_death(tmp_path: Path) -> None:
    code = (
        "from transferkit import storage\n"
        "with storage.locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    refused = pytest.raises(StorageError, match="another process has held")
    with held(code, tmp_path / "l"), refused, storage.locked(tmp_path / "l", timeout=0.1):
        pass
    with storage.locked(tmp_path / "l", timeout=5):
        pass


def test_scratch_folders_of_killed_processes_go_and_those_in_use_stay(tmp_path: Path) -> None:
    code = (
        "from transferkit.storage import scratch\n"
        "with scratch(sys.argv[1]) as folder: (folder / 'x').touch(); print('held', flush=True); time.sleep(60)"
    )
    (tmp_path / "tk-mine.tmp").mkdir()
    with held(code, tmp_path):
        (other,) = tmp_path.glob("tk-????????.tmp")
        with storage.scratch(str(tmp_path)) as own:
            assert other.exists()
            (own / "y").touch()
        assert not own.exists()
    with storage.scratch(str(tmp_path)) as own:
        assert {path.name for path in tmp_path.iterdir()} == {own.name, "tk-mine.tmp"}


def test_a_scratch_folder_that_a_full_disk_refuses_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"), storage.scratch(str(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_libraries_leave_in_the_folder_for_temporary_files_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with storage.own_temporaries():
        (Path(tempfile.mkdtemp()) / "model.h5").touch()
    assert list(tmp_path.iterdir()) == []
    assert tempfile.gettempdir() == str(tmp_path)
    code = (
        "import tempfile; tempfile.tempdir = sys.argv[1]; from transferkit import storage\n"
        "with storage.own_temporaries(): tempfile.mkdtemp(); print('held', flush=True); time.sleep(60)"
    )
    with held(code, tmp_path):
        assert len(list(tmp_path.glob("*/*"))) == 1
    with storage.own_temporaries():
        assert len(list(tmp_path.iterdir())) == 1, "that of the killed process is gone"


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert storage.cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("TRANSFERKIT_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert storage.cache_folder().is_relative_to(tmp_path)


# --------------------------------------------------------------------------------- a cache that cannot be had


def test_without_a_home_the_cache_is_a_temporary_one_and_said_once(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("a file")
    monkeypatch.setenv("TRANSFERKIT_CACHE", "")
    monkeypatch.setattr(storage, "cache_folder", _cache_of(storage.cache_folder, tmp_path / "home"))
    said = []
    storage.ready_cache(said.append)
    own = storage.cache_folder()
    storage.ready_cache(said.append)
    assert own.is_dir()
    assert own == storage.cache_folder()
    assert len(said) == 1
    assert str(tmp_path / "home") in said[0]
    assert "set TRANSFERKIT_CACHE" in said[0]


def _cache_of(real, home):
    """`real`, for a user whose home is `home`."""
    return lambda: real() if os.environ.get("TRANSFERKIT_CACHE") else home / ".cache" / "transferkit"


def test_a_cache_that_was_asked_for_and_cannot_be_used_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigError, match=r"TRANSFERKIT_CACHE=.*below cannot be used.*--no-cache"):
        storage.ready_cache(pytest.fail)


def test_a_cache_that_can_be_used_is_made_and_nothing_said(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "new" / "cache"))
    storage.ready_cache(pytest.fail)
    assert storage.cache_folder() == tmp_path / "new" / "cache"
    assert list((tmp_path / "new" / "cache").iterdir()) == []
