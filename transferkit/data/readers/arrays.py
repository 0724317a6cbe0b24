"""Arrays `(x, y)` → samples. The arrays are shared, never copied or changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from transferkit import tasks
from transferkit.data.images.reading import orientation_of
from transferkit.data.readers.cells import LARGEST, are_amounts
from transferkit.data.readers.cells import number as number_in
from transferkit.data.readers.folder import class_order, odd_names
from transferkit.data.samples import Pixels, Samples, listed
from transferkit.errors import DataError, raise_problems
from transferkit.tasks import SEVERAL, SINGLE

ARRAYS = "arrays"  # what pictures from memory are called where others have the name of their folder
Targets = npt.NDArray[Any]


def scan_arrays(
    data: tuple[Any, ...],
    task: str | None,
    excluded: Callable[[str, str | None], bool],
    classes: Sequence[str] | None,
) -> Samples:
    """Samples of arrays, which are shared, never copied or changed.

    Args:
        data: `(x, y)` or `(x, y, class names)`. x: uint8 [N, H, W], [N, H, W, 1|3|4], or a list of such pictures of any
            sizes. y: whole numbers (also as floats) or names (also as bytes) [N] or [N, 1]; 0/1 [N, C] (multi-label;
            one-hot with task="classify"); floats [N] or [N, T] with task="regress".
        task: None finds it from `y`; numbers and ordered classes are never guessed.
        excluded: path and label → whether it is left out.
        classes: those of a finished run, in its order.

    Raises:
        DataError: shapes do not fit, or targets are missing or unusable, with their positions.
    """
    if len(data) not in (2, 3):
        raise DataError(f"a tuple of {len(data)} is no data; give (x, y) or (x, y, class names)")
    pictures = _pictures(data[0])
    named = _class_names(data[2]) if len(data) == 3 else classes
    y = _labels(data[1])
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or len(y) != len(pictures):
        raise DataError(f"{len(pictures)} pictures and targets of shape {list(y.shape)}; one target per picture")
    notes = list[str]()
    task = task or _task(y, named, notes)
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
        origin=ARRAYS,
        notes=(*notes, *odd_names(names)),
        ordered=named is not None,
    )
    kept = [i for i, path in enumerate(samples.paths) if not excluded(path, samples.label(i))]
    return samples if len(kept) == len(samples) else samples.select(kept)


def _pictures(x: Any) -> list[Pixels]:
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise DataError("x has masked pixels, which cannot be left out of a picture; give x.filled(255) or the like")
    if isinstance(x, np.ndarray) and x.dtype.kind not in "OU":
        if x.dtype != np.uint8:
            low, high = (x.min(), x.max()) if x.size and x.dtype.kind in "fiu" else ("?", "?")
            raise DataError(
                f"x is {x.dtype} with values {low} to {high}; pictures are uint8 0–255: use "
                "(x * 255).round().astype('uint8') for 0–1, x.astype('uint8') for 0–255"
            )
        if x.ndim not in (3, 4):
            raise DataError(f"x has the shape {list(x.shape)}; pictures come as [N, H, W, 3] or [N, H, W]")
    given = list(x)
    if not given:
        raise DataError("x is empty; give at least two pictures")
    if isinstance(given[0], str | os.PathLike):
        raise DataError(
            f"x holds names of files ({listed(given, 2)}), not pictures; write them and their labels into a CSV with "
            "the columns path and label, and give its name"
        )
    problems = [f"array[{i}] is {why}" for i, picture in enumerate(given) if (why := _odd_pillow(picture))]
    raise_problems(DataError, problems[:10])
    pictures = [np.asarray(picture) for picture in given]
    odd: dict[str, list[int]] = {}
    for i, picture in enumerate(pictures):
        channels = picture.shape[2] if picture.ndim == 3 else 1
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or channels not in (1, 3, 4) or not picture.size:
            odd.setdefault(f"{picture.dtype} {list(picture.shape)}", []).append(i)
            first = picture.ndim == 3 and picture.shape[0] in (1, 3, 4) and channels not in (1, 3, 4)
            problems += ["channels come last: np.moveaxis(picture, 0, -1) puts them there"] if first else []
    told = [f"array[{of[0]}]{f' and {len(of) - 1:,} more' if of[1:] else ''} {'are' if of[1:] else 'is'} {what}; use "
            "uint8 [H, W, 3] or [H, W]" for what, of in odd.items()]  # fmt: skip
    raise_problems(DataError, [*told[:10], *problems])
    return pictures


def _odd_pillow(picture: Any) -> str:
    """Why a Pillow picture's array is not what it shows (a palette's numbers, ink, a side up), or empty."""
    if not isinstance(picture, Image.Image):
        return ""
    plain = picture.mode in ("L", "RGB", "RGBA") and "transparency" not in picture.info
    if plain and orientation_of(picture) == 1:
        return ""
    what = f"a Pillow picture of mode {picture.mode}" if not plain else "a Pillow picture that is to be turned"
    return f'{what}; give its file, or ImageOps.exif_transpose(picture).convert("RGB")'


def _labels(given: Any) -> Targets:
    """Targets as numbers or as text, none of them missing."""
    if isinstance(given, np.ma.MaskedArray):
        _refuse(np.ma.getmaskarray(given), "are masked")
    # By way of objects: NumPy writes a NaN among names as the name 'nan', and None among numbers as no number at all.
    y = np.asarray(given) if hasattr(given, "dtype") else _objects(given)
    if y.dtype.kind == "U":
        _refuse(y == "nan", "are 'nan', which NumPy makes of a missing name")
    if y.dtype.kind == "O":
        _refuse(np.reshape([_is_missing(value) for value in y.flat], y.shape), "are missing (None or NaN)")
        if all(isinstance(value, Real | np.bool_) for value in y.flat):
            y = np.array(y.tolist())
    if y.dtype.kind == "f":
        _refuse(~np.isfinite(y), "are missing or not finite")
    if y.dtype.kind in "OS":
        y = _texts(y)
    if y.dtype.kind == "U":
        _refuse(np.char.strip(y) == "", "are empty")
    elif y.dtype.kind not in "biuf":
        raise DataError(f"targets are numbers or names; these are {y.dtype}")
    return y


def _objects(given: Any) -> Targets:
    try:
        return np.array(given, dtype=object)
    except ValueError:  # lists of different lengths inside
        return np.array([None, *given], dtype=object)[1:]


def _is_missing(value: Any) -> bool:
    # pandas' NA and NaT are of these types; neither is equal to itself.
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, Real) and value != value)
    )


def _texts(y: Targets) -> Targets:
    """Names and bytes as text, whole numbers among them without a point."""
    texts, bad = [], []
    for value in y.flat:
        try:
            texts.append(_text(value))
        except (UnicodeDecodeError, TypeError):
            texts.append("?")
            bad.append(len(texts) - 1)
    if bad:
        first = list(y.flat)[bad[0]]
        raise DataError(
            f"{len(bad)} targets are neither names nor numbers, at {listed(bad)} (the first is {first!r}); "
            "names are text, or bytes in UTF-8; for several labels per picture give 0/1 of shape [N, C]"
        )
    return np.array(texts).reshape(y.shape)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(int(value))  # not by way of a float, in which large ones are the same
    if isinstance(value, Real):
        number = float(value)
        return str(int(number)) if number.is_integer() else str(value)
    raise TypeError


def _refuse(bad: npt.NDArray[np.bool_], what: str) -> None:
    bad = np.atleast_1d(bad)
    rows = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1)) if bad.size else np.array([])
    if len(rows):
        raise DataError(f"{len(rows)} targets {what}, at {listed(rows.tolist())}; give them, or leave the pictures out")


def _class_names(given: Any) -> tuple[str, ...]:
    named = _texts(_objects(given)).tolist()
    empty = [i for i, name in enumerate(named) if not name.strip()]
    if empty:
        raise DataError(f"the class names at {listed(empty)} are empty; give each class a name")
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise DataError(f"the class names hold {listed(twice)} more than once; give each class one name of its own")
    return tuple(named)


def _task(y: Targets, named: Sequence[str] | None, notes: list[str]) -> str:
    if y.dtype.kind == "f" and (y != np.rint(y)).any():
        raise DataError('y holds fractions; pass task="regress" for regression, or y.astype(int) for class numbers')
    if y.ndim == 2:
        if y.dtype.kind != "U" and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
            notes.append(
                'y is one-hot (a single 1 in each row) and read as several labels; pass task="classify" for one class '
                "per picture"
            )
        return SEVERAL
    if y.dtype.kind in "iuf" and named is None and are_amounts(y.tolist()):
        different = len(np.unique(y))
        raise DataError(
            f'y holds {different} different numbers; pass task="regress" to predict them, or task="classify" to take '
            "each as a class"
        )
    if y.dtype.kind == "f":
        notes.append('y holds whole numbers as floats; each is taken as a class (task="regress" predicts numbers)')
    return SINGLE


def _targets(y: Targets, task: str, named: Sequence[str] | None) -> tuple[Targets, tuple[str, ...]]:
    return {"class": _single, "labels": _several, "numbers": _numbers}[tasks.of(task).form](y, named)


def _numbers(y: Targets, named: Sequence[str] | None) -> tuple[Targets, tuple[str, ...]]:
    values = _floats(y)
    return values, _names(named, values.shape[1], "target")


def _several(y: Targets, named: Sequence[str] | None) -> tuple[Targets, tuple[str, ...]]:
    if y.ndim != 2 or y.dtype.kind == "U" or not np.isin(y, (0, 1)).all():
        raise DataError(f"multilabel targets are 0/1 of shape [N, C]; these are {y.dtype} {list(y.shape)}")
    return y.astype(np.float32), _names(named, y.shape[1], "label")


def _single(y: Targets, named: Sequence[str] | None) -> tuple[Targets, tuple[str, ...]]:
    if y.ndim == 2:
        if y.dtype.kind == "U" or not (np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()):
            raise DataError('y has two dimensions but is not one-hot; pass task="multilabel" or "regress"')
        return y.argmax(axis=1).astype(np.int64), _names(named, y.shape[1], "class")
    return _classes(y, named)


def _floats(y: Targets) -> npt.NDArray[np.float64]:
    if y.dtype.kind == "U":
        numbers = [number_in(text) for text in y.flat]
        _refuse(np.reshape([value is None for value in numbers], y.shape), "are no numbers")
        y = np.array(numbers, dtype=np.float64).reshape(y.shape)
    values = y.astype(np.float64).reshape(len(y), -1)
    _refuse(np.abs(values) > LARGEST, f"lie beyond ±{LARGEST:.1e}, the most that float32 holds")
    return values


def _classes(y: Targets, named: Sequence[str] | None) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
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
    number_of = {name: i for i, name in enumerate(order)}
    return np.array([number_of[value] for value in values], dtype=np.int64), order


def _names(named: Sequence[str] | None, count: int, kind: str) -> tuple[str, ...]:
    if named is None:
        return tuple(str(i) for i in range(count)) if kind != "target" else tuple(f"target{i}" for i in range(count))
    if len(named) != count:
        raise DataError(f"{len(named)} names for {count} columns; give one {kind} name per column")
    return tuple(str(name) for name in named)
