"""Arrays `(x, y)` → samples. The arrays are shared, never copied or changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.data.folder import class_order
from transferkit.data.samples import Pixels, Samples, Task, listed
from transferkit.errors import DataError, raise_problems


def scan_arrays(
    data: tuple[Any, ...],
    task: Task | None,
    excluded: Callable[[str, str | None], bool],
    classes: Sequence[str] | None,
) -> Samples:
    """Samples of `(x, y)` or `(x, y, class names)`.

    x: uint8 [N, H, W], [N, H, W, 1|3|4], or a list of such pictures of any sizes. y: whole numbers or names
    [N] or [N, 1]; 0/1 [N, C] (multilabel; one-hot with task="classify"); floats [N] or [N, T] with
    task="regress".
    """
    if len(data) not in (2, 3):
        raise DataError(f"a tuple of {len(data)} is no data; give (x, y) or (x, y, class names)")
    pictures = _pictures(data[0])
    named = list(data[2]) if len(data) == 3 else classes
    y = np.asarray(data[1])
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or len(y) != len(pictures):
        raise DataError(f"{len(pictures)} pictures and targets of shape {list(y.shape)}; one target per picture")
    task = task or _task(y)
    targets, names = _targets(y, task, named)
    samples = Samples(
        root=None,
        paths=tuple(f"array[{i}]" for i in range(len(pictures))),
        targets=targets,
        classes=names,
        task=task,
        split=(None,) * len(pictures),
        group=(None,) * len(pictures),
        sha256=None,
        pixels=pictures,
        origin="arrays",
    )
    kept = [i for i, path in enumerate(samples.paths) if not excluded(path, samples.label(i))]
    return samples if len(kept) == len(samples) else samples.select(kept)


def _pictures(x: Any) -> list[Pixels]:
    if isinstance(x, np.ndarray) and x.dtype != object:
        if x.dtype != np.uint8:
            low, high = (x.min(), x.max()) if x.size and x.dtype.kind in "fiu" else ("?", "?")
            raise DataError(
                f"x is {x.dtype} with values {low} to {high}; pictures are uint8 0–255: use "
                "(x * 255).round().astype('uint8') for 0–1, x.astype('uint8') for 0–255"
            )
        if x.ndim not in (3, 4):
            raise DataError(f"x has the shape {list(x.shape)}; pictures come as [N, H, W, 3] or [N, H, W]")
    pictures = [np.asarray(picture) for picture in x]
    if not pictures:
        raise DataError("x is empty; give at least two pictures")
    problems = []
    for i, picture in enumerate(pictures):
        channels = picture.shape[2] if picture.ndim == 3 else 1
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or channels not in (1, 3, 4) or not picture.size:
            problems.append(f"array[{i}] is {picture.dtype} {list(picture.shape)}; use uint8 [H, W, 3] or [H, W]")
    raise_problems(DataError, problems[:10])
    return pictures


def _task(y: npt.NDArray[Any]) -> Task:
    if y.dtype.kind == "f" and not np.isin(y, (0, 1)).all():
        raise DataError('y holds fractions; pass task="regress" for regression, or y.astype(int) for class numbers')
    return "multilabel" if y.ndim == 2 else "classify"


def _targets(y: npt.NDArray[Any], task: Task, named: Sequence[str] | None) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    if task == "regress":
        values = _floats(y)
        return values, _names(named, values.shape[1], "target")
    if task == "multilabel":
        if y.ndim != 2 or not np.isin(y, (0, 1)).all():
            raise DataError(f"multilabel targets are 0/1 of shape [N, C]; these are {y.dtype} {list(y.shape)}")
        return y.astype(np.float32), _names(named, y.shape[1], "label")
    if y.ndim == 2:
        if not (np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()):
            raise DataError('y has two dimensions but is not one-hot; pass task="multilabel" or "regress"')
        return y.argmax(axis=1).astype(np.int64), _names(named, y.shape[1], "class")
    return _classes(y, named)


def _floats(y: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    try:
        values = y.astype(np.float32).reshape(len(y), -1)
    except (TypeError, ValueError) as error:
        raise DataError(f"regression targets are numbers; these are {y.dtype}") from error
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise DataError(f"{len(bad)} targets are not finite numbers, at {listed(bad.tolist())}")
    return values


def _classes(y: npt.NDArray[Any], named: Sequence[str] | None) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    numbers = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool((y == np.rint(y)).all()))
    if numbers and named is not None:
        if y.min() < 0 or y.max() >= len(named):
            raise DataError(f"class numbers run from {y.min()} to {y.max()}, but {len(named)} classes are named")
        return y.astype(np.int64), tuple(str(name) for name in named)
    values = [str(int(value)) if numbers else str(value) for value in y]
    order = tuple(str(name) for name in named) if named is not None else class_order(set(values))
    unknown = sorted(set(values) - set(order))
    if unknown:
        raise DataError(f"{listed(unknown)} are not among the classes {listed(order)}")
    if len(order) < 2:
        raise DataError(f"one class only, {listed(order)}; classification needs at least two")
    number = {name: i for i, name in enumerate(order)}
    return np.array([number[value] for value in values], dtype=np.int64), order


def _names(named: Sequence[str] | None, count: int, kind: str) -> tuple[str, ...]:
    if named is None:
        return tuple(str(i) for i in range(count)) if kind != "target" else tuple(f"target{i}" for i in range(count))
    if len(named) != count:
        raise DataError(f"{len(named)} names for {count} columns; give one {kind} name per column")
    return tuple(str(name) for name in named)
