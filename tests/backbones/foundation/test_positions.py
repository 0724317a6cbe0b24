"""Resampling of position tables: the properties that PyTorch's has. Its numbers are held by test_parity."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.backbones.foundation.positions import resampled, rotary

WAYS = ("bicubic", "bicubic_corners", "bicubic_antialias", "bilinear_antialias")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", [3, 5, 16, 31])
def test_a_constant_table_stays_constant(way: str, side: int) -> None:
    table = np.full((16, 16, 2), 3.5, np.float32)

    assert np.allclose(resampled(table, side, way), 3.5, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", WAYS)
def test_the_table_itself_comes_back_at_its_own_size(way: str) -> None:
    table = np.random.default_rng(0).standard_normal((7, 7, 3)).astype(np.float32)

    assert np.array_equal(resampled(table, 7, way), table)  # type: ignore[arg-type]


def test_dinov2s_offset_moves_the_samples_and_is_not_the_default() -> None:
    table = np.random.default_rng(0).standard_normal((37, 37, 3)).astype(np.float32)
    plain, shifted = resampled(table, 16, "bicubic"), resampled(table, 16, "bicubic", 0.1)

    assert 0.01 < np.abs(plain - shifted).max() < 3
    assert np.array_equal(resampled(table, 37, "bicubic", 0.1), table)


def test_torchvisions_corners_stay_where_they_are() -> None:
    table = np.random.default_rng(0).standard_normal((7, 7, 3)).astype(np.float32)
    for side in (2, 4, 12):
        found = resampled(table, side, "bicubic_corners")
        ends = np.ix_([0, -1], [0, -1])
        np.testing.assert_allclose(found[ends], table[ends], atol=1e-6)
    # Every second place of 13 is one of 7.
    np.testing.assert_allclose(resampled(table, 13, "bicubic_corners")[::2, ::2], table, atol=1e-6)


def test_axes_are_not_exchanged() -> None:
    rows = np.broadcast_to(np.arange(8.0)[:, None, None], (8, 8, 1))
    result = resampled(rows, 4, "bilinear_antialias")

    assert np.allclose(result[:, 0], result[:, 3])
    assert np.all(np.diff(result[:, 0, 0]) > 0)


def test_tokens_before_the_patches_do_not_turn() -> None:
    cosines, sines = rotary(4, 16, 100.0, 5)

    assert cosines.shape == sines.shape == (21, 16)
    assert np.all(cosines[:5] == 1)
    assert np.all(sines[:5] == 0)
    assert np.allclose(cosines**2 + sines**2, 1, atol=1e-6)
