"""Arithmetic of stratified splitting: units with label counts → parts. Pure NumPy, nothing random."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Parts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class UnitLabels:
    """How often units have labels, without the zeros: a table of 100,000 pictures and 1,000 classes would be mostly
    that. Cells are in the order of units, then of labels: `unit`, `label` and `count` (above 0) int64 [K]."""

    unit: Parts
    label: Parts
    count: Parts
    units: int
    labels: int

    @cached_property
    def starts(self) -> Parts:
        """Where the cells of each unit begin, and one more: int64 [units + 1]."""
        return np.searchsorted(self.unit, np.arange(self.units + 1))

    def of_unit(self, unit: int) -> tuple[Parts, Parts]:
        """Its labels, and how often it has each."""
        cells = slice(self.starts[unit], self.starts[unit + 1])
        return self.label[cells], self.count[cells]

    def carriers(self, among: npt.NDArray[np.bool_] | None = None) -> list[Parts]:
        """The units with each label, ascending; of all, or of those that are true in `among` [units]."""
        kept = slice(None) if among is None else among[self.unit]
        unit, label = self.unit[kept], self.label[kept]
        order = np.argsort(label, kind="stable")
        return np.split(unit[order], np.searchsorted(label[order], np.arange(1, self.labels)))

    def totals(self, among: npt.NDArray[np.bool_] | None = None) -> Parts:
        """How often each label occurs, int64 [labels]; in all units, or in those that are true in `among` [units]."""
        kept = slice(None) if among is None else among[self.unit]
        found = np.bincount(self.label[kept], self.count[kept], self.labels)
        return found.astype(np.int64)


def distribute(labels: UnitLabels, sizes: Parts, shares: Shares) -> Parts:
    """The part of each unit.

    Units of several pictures or labels are placed first, by iterative stratification (Sechidis et al. 2011); then
    single pictures with one label fill what is wanted exactly: alone, every class and the total come within one picture
    of their shares. Every label with enough units reaches every part.

    Args:
        labels: how often each of the U units has each label.
        sizes: pictures of each unit, [U].
        shares: of the parts, [P], which sum to 1.

    Returns:
        Numbers of parts, int64 [U].
    """
    parts = np.full(len(sizes), -1, dtype=np.int64)
    desire = labels.totals()[:, None] * shares[None, :]
    single = (sizes == 1) & (np.bincount(labels.unit, labels.count, labels.units) == 1)
    _iterative(parts, ~single, labels, sizes, desire, shares)
    if single.any():
        parts[single] = _exact(labels.label[single[labels.unit]], desire)
    _reach_every_part(parts, labels, shares)
    return parts


def _exact(classes: Parts, desire: Shares) -> Parts:
    """Controlled rounding: floor of what each class wants, the rest to where class and total want it most."""
    parts = np.empty(len(classes), dtype=np.int64)
    numbers = np.bincount(classes, minlength=len(desire))
    wish = np.maximum(desire, 0)
    quota = wish * (numbers / np.maximum(wish.sum(axis=1), 1e-12))[:, None]
    given = np.floor(quota + 1e-9).astype(np.int64)
    owed = quota.sum(axis=0) - given.sum(axis=0)
    for c in np.argsort(-(quota - given).max(axis=1), kind="stable"):
        for _ in range(int(numbers[c] - given[c].sum())):
            fraction = quota[c] - given[c]
            wanting = np.flatnonzero(fraction > 1e-9)
            best = wanting[np.argmax(fraction[wanting] + owed[wanting])]
            given[c, best] += 1
            owed[best] -= 1
    _even_out(given, quota, owed)
    part = np.tile(np.arange(desire.shape[1]), len(given))
    # Class by class, the pictures of each in their order.
    parts[np.argsort(classes, kind="stable")] = np.repeat(part, given.ravel())
    return parts


def _even_out(given: Parts, quota: Shares, owed: Shares) -> None:
    """Move rounded-up pictures from the part that has most too many to the one that lacks most, in place."""
    while owed.max() - owed.min() > 1 + 1e-9:
        full, lacking = int(owed.argmin()), int(owed.argmax())
        movable = (given[:, full] > quota[:, full]) & (given[:, lacking] < quota[:, lacking] - 1e-9)
        if not movable.any():
            return
        c = int(np.flatnonzero(movable)[0])
        given[c, full] -= 1
        given[c, lacking] += 1
        owed[full] += 1
        owed[lacking] -= 1


def _iterative(
    parts: Parts, units: npt.NDArray[np.bool_], labels: UnitLabels, sizes: Parts, desire: Shares, shares: Shares
) -> None:
    """Iterative stratification (Sechidis, Tsoumakas & Vlahavas 2011, algorithm 1), for units of any size.

    The rarest open label first; each of its units goes where that label is wanted most, then where most
    pictures are wanted. Units come large first in a seeded order, which stands in for the paper's random
    choice. Fills `parts` of those that are true in `units`, and takes what they use from `desire`.
    """
    # The paper compares absolute wishes: the large part then takes the first units, which carry most
    # labels, and ends with far fewer pictures than its share. Wishes relative to the share do not.
    room, usable = sizes.sum() * shares, np.flatnonzero(shares)
    left, carriers = labels.totals(units), labels.carriers(units)
    while (left > 0).any():
        label = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        for unit in carriers[label]:
            if parts[unit] == -1:
                wanted = np.round(desire[label, usable] / shares[usable], 6)
                ties = usable[wanted == wanted.max()]
                best = ties[np.argmax(room[ties] / shares[ties])]
                parts[unit] = best
                own, count = labels.of_unit(unit)
                desire[own, best] -= count
                room[best] -= sizes[unit]
                left[own] -= count
        left[label] = 0


def _reach_every_part(parts: Parts, labels: UnitLabels, shares: Shares) -> None:
    """Move units so that a label with as many units as parts is in each of them, where that is possible."""
    needed, carriers = np.flatnonzero(shares > 0), labels.carriers()
    there = np.zeros((len(shares), labels.labels), np.int64)
    np.add.at(there, (parts[labels.unit], labels.label), 1)
    for label in np.argsort([len(units) for units in carriers], kind="stable"):
        for part in needed if len(carriers[label]) >= len(needed) else ():
            for unit in carriers[label] if there[part, label] == 0 else ():
                own, _ = labels.of_unit(unit)
                # Only from where every label of the unit has another carrier.
                if (there[parts[unit], own] > 1).all():
                    there[parts[unit], own] -= 1
                    there[part, own] += 1
                    parts[unit] = part
                    break
