"""`tf.data` and `PyDataset` → arrays: in order, once, unchanged, or refused with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import transferkit as tk
from transferkit.data.readers import datasets
from transferkit.errors import DataError

X = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8)
Y = np.array([0, 1] * 5)


def tensors(x: Any = X, y: Any = Y) -> Any:
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((x, y))


def sequence(batches: list[Any], count: int | None = None) -> Any:
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        @property
        def num_batches(self) -> int | None:
            return count

        def __getitem__(self, index: int) -> Any:
            return batches[index]

    return Batches()


@pytest.mark.parametrize("form", ["single", "batched", "ragged end", "pydataset"])
def test_pictures_and_labels_come_unchanged_and_in_order(form: str) -> None:
    data = {
        "single": lambda: tensors(),
        "batched": lambda: tensors().batch(5),
        "ragged end": lambda: tensors().batch(4),
        "pydataset": lambda: sequence([(X[:6], Y[:6]), (X[6:], Y[6:])], 2),
    }[form]()
    x, y = datasets.arrays(data)
    assert np.array_equal(np.stack(x), X)
    assert np.array_equal(y, Y)
    loaded = tk.load_data(data)
    assert loaded.counts() == {"0": 5, "1": 5}


def test_names_of_classes_are_kept() -> None:
    data = tensors().batch(4)
    data.class_names = ["rose", "tulip"]
    assert tk.load_data(data).classes == ("rose", "tulip")


def test_what_is_no_finite_dataset_of_pictures_and_labels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    cases = {
        "has no end": tensors().repeat(),
        "does not know its length": tensors().filter(lambda x, y: y > 0),
        "yields pictures as float32": tensors(X.astype(np.float32)),
        "yields 3 parts": tf.data.Dataset.from_tensor_slices((X, Y, Y)),
        "yields ndarray": tf.data.Dataset.from_tensor_slices(X),
        "is empty": tensors().take(0),
        "num_batches is None": sequence([], None),
    }
    for reason, data in cases.items():
        with pytest.raises(DataError, match=reason):
            datasets.arrays(data)
    monkeypatch.setattr(datasets, "SHARE", 1e-9)
    with pytest.raises(DataError, match="half of the memory that is free"):
        datasets.arrays(tensors().batch(4))


def test_other_data_is_not_taken_for_a_dataset() -> None:
    assert [datasets.kind(data) for data in ("folder", (X, Y), None, X)] == [""] * 4


def test_a_dataset_of_floats_is_refused_with_what_to_do_by_load_data_too() -> None:
    with pytest.raises(DataError, match=r"(?s)Best give the folder.*model\.fit\(data\)"):
        tk.load_data(tensors(X / 255.0))
