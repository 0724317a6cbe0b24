"""Pairs of 256-bit hashes that differ in at most 31 bits: exact, without comparing all with all. Pure NumPy.

Of four words of 64 bits one then differs in at most 7 bits, and of the four bands of that word one in at most one bit
(the pigeonhole principle, twice): each band is joined with itself and its 16 one-bit neighbours, and nearly all of what
that finds by chance is refused by the one word. Source: Manku, Jain & Das Sarma 2007, Detecting near-duplicates for web
crawling.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transferkit.data.threads import available_threads, map_ordered

MAX_DISTANCE = 31
WORDS = 4  # of 64 bits
_WORD_DISTANCE = MAX_DISTANCE // WORDS
_BAND, _BANDS = 16, 4  # bits of a band, bands of a word
_PORTION = 1 << 20  # candidates that go to a thread at a time
_CHUNK = 1 << 14  # candidates compared at once: what they take stays in a core's cache
_STEPS = np.arange(_PORTION)

Numbers = npt.NDArray[np.intp]
Words = npt.NDArray[np.uint64]
Pairs = tuple[Numbers, Numbers, npt.NDArray[np.uint8]]


def near(hashes: Words) -> Iterator[Pairs]:
    """Each pair of hashes that differ in at most 31 bits, once, in no order; equal ones, too.

    Args:
        hashes: uint64 [N, 4].

    Yields:
        Arrays of bounded length: one's number, the other's, and how many bits differ.
    """
    same = Equal.of(hashes)
    none = np.zeros(_PORTION, np.uint8)
    at = np.arange(len(hashes))
    for some, starts, counts in _portions(at + 1, np.repeat(same.starts + same.sizes, same.sizes) - at - 1, _PORTION):
        one, other = np.repeat(at[some], counts), _places(starts, counts)
        yield same.order[one], same.order[other], none[: len(one)]
    words = np.ascontiguousarray(hashes[same.order[same.starts]].T)
    joins = (join for band in range(WORDS * _BANDS) for join in _joins(words, band))
    for one, other, bits in map_ordered(_Join.near, joins, window=2 * available_threads()):
        yield from same.members(one, other, bits)


@dataclass(frozen=True, eq=False)
class Equal:
    """Numbers of hashes in an order in which equal ones lie together, and where each such group begins; its size."""

    order: Numbers
    starts: Numbers
    sizes: Numbers

    @classmethod
    def of(cls, hashes: Words) -> Equal:
        """Groups of one or more; each group's numbers ascend. `hashes`: uint64 [N, 4]."""
        order = np.lexsort(hashes.T)
        ranked = hashes[order]
        differs = (ranked[1:] != ranked[:-1]).any(axis=1)
        starts = np.flatnonzero(np.append(True, differs)[: len(order)])
        return cls(order, starts, np.diff(np.append(starts, len(order))))

    def members(self, one: Numbers, other: Numbers, bits: npt.NDArray[np.uint8]) -> Iterator[Pairs]:
        """Pairs of groups as pairs of all their members."""
        if len(self.starts) == len(self.order):
            yield self.order[one], self.order[other], bits
            return
        widths = self.sizes[other]
        for some, starts, counts in _portions(np.zeros_like(one), self.sizes[one] * widths, _PORTION):
            pair, place = np.repeat(np.arange(some.start, some.stop), counts), _places(starts, counts)
            first, second = place // widths[pair], place % widths[pair]
            left, right = self.starts[one[pair]] + first, self.starts[other[pair]] + second
            yield self.order[left], self.order[right], bits[pair]


