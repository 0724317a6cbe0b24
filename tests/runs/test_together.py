"""One graph for all members: it averages as NumPy does, and comes back from its file with every weight."""

import keras
import numpy as np
import pytest

from transferkit.runs.together import Branch, joined
from transferkit.selection.ensemble import together

SIZE = 8


@pytest.fixture(scope="module")
def shared():
    """Two models uint8 [n, 8, 8, 3] → logits [n, 3] on one convolution."""
    keras.utils.set_random_seed(1)
    inner = keras.Input((SIZE, SIZE, 3))
    base = keras.Model(inner, keras.layers.Conv2D(4, 3, activation="relu")(inner), name="base")
    found = []
    for _ in range(2):
        inputs = keras.Input((SIZE, SIZE, 3), dtype="uint8")
        x = base(keras.layers.Rescaling(1 / 255)(inputs))
        found.append(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x))))
    return found


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (5, SIZE, SIZE, 3), np.uint8)


def branch(model, share, mirrored=False):
    return Branch(model, share, mirrored, np.zeros((0, 3)))


@pytest.mark.parametrize("task", ["classify", "multilabel", "regress"])
def test_members_that_share_a_network_keep_its_weights_in_the_file(shared, pixels, task, tmp_path):
    branches = [branch(shared[0], 0.25, mirrored=True), branch(shared[1], 0.75)]
    joined(branches, task).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    apart = together([one.answers(pixels, task) for one in branches], [0.25, 0.75], task)
    assert np.allclose(loaded(pixels), apart, atol=1e-4)


def test_one_member_looks_both_ways(shared, pixels):
    one = branch(shared[0], 1.0, mirrored=True)
    twice = np.asarray(joined([one], "classify")(pixels))
    assert np.allclose(twice, one.answers(pixels, "classify"), atol=1e-4)
    assert np.allclose(np.asarray(joined([one], "classify")(pixels[:, :, ::-1].copy())), twice, atol=1e-4)
    assert not np.allclose(twice, np.asarray(shared[0](pixels)), atol=1e-2)


def test_one_member_that_looks_once_is_its_own_model(shared):
    assert joined([branch(shared[0], 1.0)], "classify") is shared[0]
