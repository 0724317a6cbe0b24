"""What a run keeps of its training features, and how it is read again."""

import keras
import numpy as np
import pytest

from transferkit.errors import RunError
from transferkit.runs import typical_features


def test_the_summary_of_training_features_comes_back_as_written(digits_run):
    found = typical_features.load(digits_run.layout.typical)
    assert found is not None
    assert len(found.mean) == found.axes.shape[1] == 224  # the width of mini
    assert found.limit > 0


def test_a_damaged_summary_is_an_error_with_a_remedy(tmp_path):
    path = tmp_path / "typical.npz"
    assert typical_features.load(path) is None
    path.write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(RunError, match="is damaged"):
        typical_features.load(path)


def test_features_of_the_shipped_model_come_beside_its_answers(digits_run):
    model = digits_run.model()
    both = typical_features.with_features(model)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    outputs = np.asarray(both(pixels))
    assert outputs.shape == (2, 10 + 224)
    np.testing.assert_allclose(outputs[:, :10], np.asarray(model([pixels])), atol=1e-6)
    backbone = model.get_layer("mini")
    scaled = model.get_layer(model.layers[1].name)(pixels)
    expected = keras.ops.convert_to_numpy(backbone(scaled)).mean((1, 2))
    np.testing.assert_allclose(outputs[:, 10:], expected, atol=1e-5)
