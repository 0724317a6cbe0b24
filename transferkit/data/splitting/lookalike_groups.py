"""Pictures that look alike as groups, so that a split keeps second shots of one object on the same side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from transferkit.data.audit.lookalikes import near_pairs
from transferkit.data.audit.many_facts import examine_all
from transferkit.data.samples import Samples
from transferkit.data.union_find import Links


def group_look_alikes(samples: Samples, progress: Callable[[int, int], None] | None = None) -> tuple[Samples, int]:
    """Samples with `group` filled for look-alikes. Groups of the user stay together, merged where look-alikes link
    them.

    Args:
        samples: the data; every picture is decoded once, at reduced scale, and one that cannot be read keeps its group.
        progress: is called with (done, total) after each.

    Returns:
        The samples, and how many pictures were joined to another.
    """
    facts = examine_all(samples.sources(), len(samples), progress)
    links = Links(len(samples))
    first: dict[str, int] = {}
    for i, name in enumerate(samples.group):
        if name is not None:
            links.join(i, first.setdefault(name, i))
    joined: set[int] = set()
    for i, j, _ in near_pairs(facts.likenesses(), facts.seen(), facts.thumbnails):
        links.join(i, j)
        joined |= {i, j}
    group = list(samples.group)
    for members in links.clusters():
        for i in members if len(members) > 1 else ():
            group[i] = f"alike:{samples.paths[members[0]]}"  # says where the group comes from
    note = f"{len(joined)} pictures look like another one; each such group stays in one split"
    return replace(samples, group=tuple(group), notes=(*samples.notes, note) if joined else samples.notes), len(joined)
