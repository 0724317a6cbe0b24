"""Near duplicates: pairs of pictures that look alike though their files differ. Pure, and not quadratic.

Measured on TrashNet (2,527 photographs): all 22 pairs below the limit are second shots of one object, and
recompression (JPEG 30 to 90, WebP), rescaling by 2 and brightening by 10 % stay within 18 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from transferkit.data.samples import Pixels

BITS = 256
MAX_DISTANCE = 31
# Flat pictures (blank pages, black frames) share their hash: the 16×16 thumbnails tell them apart. Mean
# absolute differences, of 255: of the colours when each has lost its mean, and of the mean colour. Light may
# change the mean of a picture with contrast, but not of a flat one.
MAX_SHAPE_DIFFERENCE = 24.0
MAX_SHIFT_OF_FLAT = 6.0
_CHUNK = 1 << 17  # pairs compared at once
_POPULATION = np.array([value.bit_count() for value in range(1 << 16)], dtype=np.uint8)


def near_pairs(hashes: Iterable[int | None], thumbnails: Sequence[Pixels | None]) -> list[tuple[int, int, int]]:
    """Pairs of pictures that look alike.

    Two hashes that differ in at most 31 bits differ in at most one bit in one of 16 bands (the pigeonhole principle),
    so each band is joined with itself and with its 16 one-bit neighbours. Source: Manku, Jain & Das Sarma 2007,
    Detecting near-duplicates for web crawling.

    Args:
        hashes: of 256 bits; None leaves a picture out.
        thumbnails: uint8 [16, 16, 3], in the same order; None is like nothing.

    Returns:
        (i, j, bits that differ), i < j, sorted.
    """
    known, packed = [], bytearray()
    for i, value in enumerate(hashes):
        if value is not None:
            known.append(i)
            packed += value.to_bytes(BITS // 8, "big")
    if len(known) < 2:
        return []
    bands = np.frombuffer(packed, dtype=">u2").astype(np.uint16).reshape(len(known), -1)
    found: dict[tuple[int, int], int] = {}
    for band in range(bands.shape[1]):
        for left, right in _joined(bands[:, band]):
            bits = _POPULATION[bands[left] ^ bands[right]].sum(axis=1, dtype=np.int64)
            for k in np.flatnonzero(bits <= MAX_DISTANCE):
                found[int(left[k]), int(right[k])] = int(bits[k])
    pairs = sorted((known[i], known[j], bits) for (i, j), bits in found.items())
    return [(i, j, bits) for i, j, bits in pairs if alike(thumbnails[i], thumbnails[j])]


def alike(one: Pixels | None, other: Pixels | None) -> bool:
    """Whether two thumbnails could show the same thing: one shape, in tones that are not too far apart.

    Args:
        one, other: uint8 [16, 16, 3]; None is like nothing.
    """
    if one is None or other is None:
        return False
    first, second = one.astype(np.float32), other.astype(np.float32)
    shift = (first - second).mean(axis=(0, 1))
    contrast = min(first.std(axis=(0, 1)).max(), second.std(axis=(0, 1)).max())
    if np.abs(first - second - shift).mean() > MAX_SHAPE_DIFFERENCE:
        return False
    return bool(np.abs(shift).max() <= max(MAX_SHIFT_OF_FLAT, 3 * contrast))


def _joined(values: npt.NDArray[np.uint16]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(i, j) with i < j whose 16-bit values differ in at most one bit, in chunks of bounded size."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    for flip in (0, *(1 << bit for bit in range(16))):
        wanted = values ^ np.uint16(flip)
        first = np.searchsorted(ranked, wanted, "left")
        ends = np.cumsum(np.searchsorted(ranked, wanted, "right") - first)
        for start in range(0, int(ends[-1]), _CHUNK):
            place = np.arange(start, min(start + _CHUNK, int(ends[-1])))
            left = np.searchsorted(ends, place, "right")
            before = np.where(left > 0, ends[left - 1], 0)
            right = order[first[left] + place - before]
            yield left[left < right], right[left < right]
