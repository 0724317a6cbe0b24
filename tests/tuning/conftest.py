"""A network that several tests of this room read."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has seen nothing yet."""
    import keras

    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("files") / "tiny.keras"
    x = inputs = keras.Input((32, 32, 3))
    for width in (4, 8):
        x = keras.layers.Conv2D(width, 3, strides=2, activation="relu")(x)
    keras.Model(inputs, x).save(path)
    return path
