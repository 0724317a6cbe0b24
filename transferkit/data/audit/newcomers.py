"""Which pictures of a pool are new: no copy and no look-alike of one that is known, and each of them once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from transferkit.data.audit.image_facts import examine
from transferkit.data.audit.lookalikes import near_pairs
from transferkit.data.samples import Samples
from transferkit.data.threads import map_ordered
from transferkit.data.union_find import Links


@dataclass(frozen=True)
class Newcomers:
    """Positions in the pool that are `kept`, how many others are like a `known` picture or like one of the pool that
    is kept (`repeated`), and why some cannot be read, by position."""

    kept: tuple[int, ...]
    known: int
    repeated: int
    faults: dict[int, str]


def newcomers(
    known: Samples, pool: Samples, threads: int = 0, progress: Callable[[int, int], None] | None = None
) -> Newcomers:
    """Compare a pool with known pictures, by content and by look (`lookalikes`).

    Every picture is decoded once, at reduced scale. `progress(done, total)` is called after each.
    """
    facts = []
    for fact in map_ordered(examine, chain(known.sources(), pool.sources()), threads):
        facts.append(fact)
        if progress is not None:
            progress(len(facts), len(known) + len(pool))
    links = Links(len(facts))
    first: dict[str, int] = {}
    for i, fact in enumerate(facts):
        if fact.sha256 is not None and fact.fault is None:
            links.join(first.setdefault(fact.sha256, i), i)
    for i, j, _ in near_pairs([fact.likeness for fact in facts], [fact.tiny for fact in facts]):
        links.join(i, j)
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
    return Newcomers(tuple(sorted(kept)), alike, repeated, faults)
