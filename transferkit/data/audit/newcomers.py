"""Which pictures of a pool are new: no copy and no look-alike of one that is known, and each of them once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain

from transferkit.data.audit.duplicate_groups import linked
from transferkit.data.samples import Samples


@dataclass(frozen=True)
class Newcomers:
    """The pictures of the pool that are kept, hashed (`fresh`), how many others are like a `known` picture or like one
    of the pool that is kept (`repeated`), and why some cannot be read, by position."""

    fresh: Samples
    known: int
    repeated: int
    faults: dict[int, str]


def newcomers(known: Samples, pool: Samples, progress: Callable[[int, int], None] | None = None) -> Newcomers:
    """Compare a pool with known pictures, by content and by look (`lookalikes`). Each is decoded once, at reduced
    scale.

    Args:
        known: pictures that count as seen.
        pool: those of which the new ones are wanted.
        progress: is called with (done, total) after each, of both together.

    Returns:
        The new ones, hashed, in the order of the pool; how many were like a known one, or like each other; and faults.
    """
    facts, links = linked(chain(known.sources(), pool.sources()), len(known) + len(pool), progress)
    start = len(known)
    faults = {i - start: facts[i].reason or "cannot be read" for i in range(start, len(facts)) if facts[i].fault}
    kept, alike, repeated = [], 0, 0
    for members in links.clusters():
        theirs = [i - start for i in members if i >= start and i - start not in faults]
        if members[0] < start:  # members are in order: known pictures come first
            alike += len(theirs)
        elif theirs:
            kept.append(theirs[0])
            repeated += len(theirs) - 1
    kept.sort()
    hashes = tuple(sha256 for i in kept if (sha256 := facts[start + i].sha256) is not None)
    assert len(hashes) == len(kept)  # what can be decoded was hashed before
    return Newcomers(replace(pool.select(kept), sha256=hashes), alike, repeated, faults)
