"""Facts about many pictures in little memory: hashes as bytes, what repeats once, thumbnails beyond a bound in a file.

As objects they would take 1.5 kB a picture, and lie among what decoding has used and freed, which stays with them.
"""

from __future__ import annotations

import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from transferkit.data.audit.image_facts import THUMBNAIL, ImageFacts, examine
from transferkit.data.samples import Pixels
from transferkit.data.threads import map_ordered

HELD_BYTES = 16 << 20  # of thumbnails in memory: those of 20,000 pictures
_SHAPE = (THUMBNAIL, THUMBNAIL, 3)
_SIZE = THUMBNAIL * THUMBNAIL * 3
_HASH = 32  # bytes of a SHA-256, and of a likeness
_NONE = -1


class Facts:
    """Facts in the order in which they were found, by number; what the pictures look like, and which are one file."""

    def __init__(self, found: Iterable[ImageFacts] = ()) -> None:
        self.thumbnails = Thumbnails()
        self._rest: list[ImageFacts] = []
        self._distinct: dict[ImageFacts, ImageFacts] = {}
        self._sizes = array("i")
        self._sha256, self._likeness = bytearray(), bytearray()
        self._hashed, self._seen = bytearray(), bytearray()  # 1: has a SHA-256, a likeness
        for fact in found:
            self.append(fact)

    def append(self, fact: ImageFacts) -> None:
        """Add those of the next picture."""
        self._sha256 += bytes.fromhex(fact.sha256) if fact.sha256 is not None else bytes(_HASH)
        self._likeness += (fact.likeness or 0).to_bytes(_HASH, "big")
        self._hashed.append(fact.sha256 is not None)
        self._seen.append(fact.likeness is not None)
        self._sizes.extend(fact.size or (_NONE, _NONE))
        self.thumbnails.append(fact.tiny)
        rest = replace(fact, sha256=None, size=None, likeness=None, tiny=None)
        self._rest.append(self._distinct.setdefault(rest, rest))

    def __len__(self) -> int:
        return len(self._rest)

    def __getitem__(self, number: int) -> ImageFacts:
        """Of one picture, but for what it looks like."""
        width, height = self._sizes[2 * number : 2 * number + 2]
        digest = bytes(self._sha256[_HASH * number : _HASH * (number + 1)])
        return replace(
            self._rest[number],
            sha256=digest.hex() if self._hashed[number] else None,
            size=None if width == _NONE else (width, height),
        )

    def __iter__(self) -> Iterator[ImageFacts]:
        return (self[number] for number in range(len(self)))

    def likenesses(self) -> npt.NDArray[np.uint8]:
        """The perceptual hash of each, uint8 [N, 32]."""
        return np.frombuffer(bytes(self._likeness), np.uint8).reshape(-1, _HASH)

    def seen(self) -> npt.NDArray[np.bool_]:
        """Whether each was decoded, and so has a perceptual hash, bool [N]."""
        return np.frombuffer(bytes(self._seen), np.bool_)

    def copies(self) -> list[list[int]]:
        """Numbers of the pictures of each file that is there more than once and can be read, ascending."""
        known = np.array([n for n, one in enumerate(self._rest) if self._hashed[n] and one.fault is None], np.int64)
        contents = np.frombuffer(bytes(self._sha256), f"S{_HASH}")[known]
        order = np.argsort(contents, kind="stable")
        first = np.flatnonzero(np.append(True, contents[order[1:]] != contents[order[:-1]])[: len(order)])
        ends = np.append(first[1:], len(order))
        several = ends - first > 1
        return sorted(known[order[at:end]].tolist() for at, end in zip(first[several], ends[several], strict=True))


def examine_all(
    sources: Iterable[Path | Pixels], total: int, progress: Callable[[int, int], None] | None = None
) -> Facts:
    """`examine` of each on threads.

    Args:
        sources: files or pixels.
        total: how many they are; only told to `progress`.
        progress: is called with (done, total) after each.

    Returns:
        Facts, in the order of `sources`.
    """
    facts = Facts()
    for fact in map_ordered(examine, sources):
        facts.append(fact)
        if progress is not None:
            progress(len(facts), total)
    return facts


class Thumbnails(Sequence[Pixels | None]):
    """Of pictures in order, uint8 [16, 16, 3] each, or None: in memory up to `HELD_BYTES`, what is more in a file
    without a name, or in memory too where there is no room for one."""

    def __init__(self) -> None:
        self._place = array("i")  # of each picture among those that are not None
        self._held, self._filed = bytearray(), 0  # the last of those, and how many were before them
        self._file: IO[bytes] | None = None
        self._full = False

    def append(self, tiny: Pixels | None) -> None:
        """Add that of the next picture."""
        if tiny is None:
            self._place.append(_NONE)
            return
        self._place.append(self._filed + len(self._held) // _SIZE)
        self._held += tiny.tobytes()
        if len(self._held) >= HELD_BYTES and not self._full:
            self._put_away()

    def _put_away(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  # read as long as this object is there
                weakref.finalize(self, self._file.close)
            self._file.seek(self._filed * _SIZE)
            self._file.write(self._held)
            self._file.flush()
        except OSError:
            self._full = True
            return
        self._filed += len(self._held) // _SIZE
        self._held = bytearray()

    def __len__(self) -> int:
        return len(self._place)

    def __getitem__(self, number: int) -> Pixels | None:  # type: ignore[override]  # one at a time
        place = self._place[number]
        if place == _NONE:
            return None
        if place >= self._filed:
            start = (place - self._filed) * _SIZE
            content = bytes(self._held[start : start + _SIZE])
        else:
            assert self._file is not None
            self._file.seek(place * _SIZE)
            content = self._file.read(_SIZE)
        return np.frombuffer(content, np.uint8).reshape(_SHAPE)
