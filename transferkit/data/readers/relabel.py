"""Labels corrected by a file: the present label of a picture gives way to the one that a person decided on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from transferkit.data.readers.cells import LARGEST, names_in, number
from transferkit.data.samples import Samples, listed, shown
from transferkit.errors import DataError, nearest, raise_problems


def relabel(samples: Samples, labels: Mapping[int, str], fixed: Sequence[str] | None = None) -> Samples:
    """Samples with the labels of some replaced; what they were is kept in `relabelled`.

    Args:
        samples: the data.
        labels: by index, written as in a table's cell: a class, `a;b` for several labels, a number.
        fixed: classes of a finished run; None: a class that no picture is left in goes.

    Raises:
        DataError: names every label that the data does not have: a new class would mostly be a misspelt one.
    """
    targets = samples.targets.copy()
    problems, was = [], dict(samples.relabelled)
    for i, label in labels.items():
        try:
            targets[i] = target(samples, label)
        except DataError as error:
            problems.append(f"{shown(samples.paths[i])}: {error}")
            continue
        was.setdefault(samples.paths[i], samples.label(i))
    if problems:
        more = [f"and {len(problems) - 10} more"] if len(problems) > 10 else []
        raise_problems(DataError, [*problems[:10], *more])
    found = replace(samples, targets=targets, relabelled=was)
    return found if fixed is not None else _without_emptied(found, samples)


def target(samples: Samples, label: str) -> np.ndarray | int:
    """A label as samples hold it in `targets`.

    Args:
        samples: the data.
        label: written as in a table's cell.

    Returns:
        A class's number; 0/1 float32 [C] for several labels; floats [T] for numbers.

    Raises:
        DataError: the data has no such label.
    """
    if samples.kind.numbers:
        return np.array(_numbers(label, samples.classes))
    names = (label,) if label in samples.classes else names_in(label)
    unknown = [name for name in names if name not in samples.classes]
    if unknown:
        hint = nearest(unknown[0], samples.classes) or f"; there are {listed(samples.classes)}"
        raise DataError(f"'{shown(unknown[0])}' is no class of this data{hint}")
    if not samples.kind.exclusive:
        return np.array([float(name in names) for name in samples.classes], np.float32)
    if len(names) != 1:
        raise DataError(f"'{shown(label)}' names {len(names)} classes; a picture has one here")
    return samples.classes.index(names[0])


def _numbers(label: str, targets: Sequence[str]) -> list[float]:
    values = [number(part.rpartition("=")[2]) for part in names_in(label)]
    known = [value for value in values if value is not None and abs(value) <= LARGEST]
    if len(known) != len(values) or len(values) != len(targets):
        raise DataError(f"'{shown(label)}' is not {len(targets)} numbers, as the targets {listed(targets, 3)} are")
    return known


def _without_emptied(samples: Samples, before: Samples) -> Samples:
    """Without the classes whose last picture went to another class."""
    if not samples.kind.exclusive:
        return samples
    had, has = before.counts(), samples.counts()
    kept = [i for i, name in enumerate(samples.classes) if has[name] or not had[name]]
    if len(kept) == len(samples.classes):
        return samples
    if len(kept) < 2:
        raise DataError(f"after relabelling one class is left, {listed([samples.classes[i] for i in kept])}")
    place = np.full(len(samples.classes), -1)
    place[kept] = np.arange(len(kept))
    return replace(samples, targets=place[samples.targets], classes=tuple(samples.classes[i] for i in kept))
