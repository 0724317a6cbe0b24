"""Pictures that look alike as groups, so that a split keeps second shots of one object on the same side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from transferkit.data.examine import examine
from transferkit.data.near import near_pairs
from transferkit.data.samples import Samples
from transferkit.data.threads import map_ordered


def group_look_alikes(
    samples: Samples, threads: int = 0, progress: Callable[[int, int], None] | None = None
) -> tuple[Samples, int]:
    """`samples` with `group` filled for look-alikes, and how many pictures were joined to another.

    Groups of the user stay together and are merged where look-alikes link them. Every picture is decoded
    once, at reduced scale; one that cannot be read keeps its group. `progress(done, total)` is called after
    each.
    """
    likenesses, thumbnails = [], []
    for fact in map_ordered(examine, samples.sources(), threads):
        likenesses.append(fact.likeness)
        thumbnails.append(fact.tiny)
        if progress is not None:
            progress(len(likenesses), len(samples))
    parent = list(range(len(samples)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for i, name in enumerate(samples.group):
        if name is not None:
            parent[root(i)] = root(first.setdefault(name, i))
    joined: set[int] = set()
    for i, j, _ in near_pairs(likenesses, thumbnails):
        parent[root(i)] = root(j)
        joined |= {i, j}
    sizes: dict[int, int] = {}
    for i in range(len(samples)):
        sizes[root(i)] = sizes.get(root(i), 0) + 1
    # Named after a member, so that the name says where the group comes from.
    group = tuple(
        f"alike:{samples.paths[root(i)]}" if sizes[root(i)] > 1 else samples.group[i]
        for i in range(len(samples))
    )
    note = f"{len(joined)} pictures look like another one; each such group stays in one split"
    return replace(samples, group=group, notes=(*samples.notes, note) if joined else samples.notes), len(
        joined
    )
