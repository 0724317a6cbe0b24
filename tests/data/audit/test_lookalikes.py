from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from tests.data.audit.test_near_hashes import compared, kin
from transferkit.data.audit import lookalikes
from transferkit.data.audit.lookalikes import State, near_pairs
from transferkit.data.samples import Pixels
from transferkit.data.union_find import Links

BLANK = np.zeros((16, 16, 3), np.uint8)


def look_alike(one: Pixels, other: Pixels) -> bool:
    """The rule, for two thumbnails."""
    first, second = one.astype(np.float32), other.astype(np.float32)
    shift = (first - second).mean(axis=(0, 1))
    contrast = min(first.std(axis=(0, 1)).max(), second.std(axis=(0, 1)).max())
    close = np.abs(first - second - shift).mean() <= 24
    return bool(close and np.abs(shift).max() <= max(6, 3 * contrast))


def linking(hashes: Any, among: Any, thumbnails: Any, states: list[State]) -> list[tuple[int, int, int]]:
    """What is promised: of all pairs in order, those that link something."""
    pairs = []
    for i, j, bits in compared(hashes):
        if among[i] and among[j] and look_alike(thumbnails[i], thumbnails[j]):
            torn = len({states[i][0], states[j][0]} - {None}) > 1
            pairs.append((not torn, states[i][1] == states[j][1], bits, i, j))
    links = Links(len(hashes))
    return [(i, j, bits) for *_, bits, i, j in sorted(pairs) if links.join(i, j)]


@pytest.mark.parametrize("seed", range(12))
def test_pairs_that_link_look_alikes_are_those_of_comparing_all(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(lookalikes, "_PENDING", int(rng.choice([1, 20, 1 << 16])))
    monkeypatch.setattr(lookalikes, "_ATTEMPTS", int(rng.integers(4)))
    hashes, count = kin(seed), 150
    flat = [np.full((16, 16, 3), value, np.uint8) for value in (0, 5, 11)]
    full = [rng.integers(0, most, (16, 16, 3), np.uint8) for most in (60, 90, 255)]
    among = rng.random(count) < 0.95
    thumbnails = [(flat + full)[rng.integers(6)] if seen else None for seen in among]
    states: list[State] = [((None, "train", "test")[rng.integers(3)], str(rng.integers(2))) for _ in range(count)]
    expected = linking(hashes, among, thumbnails, states)
    assert len(expected) > 20
    assert near_pairs(hashes, among, thumbnails, states.__getitem__) == expected
    expected = linking(hashes, among, thumbnails, [(None, None)] * count)
    assert near_pairs(hashes, among, thumbnails) == expected


def test_flat_pictures_of_other_tones_are_not_alike() -> None:
    both = np.ones(2, bool)
    assert near_pairs(np.zeros((2, 32), np.uint8), both, [BLANK, np.full_like(BLANK, 255)]) == []
    assert near_pairs(np.zeros((2, 32), np.uint8), both, [BLANK, BLANK]) == [(0, 1, 0)]
    assert near_pairs(np.zeros((0, 32), np.uint8), both[:0], []) == []


def test_blank_pages_are_not_compared_pair_by_pair() -> None:
    count = 5000
    states: list[State] = [("test" if i == 7 else "train", "a") for i in range(count)]
    tracemalloc.start()
    found = near_pairs(np.zeros((count, 32), np.uint8), np.ones(count, bool), [BLANK] * count, states.__getitem__)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(min(7, i), max(7, i), 0) for i in range(count) if i != 7]  # each with that of the other split
    assert peak < 20e6  # 12,497,500 pairs: several GB
