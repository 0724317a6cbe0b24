"""Which pictures are copies or look-alikes of each other, as groups, and which cannot be read. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from transferkit.data.audit.lookalikes import near_pairs
from transferkit.data.audit.many_facts import Facts, examine_all
from transferkit.data.samples import Pixels, Samples
from transferkit.data.union_find import Links


@dataclass(frozen=True)
class Copies:
    """Indices of two or more pictures that are the same file (`exact`) or look alike; `torn`: their labels differ."""

    members: tuple[int, ...]
    exact: bool
    torn: bool


def linked(
    sources: Iterable[Path | Pixels], total: int, progress: Callable[[int, int], None] | None = None
) -> tuple[Facts, Links]:
    """What pictures are like, and which of them are one file or look alike, as links between their positions.

    Args:
        sources: of the pictures; each is decoded once, at reduced scale.
        total: how many there are.
        progress: called with how many are done, and `total`, after each.
    """
    facts = examine_all(sources, total, progress)
    links = Links(len(facts))
    for first, *others in facts.copies():
        for i in others:
            links.join(first, i)
    for i, j, _ in near_pairs(facts.likenesses(), facts.seen(), facts.thumbnails):
        links.join(i, j)
    return facts, links


def find_copies(
    samples: Samples, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Copies], dict[int, str]]:
    """Copies and look-alikes as groups. Every picture is decoded once, at reduced scale.

    Args:
        samples: the pictures.
        progress: is called with (done, total) after each.

    Returns:
        Groups, those whose labels differ first, then exact ones; and why single pictures (by index) cannot be read.
    """
    facts, links = linked(samples.sources(), len(samples), progress)
    groups = []
    for members in links.clusters():
        if len(members) > 1:
            exact = len({facts[i].sha256 for i in members}) == 1
            groups.append(Copies(tuple(members), exact, len({samples.label(i) for i in members}) > 1))
    groups.sort(key=lambda group: (not group.torn, not group.exact, group.members))
    faults = {i: fact.reason or "cannot be read" for i, fact in enumerate(facts) if fact.fault is not None}
    return groups, faults
