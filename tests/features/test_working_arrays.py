"""Arrays that are worked with take memory up to one bound for all; beyond it they lie in files without a name."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transferkit.errors import StorageError
from transferkit.features import working_arrays
from transferkit.file_windows import release


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(working_arrays, "HELD_BYTES", working_arrays.held_bytes() + 800)
    return tmp_path


class Full:
    """A file on a disk without room."""

    def __init__(self, **_: object) -> None:
        pass

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, _: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_all_arrays_together_are_held_up_to_the_bound_and_no_file_has_a_name(cache: Path) -> None:
    before = working_arrays.held_bytes()
    first, second = working_arrays.array((5, 10), np.float64), working_arrays.array((10, 10), np.float32)
    third = working_arrays.array((1, 1), np.float64)
    assert [isinstance(one, np.memmap) for one in (first, second, third)] == [False, False, True]
    assert (third.shape, third.dtype) == ((1, 1), np.float64)
    assert working_arrays.held_bytes() == before + 800
    part = first[:1]
    del first
    assert working_arrays.held_bytes() == before + 800, "a part of it is still used"
    del part, second
    assert working_arrays.held_bytes() == before
    assert not isinstance(working_arrays.room(np.zeros((10, 10))), np.memmap)
    assert not list(cache.rglob("*"))


def test_what_is_given_back_of_a_file_is_read_again() -> None:
    far = working_arrays._on_disk((4, 1000), np.float32)
    far[:] = np.arange(1000)
    release(far)
    release(far[1:])
    release(np.zeros(3))
    assert np.array_equal(far[3], np.arange(1000))


def test_a_full_disk_is_said_before_anything_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(StorageError, match=r"No space left.*TRANSFERKIT_CACHE"):
        working_arrays._on_disk((10, 10), np.float32)


def test_where_the_disk_is_full_memory_is_taken_if_there_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    monkeypatch.setattr(working_arrays, "available_memory", lambda: 4000)
    assert working_arrays.array((20, 25), np.float32).nbytes == 2000
    with pytest.raises(StorageError, match="No space left"):
        working_arrays.array((20, 26), np.float32)


def test_a_table_beyond_the_bound_lies_in_a_file_whatever_else_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working_arrays, "TABLE_BYTES", 400)
    small, large = working_arrays.table((5, 10), np.float64), working_arrays.table((5, 11), np.float64)
    assert [isinstance(one, np.memmap) for one in (small, large)] == [False, True]
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    monkeypatch.setattr(working_arrays, "available_memory", lambda: 1000)
    assert not isinstance(working_arrays.table((5, 11), np.float64), np.memmap), "there is memory enough"
    with pytest.raises(StorageError, match="No space left"):
        working_arrays.table((5, 13), np.float64)
