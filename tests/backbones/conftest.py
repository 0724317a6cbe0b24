"""No test of this room reaches the network or the user's own weights folder."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest


def value(weight):
    """A copy of the weight's value: NumPy's own conversion may be a view that changes with it."""
    return np.copy(keras.ops.convert_to_numpy(weight))


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty weights folder."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("TRANSFERKIT_OFFLINE", "TRANSFERKIT_WEIGHTS_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "keras" / "models"


@pytest.fixture(scope="session")
def assets():
    """The folder with real weights; the test is skipped where it is absent."""
    folder = Path(os.environ.get("TRANSFERKIT_TEST_ASSETS", Path(__file__).parents[3] / "shared"))
    if not (folder / "weights").is_dir():
        pytest.skip(f"no real weights: {folder / 'weights'} is absent (set TRANSFERKIT_TEST_ASSETS)")
    return folder


@pytest.fixture
def one_bit_off(tmp_path, monkeypatch):
    """`one_bit_off(module)`: the weights file of a bundled network is a copy with one bit turned."""

    def damage(module):
        content = bytearray(module.WEIGHTS_FILE.read_bytes())
        content[len(content) // 2] ^= 1
        broken = tmp_path / module.WEIGHTS_FILE.name
        broken.write_bytes(content)
        monkeypatch.setattr(module, "WEIGHTS_FILE", broken)

    return damage
