"""Every combination of a space, counted before it is listed. Pure Python."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from transferkit.tuning.search_space.dimensions import OUTER, Dimension, Values


def ordered(dimensions: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """Parents before what depends on them; then those that need new features, so that these vary slowest.

    Conditions that nothing fulfils (an absent parent, a circle) come last, for `check` to name.
    """
    left, placed, names = list(dimensions), list[Dimension](), {d.name for d in dimensions}
    while left:
        waiting = {d.name for d in left}
        ready = [d for d in left if d.when is None or d.when[0] not in waiting or d.when[0] not in names]
        if not ready:
            return (*placed, *left)
        chosen = next((d for d in ready if d.name in OUTER), ready[0])
        left.remove(chosen)
        placed.append(chosen)
    return tuple(placed)


def combinations(dimensions: Sequence[Dimension], resolution: int | None) -> Iterator[Values]:
    """Every combination of active settings, each once; the first dimension varies slowest.

    Args:
        dimensions: parents before what depends on them.
        resolution: values that stand for a continuous range; None where there is none.
    """
    yield from _extend({}, list(dimensions), resolution)


def _extend(chosen: Values, left: list[Dimension], resolution: int | None) -> Iterator[Values]:
    if not left:
        yield dict(chosen)
        return
    first, rest = left[0], left[1:]
    if not first.holds(chosen):
        yield from _extend(chosen, rest, resolution)
        return
    for value in first.points(resolution):
        yield from _extend({**chosen, first.name: value}, rest, resolution)


def count(dimensions: Sequence[Dimension], resolution: int | None) -> int | None:
    """How many combinations there are, without listing them.

    Args:
        dimensions: parents before what depends on them.
        resolution: values that stand for a continuous range; None: as many as there are.

    Returns:
        None where a range is continuous and there is no resolution.
    """
    parents = {d.when[0] for d in dimensions if d.when}
    # Only the settings that others depend on have to be gone through; the rest multiply.
    skeleton, leaves = [d for d in dimensions if d.name in parents], [d for d in dimensions if d.name not in parents]
    if resolution is None and any(d.count() is None for d in dimensions):
        return None
    sizes = [_size(d, resolution) for d in leaves]
    return sum(
        math.prod(size for d, size in zip(leaves, sizes, strict=True) if d.holds(chosen))
        for chosen in combinations(skeleton, resolution)
    )


def _size(dimension: Dimension, resolution: int | None) -> int:
    known = dimension.count()
    if known is not None and (resolution is None or known <= resolution or dimension.step is not None):
        return known
    return len(dimension.points(resolution))


def pairs(dimensions: Sequence[Dimension]) -> Iterator[Values]:
    """Ends and choices of every two dimensions together, with the parents that make them active."""
    for chosen in itertools.combinations(dimensions, 2):
        wanted = {d.name for d in chosen}
        while more := {d.when[0] for d in dimensions if d.name in wanted and d.when} - wanted:
            wanted |= more
        yield from combinations([d for d in dimensions if d.name in wanted], 2)
