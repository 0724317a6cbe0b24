"""Weights on disk in half the bytes: which are, that they stay the same numbers, and that plain Keras reads them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from transferkit.runs.half_weights import MEMBER, SMALL, halve

GRID = (np.arange(2 * SMALL, dtype=np.float32) % 2048 - 1024).reshape(2, SMALL) / 8  # float16 has all of these
THIRDS = np.linspace(-1, 1, 2 * SMALL, dtype=np.float32) / 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    arrays = {"a/vars/0": GRID, "a/vars/1": THIRDS, "b/vars/0": GRID[:, :9], "c/vars/0": THIRDS * 1e6}
    with h5py.File(tmp_path / "weights.h5", "w") as stored:
        stored.create_group("empty/vars")
        for name, values in arrays.items():
            stored[name] = values
        stored["a"].attrs["name"] = "dense"
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(tmp_path / "weights.h5", MEMBER)
        archive.writestr("transferkit.json", json.dumps({"task": "classify"}))
    (tmp_path / "weights.h5").unlink()
    return path


def stored(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with zipfile.ZipFile(path) as archive, archive.open(MEMBER) as member, h5py.File(member, "r") as content:
        assert content["a"].attrs["name"] == "dense"
        assert "empty/vars" in content
        content.visititems(lambda name, item: found.update({name: item[()]}) if hasattr(item, "shape") else None)
    return found


def test_what_float16_holds_exactly_is_stored_as_that_and_all_else_as_it_was(file: Path) -> None:
    before = stored(file)
    done = halve(file, exact=True)
    after = stored(file)

    assert {name for name, values in after.items() if values.dtype == np.float16} == {"a/vars/0"}
    assert all(np.array_equal(after[name].astype(np.float32), values) for name, values in before.items())
    assert done is not None
    assert done.share == pytest.approx(GRID.size / sum(values.size for values in before.values()))
    assert done.after == file.stat().st_size < done.before
    assert str(done).startswith("33% of its numbers are stored as float16: 0.")
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["config.json", MEMBER, "transferkit.json"]
        assert json.loads(archive.read("transferkit.json")) == {"task": "classify"}
    assert [path.name for path in file.parent.iterdir()] == ["model.keras"]


def test_rounding_takes_what_is_in_its_range(file: Path) -> None:
    halve(file, exact=False)
    after = stored(file)

    assert {name for name, values in after.items() if values.dtype == np.float16} == {"a/vars/0", "a/vars/1"}
    assert np.abs(after["a/vars/1"] - THIRDS).max() < 2**-11 / 3  # the last bit of float16
    assert np.array_equal(after["c/vars/0"], THIRDS * 1e6)


def test_a_file_without_such_weights_is_left_alone(file: Path) -> None:
    halve(file, exact=False)
    content = file.read_bytes()

    assert halve(file, exact=True) is None
    assert file.read_bytes() == content


def test_plain_keras_makes_float32_of_it(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((64,))
    model = keras.Model(inputs, keras.layers.Dense(128)(inputs))
    model.set_weights([GRID.reshape(64, 128), THIRDS[:128]])
    path = tmp_path / "model.keras"
    model.save(path)
    done = halve(path, exact=True)
    loaded = keras.saving.load_model(path, safe_mode=True)

    assert done is not None
    assert done.share > 0.98
    assert {str(weight.dtype) for weight in loaded.weights} == {"float32"}
    assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True))
