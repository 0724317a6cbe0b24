"""What is shipped computes what was fitted, in plain Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transferkit.selection import projection
from transferkit.selection.kernels import KernelRidge
from transferkit.selection.learner import Learner
from transferkit.selection.linear import Discriminant, Logistic, Ridge
from transferkit.selection.neighbours import NearestNeighbours
from transferkit.selection.shipping import body, parameters

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
    assert parameters(found, fitted) <= 1.1 * model.count_params() + 100
    model.save(tmp_path / "head.keras")
    again = keras.saving.load_model(tmp_path / "head.keras", safe_mode=True)
    assert {type(layer).__module__.split(".")[0] for layer in again.layers} == {"keras"}
    assert np.array_equal(again.predict(x[:, 0, 10:], verbose=0), model.predict(x[:, 0, 10:], verbose=0))
