"""What pictures tell of which several belong together: groups are drawn and counted, not pictures. NumPy, SciPy.

Pictures of one patient or one film are answered alike, so that ten of them tell less than ten others. `groups`
everywhere is int [N]: which group each picture is of, numbered from 0, none empty, at least two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def units(count: int, groups: Array | None) -> int:
    """How many independent witnesses pictures are: as many as there are, or as many as their groups.

    Args:
        count: how many pictures.
        groups: of the pictures; None: each is one.
    """
    return count if groups is None else int(groups.max()) + 1


def worth(hits: Array, groups: Array) -> float:
    """Of how many independent pictures the share of `hits` is worth as much as of these.

    The variance between groups says it (Korn & Graubard 1998): never more than there are pictures, and as many as
    groups where all pictures agree, since then nothing tells how alike those of one group are. 0 for one group.

    Args:
        hits: bool or float 0…1 [N], N > 1.
        groups: of the pictures.
    """
    from scipy.stats import norm, t

    n, count, p = len(hits), units(len(hits), groups), float(np.mean(hits))
    if count == 1 or p in (0.0, 1.0):
        return float(count if count > 1 else 0)
    variance = standard_error(np.asarray(hits, np.float64), groups) ** 2
    few = float(norm.ppf(0.025) / t.ppf(0.025, count - 1)) ** 2
    return min(float(n), p * (1 - p) / variance * few) if variance > 0 else float(n)


def apart(codes: Array, count: int, groups: Array | None) -> Array:
    """Of each of `count` codes, how many pictures have it; of pictures in groups, how many groups.

    Args:
        codes: int [N].
        count: how many codes there are.
        groups: int [N]; None: each picture is one.
    """
    if groups is not None:
        codes = np.unique(groups.astype(np.int64) * count + codes) % count
    return np.bincount(codes, minlength=count)


def standard_error(values: Array, groups: Array | None) -> float:
    """Of the mean of `values` float [N], N > 1, by the variance between groups, or between pictures.

    Args:
        values: of each picture.
        groups: of the pictures; None: each is one.
    """
    if groups is None:
        return float(values.std(ddof=1) / np.sqrt(len(values)))
    off, count = np.bincount(groups, values - values.mean()), units(len(values), groups)
    return float(np.sqrt(count / (count - 1) * (off @ off)) / len(values))


def drawn(groups: Array, repeats: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yield rows of pictures int [n] of each of `repeats` draws of as many groups as there are, with replacement.

    Args:
        groups: of the pictures.
        repeats: how often.
        rng: draws.
    """
    order = np.argsort(groups, kind="stable")
    ends = np.cumsum(np.bincount(groups))
    members = np.split(order, ends[:-1])
    for _ in range(repeats):
        yield np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])


def counted(cells: Array, groups: Array, repeats: int, rng: np.random.Generator) -> Array:
    """How often each cell comes in draws of groups: int32 [repeats, cells].

    Args:
        cells: int [N]: the cell of each picture, numbered from 0.
        groups: of the pictures.
        repeats: how often is drawn.
        rng: draws.
    """
    count, width = units(len(cells), groups), int(cells.max()) + 1
    found = np.empty((repeats, width), np.int32)
    for row in found:
        times = np.bincount(rng.integers(0, count, count), minlength=count)
        row[:] = np.bincount(cells, times[groups], width)
    return found
