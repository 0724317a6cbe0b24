"""Rows on disk are worked on as rows in memory are, a block at a time, and leave no file behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transferkit.features import row_blocks, working_arrays
from transferkit.features.row_blocks import StoredRows, at, beside, blocks, held, mapped, mean_and_variance, narrow

X = np.random.default_rng(0).normal(3.0, 2.0, (53, 2, 9)).astype(np.float32)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StoredRows:
    monkeypatch.setattr(row_blocks, "BLOCK_ROWS", 8)
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path))
    return StoredRows(lambda places: X[places], X.shape)


def test_no_more_than_a_block_is_read_at_a_time(stored: StoredRows) -> None:
    assert [len(rows) for _, rows in blocks(stored)] == [8] * 6 + [5]
    wide = StoredRows(lambda places: np.zeros((len(places), 1, 1 << 20), np.float32), (40, 1, 1 << 20))
    assert max(4 * rows.size for _, rows in blocks(wide)) <= row_blocks.BLOCK_BYTES


def test_the_moments_are_those_of_all_rows_at_once(stored: StoredRows) -> None:
    for x in (stored, X):
        mean, variance = mean_and_variance(x, 2, 7)
        clean = X[:, 0, 2:7].astype(np.float64)
        assert np.allclose(mean, clean.mean(0), rtol=1e-12)
        assert np.allclose(variance, clean.var(0), rtol=1e-12)


def test_parts_of_rows_on_disk_are_those_of_rows_in_memory(stored: StoredRows) -> None:
    some = np.array([40, 3, 17, 3])
    parts: list[Any] = [
        (at(stored, some), at(X, some)),
        (narrow(stored, 2, 5), narrow(X, 2, 5)),
        (at(narrow(stored, 1, 4), some), X[some][:, :, 1:4]),
        (beside([stored, X], 1, 10**6), np.concatenate([X, X], 2)[:, :1]),
        (beside([X, X], 1, 10), np.concatenate([X, X], 2)[:, :1]),
    ]
    for lazy, there in parts:
        assert isinstance(lazy, StoredRows)
        assert lazy.shape == there.shape
        assert np.array_equal(held(lazy), there)


@pytest.mark.parametrize("most", [0, 10**6])
def test_what_is_made_of_rows_is_the_same_in_memory_and_on_disk(
    stored: StoredRows, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working_arrays, "HELD_BYTES", most)
    for x in (stored, X):
        found = mapped(x, lambda rows: rows[:, :, :4] * 2, 4)
        assert isinstance(found, np.ndarray if most else StoredRows)
        assert np.array_equal(held(found), X[:, :, :4] * 2)
