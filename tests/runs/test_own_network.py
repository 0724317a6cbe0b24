"""Whole runs on networks of a user's own, whatever Keras' global settings are."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.errors import ConfigError

L = keras.layers


@pytest.fixture
def transformer(tmp_path: Path) -> Path:
    """A small vision transformer: 16 tokens of 16 numbers, and a classifier on their mean."""
    inputs = keras.Input((32, 32, 3))
    x = L.Reshape((-1, 16))(L.Conv2D(16, 8, strides=8)(L.Rescaling(1 / 255)(inputs)))
    x = L.LayerNormalization()(x + L.MultiHeadAttention(2, 8)(x, x))
    top = L.Dense(7, activation="softmax")(L.GlobalAveragePooling1D()(x))
    path = tmp_path / "vit.keras"
    keras.Model(inputs, top).save(path)
    return path


@pytest.mark.usefixtures("unpublished")
@pytest.mark.extended
def test_tokens_are_trained_shipped_and_answered_from(transformer: Path, digits: Path, tmp_path: Path) -> None:
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        run = tk.finetune(
            digits, str(transformer), output=tmp_path / "run", epochs=2, patience=1, views=0, augment="none",
            unfreeze="last:1", head="linear", quiet=True,
        )  # fmt: skip
        assert keras.config.image_data_format() == "channels_first"
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_image_data_format("channels_last")
        keras.config.set_dtype_policy("float32")
    assert any("removed its classifier" in note for note in run.manifest["notes"])
    model = keras.saving.load_model(run.layout.model, safe_mode=True)
    assert {w.dtype for w in model.weights if "seed" not in w.path} == {"float32"}
    picture = sorted((digits / "5").iterdir())[0]
    (answer,) = run.predict(picture)
    plain = np.asarray(model([decode(picture, DecodeSettings(32))[None]]))[0]
    np.testing.assert_allclose(sorted(plain)[::-1], [score for _, score in answer.scores], atol=1e-5)
    assert run.evaluate()["accuracy"] == pytest.approx(run.metrics["test"]["accuracy"])
    assert run.explain(picture, "occlusion").label == answer.label
    assert run.explain(picture).heat.max() > 0.9  # on the grid of its 4×4 tokens


def test_tokens_have_no_map_for_cutmix(transformer: Path, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--cutmix needs a feature map"):
        tk.finetune(digits, str(transformer), output=tmp_path / "run", epochs=1, cutmix=0.5, quiet=True)
