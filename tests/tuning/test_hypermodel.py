"""Our model in somebody's own Keras Tuner script."""

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.errors import ConfigError


@pytest.mark.extended
def test_a_search_by_keras_tuner_itself(tmp_path):
    keras_tuner = pytest.importorskip("keras_tuner")
    from transferkit.tuning.search_space.space import parse_search

    space = parse_search(["learning_rate=1e-3:1e-2:log", "head_width=4,8", "batch_size=4,8"])
    hyper = tk.HyperModel("mini", classes=2, space=space, dropout=0.1)
    tuner = keras_tuner.RandomSearch(
        hyper, "val_accuracy", max_trials=3, seed=1, directory=tmp_path, project_name="x", overwrite=True
    )
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(0, 60, (12, 32, 32, 3)), rng.integers(190, 256, (12, 32, 32, 3))]).astype("uint8")
    y = np.repeat([0, 1], 12)
    tuner.search(x, y, validation_data=(x, y), epochs=2, verbose=0)
    best = tuner.get_best_hyperparameters()[0]
    assert set(best.values) == {"learning_rate", "head_width", "batch_size"}
    assert 1e-3 <= best.get("learning_rate") <= 1e-2
    model = hyper.build(best)
    assert isinstance(model, keras.Model)
    assert model.input_shape == (None, 32, 32, 3)
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(best.get("learning_rate"), rel=1e-5)
    widths = {layer.units for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)}
    assert widths == {int(best.get("head_width")), 2}


def test_what_has_no_effect_is_refused():
    with pytest.raises(ConfigError, match="views"):
        tk.HyperModel("mini", classes=2, views=2)
    with pytest.raises(ConfigError, match="head-width 8"):
        tk.HyperModel("mini", classes=2, head="linear", head_width=8)
