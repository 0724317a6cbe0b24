"""A finite `tf.data.Dataset` or `keras.utils.PyDataset` of uint8 pictures and labels → arrays. Nothing is converted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from transferkit.data.machine import available_memory
from transferkit.errors import DataError

INFINITE, UNKNOWN = -1, -2  # what tf.data answers when asked how many elements there are
SHARE = 0.5  # of the memory that is free may be filled with pictures


def kind(data: Any) -> str:
    """`"tf.data.Dataset"` or `"keras.utils.PyDataset"` for such objects, else `""`. Imports neither library."""
    for base in type(data).__mro__:
        room = base.__module__.partition(".")[0]
        if room == "tensorflow" and base.__name__ == "DatasetV2":
            return "tf.data.Dataset"
        if room == "keras" and base.__name__ == "PyDataset":
            return "keras.utils.PyDataset"
    return ""


def read(data: Any) -> Any:
    """`data`, as arrays where it is a dataset (see `arrays`)."""
    return arrays(data) if kind(data) else data


def arrays(data: Any) -> tuple[Any, ...]:
    """`(x, y)` or `(x, y, class names)` of a dataset (see `kind`), in the order in which it yields them, read once.

    Returns a list of uint8 pictures [H, W, C], labels as the dataset has them, and its `class_names`, where it has
    some and the labels number them. Raises DataError where it has no end, yields anything but pictures and labels,
    pictures that are not uint8 (they would have been scaled, in a way that `predict` does not know), or more than
    half of the free memory holds.
    """
    name, names = kind(data), getattr(data, "class_names", None)
    pictures, labels, size = list[Any](), list[Any](), 0
    room = SHARE * available_memory()
    for element in _elements(data, name):
        if not isinstance(element, tuple | list) or len(element) != 2:
            what = f"{len(element)} parts" if isinstance(element, tuple | list) else type(element).__name__
            raise DataError(f"this {name} yields {what}; transferkit reads (pictures, labels)")
        x, y = (np.asarray(part) for part in element)
        if x.dtype != np.uint8 or x.ndim not in (3, 4):
            raise DataError(
                f"this {name} yields pictures as {x.dtype} {list(x.shape)}; transferkit reads uint8 [H, W, 3], as a "
                "decoder gives them, in batches or one by one: it scales and resizes them itself, as predict will. "
                "Best give the folder or CSV that they come from"
            )
        batch = x if x.ndim == 4 else x[None]
        marks = y if x.ndim == 4 else y[None]
        if not marks.ndim or len(marks) != len(batch):
            raise DataError(f"this {name} yields {len(batch)} pictures with labels of shape {list(marks.shape)}")
        size += batch.nbytes
        if size > room:
            raise DataError(
                f"the pictures of this {name} take more than {room / 1e9:.1f} GB, half of the memory that is free; "
                "give the folder or CSV that they come from"
            )
        pictures.extend(batch)
        labels.extend(marks)
    if not pictures:
        raise DataError(f"this {name} is empty")
    y = np.asarray(labels)
    return (pictures, y, list(names)) if names is not None and y.ndim == 1 and y.dtype.kind in "iu" else (pictures, y)


def _elements(data: Any, name: str) -> Iterator[Any]:
    """What it yields, once; tensors as arrays."""
    if name == "keras.utils.PyDataset":
        count = data.num_batches
        if count is None:
            raise DataError(f"this {name} has no end (num_batches is None); give one that has")
        yield from (data[number] for number in range(int(count)))
        return
    count = int(data.cardinality())
    if count == INFINITE:
        raise DataError(f"this {name} has no end (it repeats); drop .repeat(), or add .take(n)")
    if count == UNKNOWN:
        raise DataError(f"this {name} does not know its length; add .apply(tf.data.experimental.assert_cardinality(n))")
    yield from data.as_numpy_iterator()
