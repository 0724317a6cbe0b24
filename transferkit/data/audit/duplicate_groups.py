"""Which pictures are copies or look-alikes of each other, as groups, and which cannot be read. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from transferkit.data.audit.image_facts import examine
from transferkit.data.audit.lookalikes import near_pairs
from transferkit.data.samples import Samples
from transferkit.data.threads import map_ordered
from transferkit.data.union_find import Links


@dataclass(frozen=True)
class Copies:
    """Indices of two or more pictures that are the same file (`exact`) or look alike; `torn`: their labels differ."""

    members: tuple[int, ...]
    exact: bool
    torn: bool


def find_copies(
    samples: Samples, threads: int = 0, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Copies], dict[int, str]]:
    """Groups, those whose labels differ first, then exact ones; and why single pictures (by index) cannot be read.

    Every picture is decoded once, at reduced scale. `progress(done, total)` is called after each.
    """
    facts = []
    for fact in map_ordered(examine, samples.sources(), threads):
        facts.append(fact)
        if progress is not None:
            progress(len(facts), len(samples))
    links = Links(len(samples))
    first: dict[str, int] = {}
    for i, fact in enumerate(facts):
        if fact.sha256 is not None and fact.fault is None:
            links.join(first.setdefault(fact.sha256, i), i)
    for i, j, _ in near_pairs([fact.likeness for fact in facts], [fact.tiny for fact in facts]):
        links.join(i, j)
    groups = []
    for members in links.clusters():
        if len(members) > 1:
            exact = len({facts[i].sha256 for i in members}) == 1
            groups.append(Copies(tuple(members), exact, len({samples.label(i) for i in members}) > 1))
    groups.sort(key=lambda group: (not group.torn, not group.exact, group.members))
    faults = {i: fact.reason or "cannot be read" for i, fact in enumerate(facts) if fact.fault is not None}
    return groups, faults
