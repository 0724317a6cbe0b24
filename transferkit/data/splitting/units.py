"""Pictures that must stay together, as units: groups, exact copies, and what either links. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from transferkit.data.samples import Samples
from transferkit.data.splitting.strata import UnitLabels
from transferkit.data.union_find import Links
from transferkit.errors import DataError, raise_problems
from transferkit.tasks.task import Strata

NAMED = 10  # classes that an error names
Units = list[list[int]]  # positions of the samples of each unit


def units_of(samples: Samples) -> Units:
    """Positions that must stay together: one group, or one content, or linked through either (union-find)."""
    return _linked(len(samples), samples.sha256 or (), samples.group)


def _linked(count: int, *each: Sequence[str | None]) -> Units:
    links = Links(count)
    for shared in each:
        first: dict[str, int] = {}
        for i, key in enumerate(shared):
            if key is not None and first.setdefault(key, i) != i:
                links.join(i, first[key])
    return links.clusters()


def groups_of(samples: Samples) -> int | None:
    """How many units there are; None where no groups are known of."""
    return len(units_of(samples)) if any(samples.group) else None


def group_codes_of(samples: Samples) -> npt.NDArray[np.int64] | None:
    """`group_codes` of samples."""
    return group_codes(samples.sha256 or (), samples.group)


def group_codes(sha256: Sequence[str], groups: Sequence[str | None]) -> npt.NDArray[np.int64] | None:
    """Which unit each picture is of: what intervals and tests draw.

    Args:
        sha256: of each picture; none where they are not known.
        groups: of each picture, None for one of no group.

    Returns:
        int64 [N], numbered from 0. None where no groups are known, where each picture is one by itself, and where all
        are one: of a single group nothing tells how much another would differ.
    """
    if not any(groups):
        return None
    units = _linked(len(groups), sha256, groups)
    return per_sample(units, np.arange(len(units)), len(groups)) if 1 < len(units) < len(groups) else None


def shuffled(samples: Samples, units: Units, seed: int, purpose: str) -> list[int]:
    """Units in an order that depends on seed and content alone: large ones first, else by a hash.

    Args:
        samples: hashed.
        units: positions of the pictures that stay together.
        seed: of the split.
        purpose: a word, so that splits and folds are drawn differently.

    Returns:
        Numbers of units.
    """
    hashes = samples.sha256 or ()

    def drawn(u: int) -> bytes:
        content = min(hashes[i] for i in units[u])
        return hashlib.sha256(f"{purpose}:{seed}:{content}".encode()).digest()

    order = sorted(range(len(units)), key=drawn)
    order.sort(key=lambda u: -len(units[u]))  # equally large ones stay in the order drawn
    return order


def refuse_small(samples: Samples, units: Units, need: int, what: str) -> None:
    """Refuse data that has too few units to reach every part.

    Args:
        samples: the data.
        units: positions of the pictures that stay together.
        need: the fewest units of a class (of all together, where a picture has not just one class).
        what: needs them, to begin the error's clause.

    Raises:
        DataError: names every class that has fewer, and what may be done.
    """
    if not samples.kind.exclusive:
        if len(units) < need:
            raise DataError(f"{len(units)} distinct pictures or groups; {what} needs at least {need}")
        return
    count = len(samples.classes)
    code = samples.targets[_flat(units)].astype(np.int64)
    unit = np.repeat(np.arange(len(units)), [len(members) for members in units])
    images = np.bincount(code, minlength=count)
    apart = np.bincount(np.unique(unit * count + code) % count, minlength=count)
    problems = []
    for number, name in enumerate(samples.classes):
        if apart[number] < need:
            have = f"{images[number]} image{'' if images[number] == 1 else 's'}"
            if images[number] >= need:
                have += f", only {apart[number]} of them distinct or in different groups"
            problems.append(
                f"class {name!r} has {have}; {what} needs at least {need}. Add images or pass --exclude {name}."
            )
    if len(problems) > NAMED:
        problems = [*problems[:NAMED], f"and {len(problems) - NAMED} more classes that are as small"]
    raise_problems(DataError, problems)


def label_counts(units: Units, chosen: list[int], strata: Strata) -> UnitLabels:
    """How often some units have each label.

    Args:
        units: positions of the pictures that stay together.
        chosen: numbers of the units, at least one.
        strata: of each picture (see `tasks.task.Task.strata`).
    """
    picture, label = strata
    members = _flat([units[u] for u in chosen])
    place = np.full(max(int(members.max()), int(picture.max(initial=0))) + 1, -1)
    place[members] = np.repeat(np.arange(len(chosen)), sizes_of(units, chosen))
    inside, width = place[picture] >= 0, int(label.max(initial=0)) + 1
    cells, count = np.unique(place[picture[inside]] * width + label[inside], return_counts=True)
    return UnitLabels(cells // width, cells % width, count, len(chosen), width)


def sizes_of(units: Units, chosen: list[int]) -> npt.NDArray[np.int64]:
    """How many pictures some units have.

    Args:
        units: positions of the pictures that stay together.
        chosen: numbers of the units.

    Returns:
        int64 [chosen].
    """
    return np.array([len(units[u]) for u in chosen], dtype=np.int64)


def per_sample(units: Units, values: npt.NDArray[np.int64], total: int) -> npt.NDArray[np.int64]:
    """A value of each unit as a value of each sample.

    Args:
        units: positions of the pictures that stay together; each of the `total` is in one.
        values: int64 [units].
        total: number of samples.

    Returns:
        int64 [total].
    """
    spread = np.empty(total, dtype=np.int64)
    spread[_flat(units)] = np.repeat(values, [len(members) for members in units])
    return spread


def _flat(units: Units) -> npt.NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(units), np.int64)
