"""Arithmetic of stratified splitting: units with label counts → parts. Pure NumPy, nothing random."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int32]
Parts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


def distribute(labels: Counts, sizes: Parts, shares: Shares) -> Parts:
    """The part of each unit.

    Units of several pictures or labels are placed first, by iterative stratification (Sechidis et al. 2011); then
    single pictures with one label fill what is wanted exactly: alone, every class and the total come within one picture
    of their shares. Every label with enough units reaches every part.

    Args:
        labels: how often each unit has each label, [U, L].
        sizes: pictures of each unit, [U].
        shares: of the parts, [P], which sum to 1.

    Returns:
        Numbers of parts, int64 [U].
    """
    parts = np.full(len(sizes), -1, dtype=np.int64)
    desire = labels.sum(axis=0)[:, None] * shares[None, :]
    single = (sizes == 1) & (labels.sum(axis=1) == 1)
    _iterative(parts, np.flatnonzero(~single), labels, sizes, desire, shares)
    if single.any():
        parts[single] = _exact(labels[single].argmax(axis=1), desire)
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
    for c in range(len(numbers)):
        parts[np.flatnonzero(classes == c)] = np.repeat(np.arange(desire.shape[1]), given[c])
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


def _iterative(parts: Parts, units: Parts, labels: Counts, sizes: Parts, desire: Shares, shares: Shares) -> None:
    """Iterative stratification (Sechidis, Tsoumakas & Vlahavas 2011, algorithm 1), for units of any size.

    The rarest open label first; each of its units goes where that label is wanted most, then where most
    pictures are wanted. Units come large first in a seeded order, which stands in for the paper's random
    choice. Fills `parts` of `units`, and takes what they use from `desire`.
    """
    # The paper compares absolute wishes: the large part then takes the first units, which carry most
    # labels, and ends with far fewer pictures than its share. Wishes relative to the share do not.
    room, usable = sizes.sum() * shares, np.flatnonzero(shares)
    left = labels[units].sum(axis=0, dtype=np.int64)
    carriers = [units[np.flatnonzero(labels[units, label])] for label in range(labels.shape[1])]
    while (left > 0).any():
        label = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        for unit in carriers[label]:
            if parts[unit] == -1:
                wanted = np.round(desire[label, usable] / shares[usable], 6)
                ties = usable[wanted == wanted.max()]
                best = ties[np.argmax(room[ties] / shares[ties])]
                parts[unit] = best
                desire[:, best] -= labels[unit]
                room[best] -= sizes[unit]
                left -= labels[unit]
        left[label] = 0


def _reach_every_part(parts: Parts, labels: Counts, shares: Shares) -> None:
    """Move units so that a label with as many units as parts is in each of them, where that is possible."""
    needed = np.flatnonzero(shares > 0)
    has = labels > 0
    there = np.array([has[parts == p].sum(axis=0) for p in range(len(shares))])
    for label in np.argsort(has.sum(axis=0), kind="stable"):
        carriers = np.flatnonzero(has[:, label])
        for part in needed if len(carriers) >= len(needed) else ():
            for unit in carriers if there[part, label] == 0 else ():
                # Only from where every label of the unit has another carrier.
                if (there[parts[unit]][has[unit]] > 1).all():
                    there[parts[unit]] -= has[unit]
                    there[part] += has[unit]
                    parts[unit] = part
                    break
