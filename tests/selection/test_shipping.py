"""What is shipped computes what was fitted, in plain Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transferkit.selection import projection, shipping
from transferkit.selection.fitted import Affine
from transferkit.selection.kernels import KernelRidge
from transferkit.selection.learner import Learner
from transferkit.selection.linear import Discriminant, Logistic, Ridge
from transferkit.selection.neighbours import NearestNeighbours
from transferkit.selection.shipping import body

LEARNERS: dict[Learner, dict[str, float]] = {
    Ridge(): {"penalty": 1e-3},
    Discriminant(): {"shrinkage": 0.2},
    Logistic(): {"C": 0.1},
    NearestNeighbours(): {"sharpness": 25.0},
    KernelRidge(): {"gamma": 1.0, "penalty": 0.03},
}


@pytest.mark.parametrize("most", [8, 384], ids=["turned", "straight"])
@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.name)
def test_the_shipped_layers_compute_what_was_fitted(learner: Learner, most: int, tmp_path: Path) -> None:
    import keras

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    x = (rng.normal(size=(60, 2, 40)) * 3 + 10 + labels[:, None, None]).astype(np.float32)
    found = projection.fit(x[:, 0], 10, 40, most)
    fitted = learner.fit(found(x), np.eye(3)[labels], LEARNERS[learner])
    expected = (fitted(found(x[:, 0])) - 0.5) * 7.0
    model = body(found, fitted, scale=7.0, shift=0.5)
    assert np.abs(model.predict(x[:, 0, 10:], verbose=0) - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    model.save(tmp_path / "head.keras")
    again = keras.saving.load_model(tmp_path / "head.keras", safe_mode=True)
    assert {type(layer).__module__.split(".")[0] for layer in again.layers} == {"keras"}
    assert np.array_equal(again.predict(x[:, 0, 10:], verbose=0), model.predict(x[:, 0, 10:], verbose=0))


def test_what_training_goes_on_from_is_the_linear_classifier_itself() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, (200, 1, 40)).astype(np.float32)
    y = np.eye(3)[np.arange(200) % 3]
    for most in (40, 10):
        found = projection.fit(x[:, 0], 0, 40, most)
        fitted = Ridge().fit(found(x), y, {"penalty": 1e-2})
        assert isinstance(fitted, Affine)
        model = shipping.trainable(found, fitted, 7.0, 0.2)
        expected = (fitted(found(x[:, 0])) - 0.2) * 7.0
        assert np.abs(np.asarray(model(x[:, 0])) - expected).max() < 1e-4
        assert [layer.name for layer in model.layers[1:]] == ["normalize", "logits"]
        assert len(model.trainable_weights) == 2


def test_large_weights_that_nearly_cancel_are_summed_exactly() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 2000)
    x = (rng.normal(size=(2000, 1, 40)) + 0.1 * labels[:, None, None]).astype(np.float32)
    found = projection.fit(x[:, 0], 0, 40)
    fitted = KernelRidge().fit(found(x), np.eye(6)[labels], {"gamma": 0.7, "penalty": 0.01})
    new = rng.normal(size=(200, 40)).astype(np.float32)
    scale, z = 7.0, found(new).astype(np.float64)
    squares = ((z[:, None] - fitted.supports.astype(np.float64)[None]) ** 2).sum(-1)
    exact = (np.exp(-fitted.gamma * squares) @ fitted.weights.astype(np.float64) + fitted.bias) * scale
    terms = scale * np.abs(np.exp(-fitted.gamma * squares) @ np.abs(fitted.weights.astype(np.float64))).max()
    assert terms > 4000 * np.abs(exact).max()
    assert np.abs(np.asarray(body(found, fitted, scale)(new)) - exact).max() < 1e-8 * terms
    assert np.abs(fitted(found(new)) * scale - exact).max() < 1e-8 * terms
