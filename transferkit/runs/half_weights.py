"""A `.keras` file in half the bytes: weights as float16 on disk, float32 in the network that Keras makes of it.

Keras reads arrays of either type into its variables, so nothing of ours is needed to load one. What was published in
16 bits (CLIP, the bundled networks) keeps the very same numbers.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MEMBER = "model.weights.h5"
SMALL = 4096  # numbers up to which an array is kept as it is: norms and biases gain nothing, and cost most


@dataclass(frozen=True)
class Halved:
    """What became of a file: `share` (0 to 1) of its numbers is float16 now, and its size in bytes was `before` and is
    `after`."""

    share: float
    before: int
    after: int

    def __str__(self) -> str:
        sizes = f"{self.after / 1e6:.1f} MB, not {self.before / 1e6:.1f}"
        return f"{self.share:.0%} of its numbers are stored as float16: {sizes}"


def halve(path: Path, *, exact: bool) -> Halved | None:
    """Store large float32 arrays of a `.keras` file as float16, in place.

    Args:
        path: of the file, which nobody else may be reading.
        exact: only where every number stays what it is; else wherever all are in float16's range.

    Returns:
        None where no array can be stored so, and the file is as it was.
    """
    import h5py

    before = path.stat().st_size
    # Beside it, and by its name: what a killed process leaves goes with the other temporaries of the folder.
    old, whole = scraps = [path.with_suffix(end) for end in (".old.h5", ".whole")]
    new = io.BytesIO()  # as Keras does: HDF5 crashes some time after a disk was full
    try:
        with zipfile.ZipFile(path) as archive, archive.open(MEMBER) as stored, open(old, "wb") as copy:
            shutil.copyfileobj(stored, copy)
        with h5py.File(old, "r") as source:
            if not _gains(source, exact):  # as for most networks, of which a copy would be made for nothing
                return None
            with h5py.File(new, "w") as target:
                halved, numbers = _copied(source, target, exact)
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(whole, "w") as result:
            for member in archive.infolist():
                if member.filename == MEMBER:
                    result.writestr(MEMBER, new.getbuffer())
                else:
                    result.writestr(member, archive.read(member))
        whole.replace(path)
    finally:
        for scrap in scraps:
            scrap.unlink(missing_ok=True)
    return Halved(halved / numbers, before, path.stat().st_size)


def _gains(group: Any, exact: bool) -> bool:
    """Whether any array of a group can be stored as float16."""
    return any(
        _half(item[()], exact) is not None if hasattr(item, "shape") else _gains(item, exact) for item in group.values()
    )


def _copied(source: Any, target: Any, exact: bool) -> tuple[int, int]:
    """Everything of a group, its attributes too. Returns how many numbers are float16 now, and how many there are."""
    halved = numbers = 0
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if hasattr(item, "shape"):
            values = item[()]
            half = _half(values, exact)
            target.create_dataset(name, data=values if half is None else half).attrs.update(item.attrs)
            found = (0 if half is None else half.size, int(np.size(values)))
        else:
            found = _copied(item, target.create_group(name), exact)
        halved, numbers = halved + found[0], numbers + found[1]
    return halved, numbers


def _half(values: Any, exact: bool) -> np.ndarray | None:
    """As float16; None where it is no large array of float32, or not near enough."""
    if not isinstance(values, np.ndarray) or values.dtype != np.float32 or values.size <= SMALL:
        return None
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    good = np.array_equal(half, values) if exact else bool(np.isfinite(half).all())
    return half if good else None
