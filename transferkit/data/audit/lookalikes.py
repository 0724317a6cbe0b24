"""Near duplicates: pairs of pictures that look alike though their files differ. Pure, and not quadratic.

Measured on TrashNet (2,527 photographs): all 22 pairs below the limit are second shots of one object, and
recompression (JPEG 30 to 90, WebP), rescaling by 2 and brightening by 10 % stay within 18 bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.data.audit.near_hashes import MAX_DISTANCE, Equal, Numbers, Words, near
from transferkit.data.samples import Pixels

# Flat pictures (blank pages, black frames) share their hash: the 16×16 thumbnails tell them apart. Mean
# absolute differences, of 255: of the colours when each has lost its mean, and of the mean colour. Light may
# change the mean of a picture with contrast, but not of a flat one.
MAX_SHAPE_DIFFERENCE = 24.0
MAX_SHIFT_OF_FLAT = 6.0
_PENDING = 1 << 16  # pairs after which those that link nothing are dropped
_ATTEMPTS = 3  # at linking by pairs whose shapes agree, before all pairs are compared that are not sure to
_BLOCK = 1 << 8  # pairs whose thumbnails are compared at once
_ROWS = 1 << 14
# A perceptual hash is 16 × 16 frequencies, and neighbours among them go together: of 16 bits of one row or column seven
# times as many agree by chance. Each band is a diagonal instead, on which every row and column is once.
_DIAGONALS = np.array([16 * row + (row + band) % 16 for band in range(16) for row in range(16)])

_GRADE = MAX_DISTANCE + 1  # a pair's rank is its grade times this, and the bits that differ
_EQUAL = 3 * _GRADE  # of two pictures that differ in nothing

State = tuple[Hashable, Hashable]  # the split (None: of no split) and the label of a picture


def near_pairs(
    hashes: npt.NDArray[np.uint8],
    among: npt.NDArray[np.bool_],
    thumbnails: Sequence[Pixels | None],
    state: Callable[[int], State] | None = None,
) -> list[tuple[int, int, int]]:
    """Pairs that link the pictures that look alike: of a cluster of n, n - 1.

    Of all pairs in order those are told that link something: pairs across splits come first, then those across labels,
    then by bits that differ and by number. Memory grows with the pictures, and time also with the pairs of pictures
    that are alike but not equal.

    Args:
        hashes: uint8 [N, 32].
        among: bool [N]: which pictures are compared.
        thumbnails: uint8 [16, 16, 3] of those that are compared, in the same order.
        state: split and label of a picture; None: all are of one split and label.

    Returns:
        (i, j, bits that differ), i < j, in the order told.
    """
    pictures = _Pictures(thumbnails, state)
    known = np.flatnonzero(among)
    words = _words(hashes, known)
    first = _first_of_equals(words, known, pictures)
    apart = np.flatnonzero(first == known)
    words = words[apart]
    links = _Linking(len(thumbnails), pictures)
    for one, other, bits in near(words):
        links.add(known[apart[one]], known[apart[other]], bits)
    links.settle()
    links.lead(known[first != known], first[first != known])
    return links.pairs()


def _words(hashes: npt.NDArray[np.uint8], known: Numbers) -> Words:
    words = np.empty((len(known), 4), np.uint64)
    for start in range(0, len(known), _ROWS):
        bits = np.unpackbits(hashes[known[start : start + _ROWS]], axis=1)[:, _DIAGONALS]
        words[start : start + _ROWS] = np.packbits(np.ascontiguousarray(bits), axis=1).view(np.uint64)
    return words


def _first_of_equals(words: Words, known: Numbers, pictures: _Pictures) -> Numbers:
    """To each of `known` the first that has its hash, thumbnail, split and label: thousands of blank pages are compared
    as one."""
    first = known.copy()
    same = Equal.of(words)
    for start, size in zip(same.starts[same.sizes > 1], same.sizes[same.sizes > 1], strict=True):
        seen: dict[Hashable, int] = {}
        for k in same.order[start : start + size].tolist():
            first[k] = seen.setdefault(pictures.identity(int(known[k])), int(known[k]))
    return first


class _Pictures:
    """What tells pictures apart beside their hashes, found when it is first asked for."""

    def __init__(self, thumbnails: Sequence[Pixels | None], state: Callable[[int], State] | None) -> None:
        count = len(thumbnails)
        self._thumbnails, self._state = thumbnails, state
        self._known = np.zeros(count, bool)
        self._codes: dict[Hashable, int] = {None: 0}
        self._split, self._label = np.zeros(count, np.int32), np.zeros(count, np.int32)
        # Of the thumbnail: colour, contrast, and how far it is from its colour in the mean.
        self._colour = np.zeros((count, 3), np.float32, order="F")
        self._contrast, self._departure = np.zeros(count, np.float32), np.zeros(count, np.float32)

    def identity(self, number: int) -> Hashable:
        """Equal where two pictures with one hash are alike and in one state."""
        thumbnail = self._thumbnails[number]
        assert thumbnail is not None
        return blake2b(thumbnail.tobytes(), digest_size=16).digest(), self._state and self._state(number)

    def grade(self, one: Numbers, other: Numbers) -> Numbers:
        """0 to 3, first 0: 2 where two pictures do not lie in different splits, 1 more where they have one label."""
        self._look_at(one)
        self._look_at(other)
        left, right = self._split[one], self._split[other]
        torn = (left != right) & (left > 0) & (right > 0)
        grade: Numbers = 2 * ~torn + (self._label[one] == self._label[other])
        return grade

    def tones_agree(self, one: Numbers, other: Numbers) -> npt.NDArray[np.bool_]:
        """Whether the tones of two pictures are not too far apart. Both have been graded, here and below."""
        shift = np.maximum.reduce([np.abs(channel[one] - channel[other]) for channel in self._colour.T])
        contrast = np.minimum(self._contrast[one], self._contrast[other])
        found: npt.NDArray[np.bool_] = shift <= np.maximum(MAX_SHIFT_OF_FLAT, 3 * contrast)
        return found

    def plain(self, one: Numbers, other: Numbers) -> npt.NDArray[np.bool_]:
        """Whether the shapes agree because neither departs much from its colour: nothing has to be read for that."""
        return self._departure[one] + self._departure[other] < MAX_SHAPE_DIFFERENCE - 0.01

    def shapes_agree(self, one: Numbers, other: Numbers) -> npt.NDArray[np.bool_]:
        """Whether the shapes of two pictures agree, by their thumbnails."""
        found = np.empty(len(one), bool)
        for start in range(0, len(one), _BLOCK):
            first, second = one[start : start + _BLOCK], other[start : start + _BLOCK]
            differ = self._read(first) - self._read(second)
            differ -= (self._colour[first] - self._colour[second])[:, None]
            distance = np.abs(differ, out=differ).reshape(len(first), -1).mean(axis=1)
            found[start : start + _BLOCK] = distance <= MAX_SHAPE_DIFFERENCE
        return found

    def _read(self, numbers: Numbers) -> npt.NDArray[np.float32]:
        """Thumbnails, [M, 256, 3]."""
        return np.stack([self._thumbnails[i] for i in numbers.tolist()]).astype(np.float32).reshape(len(numbers), -1, 3)

    def _look_at(self, numbers: Numbers) -> None:
        new = np.unique(numbers[~self._known[numbers]])
        for start in range(0, len(new), _BLOCK):
            some = new[start : start + _BLOCK]
            content = self._read(some)
            self._colour[some] = content.mean(axis=1)
            self._contrast[some] = content.std(axis=1).max(axis=1)
            self._departure[some] = np.abs(content - content.mean(axis=1, keepdims=True)).mean(axis=(1, 2))
        self._known[new] = True
        if self._state is not None:
            for i in new.tolist():
                self._split[i], self._label[i] = (self._codes.setdefault(x, len(self._codes)) for x in self._state(i))


class _Linking:
    """Pairs that link pictures, of all that are told: a minimal spanning forest, by a number that orders pairs."""

    def __init__(self, count: int, pictures: _Pictures) -> None:
        self._count, self._pictures = count, pictures
        self._kept = np.zeros(0, np.int64)  # numbers of pairs, ascending
        self._new: list[npt.NDArray[np.int64]] = []
        self._waiting = 0
        # Some numbers of pairs, and which pictures are linked by pairs up to each: a later pair links nothing there.
        self._linked: list[tuple[int, npt.NDArray[np.int32]]] = []

    def add(self, one: Numbers, other: Numbers, bits: npt.NDArray[np.uint8]) -> None:
        """Tell pairs of pictures with near hashes."""
        for start in range(0, len(one), _PENDING):
            some = slice(start, start + _PENDING)
            left, right = np.minimum(one[some], other[some]), np.maximum(one[some], other[some])
            number = self._number(left, right, self._pictures.grade(left, right) * _GRADE + bits[some])
            useful = np.ones(len(number), bool)
            for last, cluster in self._linked:
                useful &= (number < last) | (cluster[left] != cluster[right])
            useful[useful] = self._pictures.tones_agree(left[useful], right[useful])
            self._new.append(number[useful])
            self._waiting += len(self._new[-1])
            if self._waiting >= max(_PENDING, len(self._kept)):
                self.settle()

    def settle(self) -> None:
        """Keep what links, in order (Kruskal's algorithm), of those whose shapes agree."""
        if not self._new:
            return
        numbers = np.concatenate([self._kept, *self._new])
        left, right, _ = self._parts(numbers)
        sure = self._pictures.plain(left, right)
        sure[: len(self._kept)] = True
        order = np.argsort(numbers)
        numbers, sure = numbers[order], sure[order]
        for attempt in itertools.count():
            left, right, _ = self._parts(numbers)
            chosen = _forest(left, right, self._count)
            asked = np.flatnonzero(~sure & (chosen | (attempt >= _ATTEMPTS)))
            agreed = self._pictures.shapes_agree(left[asked], right[asked])
            if agreed.all():
                break
            sure[asked] = True
            numbers, sure = np.delete(numbers, asked[~agreed]), np.delete(sure, asked[~agreed])
        self._kept, self._new, self._waiting = numbers[chosen], [], 0
        left, right = left[chosen], right[chosen]
        ends = {len(left) * part // 8 for part in (4, 6, 7, 8)} - {0}
        self._linked = [
            (int(self._kept[end - 1]), _clusters(left[:end], right[:end], self._count)) for end in sorted(ends)
        ]

    def lead(self, others: Numbers, leaders: Numbers) -> None:
        """Link `others`, each of which is like one of `leaders` in every way: to that one, or to what that one is
        linked to first, whichever pair comes first. All their other pairs come after pairs that link as much."""
        nearest: dict[int, tuple[int, int]] = {}
        followed, parts = set(leaders.tolist()), (part.tolist() for part in self._parts(self._kept))
        for i, j, rank in zip(*parts, strict=True):
            for one, other in ((i, j), (j, i)):
                if one in followed:
                    nearest.setdefault(one, (rank, other))
        found = []
        for one, leader in zip(others.tolist(), leaders.tolist(), strict=True):
            own = (_EQUAL, leader, one)  # the leader is the first of its kind
            rank, mate = nearest.get(leader, (_EQUAL, leader))
            found.append(min(own, (rank, min(mate, one), max(mate, one))))
        rank, left, right = np.array(found, np.int64).reshape(-1, 3).T
        self._kept = np.sort(np.append(self._kept, self._number(left, right, rank)))

    def pairs(self) -> list[tuple[int, int, int]]:
        """(i, j, bits) of those that are kept, in order."""
        left, right, rank = self._parts(self._kept)
        return list(zip(left.tolist(), right.tolist(), (rank % _GRADE).tolist(), strict=True))

    def _number(self, left: Numbers, right: Numbers, rank: Numbers) -> Numbers:
        return (rank * self._count + left) * self._count + right

    def _parts(self, numbers: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        rest, right = np.divmod(numbers, self._count)
        rank, left = np.divmod(rest, self._count)
        return left, right, rank


def _forest(left: Numbers, right: Numbers, count: int) -> npt.NDArray[np.bool_]:
    """Which pairs link what no pair before them links."""
    from scipy.sparse.csgraph import minimum_spanning_tree

    place = np.arange(1.0, len(left) + 1)
    tree = minimum_spanning_tree(_table(place, left, right, count), overwrite=True)
    chosen = np.zeros(len(left), bool)
    chosen[tree.data[tree.data > 0].astype(np.intp) - 1] = True
    return chosen


def _clusters(left: Numbers, right: Numbers, count: int) -> npt.NDArray[np.int32]:
    """A number to each picture, the same where pairs link them."""
    from scipy.sparse.csgraph import connected_components

    pairs = _table(np.ones(len(left)), left, right, count)
    found: npt.NDArray[np.int32] = connected_components(pairs, directed=False)[1]
    return found


def _table(values: npt.NDArray[np.float64], left: Numbers, right: Numbers, count: int) -> Any:
    from scipy.sparse import csr_array

    # SciPy 1.11 finds no way through a table with places of 64 bits.
    return csr_array((values, (left.astype(np.int32), right.astype(np.int32))), (count, count))
