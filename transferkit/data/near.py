"""Near duplicates: pairs of pictures that look alike though their files differ. Pure, and not quadratic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from transferkit.data.samples import Pixels

BITS = 256
# Recompression and rescaling move few of the 256 bits; a different photograph of a like scene moves many.
MAX_DISTANCE = 15
MAX_DIFFERENCE = 6.0  # mean absolute difference of the 16×16 thumbnails, of 255
_BANDS = MAX_DISTANCE + 1
_WIDTH = BITS // _BANDS


def near_pairs(
    hashes: Sequence[int | None], thumbnails: Sequence[Pixels | None]
) -> Iterator[tuple[int, int, int]]:
    """(i, j, bits that differ), i < j, of pictures that look alike; None entries are left out.

    Two hashes that differ in at most 15 bits agree in at least one of 16 bands (the pigeonhole principle), so
    only pictures that share a band are compared. Source: Manku, Jain & Das Sarma 2007.
    """
    seen: set[tuple[int, int]] = set()
    mask = (1 << _WIDTH) - 1
    for band in range(_BANDS):
        buckets: dict[int, list[int]] = {}
        for i, value in enumerate(hashes):
            if value is not None:
                buckets.setdefault((value >> (band * _WIDTH)) & mask, []).append(i)
        for members in buckets.values():
            for i, j in _close(members, hashes):
                if (i, j) not in seen:
                    seen.add((i, j))
                    if difference(thumbnails[i], thumbnails[j]) <= MAX_DIFFERENCE:
                        yield i, j, ((hashes[i] or 0) ^ (hashes[j] or 0)).bit_count()


def difference(one: Pixels | None, other: Pixels | None) -> float:
    """Mean absolute difference of two thumbnails, 0–255; infinite where one is missing."""
    if one is None or other is None:
        return float("inf")
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())


def _close(members: list[int], hashes: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Pairs within the distance, inside one bucket."""
    for place, i in enumerate(members):
        for j in members[place + 1 :]:
            if ((hashes[i] or 0) ^ (hashes[j] or 0)).bit_count() <= MAX_DISTANCE:
                yield i, j
