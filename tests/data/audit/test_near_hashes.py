from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from transferkit.data.audit import near_hashes
from transferkit.data.audit.near_hashes import near


def kin(seed: int, count: int = 150) -> npt.NDArray[np.uint8]:
    """Hashes of a few families, [count, 32]: equal ones, and such as differ in up to 60 bits, 31 and 32 among them."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 256, (4, 32), np.uint8)[rng.integers(0, 4, count)]
    for one in hashes[::2]:
        far = rng.choice([0, 1, 7, 8, 15, 16, 31, 32, rng.integers(60)])
        for bit in rng.choice(256, far, replace=False):
            one[bit // 8] ^= 1 << (bit % 8)
    return hashes


def told(hashes: npt.NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """What `near` yields, sorted; of each pair the smaller number first."""
    found = []
    for one, other, bits in near(hashes.view(np.uint64)):
        for i, j, number in zip(one.tolist(), other.tolist(), bits.tolist(), strict=True):
            found.append((min(i, j), max(i, j), number))
    return sorted(found)


def compared(hashes: npt.NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """All pairs that differ in at most 31 bits, by comparing all with all."""
    bits = np.unpackbits(hashes, axis=1)
    differ = (bits[:, None] != bits[None]).sum(axis=2)
    near_ones = np.argwhere(np.triu(differ <= 31, 1))
    return [(i, j, int(differ[i, j])) for i, j in near_ones.tolist()]


@pytest.mark.parametrize("seed", range(6))
def test_each_near_pair_is_told_once(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:  # portions and chunks that end within ranges
        monkeypatch.setattr(near_hashes, "_PORTION", 50)
        monkeypatch.setattr(near_hashes, "_CHUNK", 7)
    hashes = kin(seed)
    expected = compared(hashes)
    assert {0, 31} <= {bits for *_, bits in expected}
    assert told(hashes) == expected


def test_one_bit_of_each_band_is_as_far_as_bits_may_spread() -> None:
    one = np.zeros((2, 32), np.uint8)
    one[1, ::2] = 1  # one bit in each of the 16 bands, a second one in 15 of them
    one[1, 1::2] = 1
    one[1, 31] = 0
    assert told(one) == [(0, 1, 31)]
    one[1, 31] = 1
    assert told(one) == []


def test_nothing_and_one_hash_have_no_pairs() -> None:
    assert told(kin(0, 0)) == told(kin(0, 1)) == []


def test_bits_are_counted_by_old_numpy_too() -> None:
    values = np.append(np.random.default_rng(0).integers(0, 1 << 64, 500, np.uint64), np.uint64([0, (1 << 64) - 1]))
    assert near_hashes._counted(values).tolist() == [value.bit_count() for value in values.tolist()]