def _joins(words: Words, band: int) -> Iterator[_Join]:
    """Hashes whose values in one band differ in at most one bit, each pair once, in portions."""
    word = words[band // _BANDS]
    values = (word >> np.uint64(_shift(band))).astype(np.uint16)
    order = np.argsort(values, kind="stable")
    ranked, values = word[order], values[order]
    counts = np.bincount(values, minlength=1 << _BAND)
    ends = np.cumsum(counts)
    at = np.arange(len(order))
    todo = [(at, at + 1, ends[values] - at - 1)]
    for flip in (0, *(1 << bit for bit in range(_BAND))):
        if flip:
            lefts = np.flatnonzero(values & flip == 0)
            wanted = values[lefts] | np.uint16(flip)
            todo = [(lefts, (ends - counts)[wanted], counts[wanted])]
        for lefts, starts, numbers in todo:
            for some, begin, each in _portions(starts, numbers, _PORTION):
                yield _Join(words, band, order, ranked, lefts[some], begin, each)


@dataclass(frozen=True, eq=False)
class _Join:
    """Some hashes (`lefts`) and to each of them a range of others that are to be compared with it.

    All are ranks in `order`, by one band; `ranked` is the word that the band is of, in that order.
    """

    words: Words
    band: int
    order: Numbers
    ranked: Words
    lefts: Numbers
    starts: Numbers
    counts: Numbers

    def near(self) -> Pairs:
        """The pairs that are near and that no earlier band finds."""
        found = []
        words = self.ranked[self.lefts]
        for some, starts, counts in _portions(self.starts, self.counts, _CHUNK):
            other = _places(starts, counts)
            differ = np.repeat(words[some], counts)
            differ ^= self.ranked.take(other)
            hits = np.flatnonzero(_ones(differ) <= _WORD_DISTANCE)
            if len(hits):
                left = self.lefts[some][np.searchsorted(np.cumsum(counts), hits, "right")]
                found.append(self._confirmed(left, other[hits], differ[hits]))
        if not found:
            return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.uint8)
        one, other, bits = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return one, other, bits

    def _confirmed(self, left: Numbers, right: Numbers, differ: Words) -> Pairs:
        word, new = self.band // _BANDS, np.ones(len(left), bool)
        for band in range(word * _BANDS, self.band):
            part = (differ >> np.uint64(_shift(band))) & np.uint64((1 << _BAND) - 1)
            new &= part & (part - np.uint64(1)) != 0  # two bits or more; 0 - 1 has all of them
        one, other, bits = self.order[left[new]], self.order[right[new]], _ones(differ[new])
        for number in range(WORDS):
            if number != word:
                more = _ones(self.words[number].take(one) ^ self.words[number].take(other))
                bits = bits + more
                near = bits <= MAX_DISTANCE
                if number < word:
                    near &= more > _WORD_DISTANCE
                one, other, bits = one[near], other[near], bits[near]
        return one, other, bits


def _shift(band: int) -> int:
    return _BAND * (band % _BANDS)


def _portions(starts: Numbers, counts: Numbers, most: int) -> Iterator[tuple[slice, Numbers, Numbers]]:
    """Ranges in order, `most` places together at a time: which they are, where each begins, its length. Long ones are
    cut; empty ones may be left out."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    for begin in range(0, total, most):
        end = min(begin + most, total)
        some = slice(int(np.searchsorted(ends, begin, "right")), int(np.searchsorted(ends, end, "left")) + 1)
        first, last = begin - int(ends[some.start] - counts[some.start]), int(ends[some.stop - 1]) - end
        begins, lengths = starts[some].copy(), counts[some].copy()
        begins[0] += first
        lengths[0] -= first
        lengths[-1] -= last
        yield some, begins, lengths


def _places(starts: Numbers, counts: Numbers) -> Numbers:
    """The places of some ranges, one range after the other; at most `_PORTION`."""
    ends = np.cumsum(counts)
    places = np.repeat(starts - ends + counts, counts)
    places += _STEPS[: len(places)]
    return places


def _counted(values: Words) -> npt.NDArray[np.uint8]:
    """Bits that are set, for NumPy before 2.0: of pairs, of fours, of bytes, then their sum in the uppermost byte."""
    pairs, fours, bytes_ = (np.uint64(mask) for mask in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
    found = values - ((values >> np.uint64(1)) & pairs)
    found = (found & fours) + ((found >> np.uint64(2)) & fours)
    found = (found + (found >> np.uint64(4))) & bytes_
    counts: npt.NDArray[np.uint8] = ((found * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.uint8)
    return counts


_ones = getattr(np, "bitwise_count", _counted)
