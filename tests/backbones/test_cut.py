"""A cut is exact wherever it falls, in every family, and the parts share their layers with the network."""

import random

import keras
import numpy as np
import pytest

from transferkit.backbones import build, freeze
from transferkit.backbones.catalog import ROWS
from transferkit.backbones.cut import cut, largest
from transferkit.errors import BackboneError

from ..marks import extended
from .conftest import value

# One network a family: the smallest that has the family's graph.
FAMILIES = [
    "vgg16", "resnet50", "resnet50_v2", "densenet121", "inception_v3", "inception_resnet_v2", "xception",
    "nasnet_mobile", "mobilenet_0.25", "mobilenet_v2_0.35", "mobilenet_v3_small",
    "efficientnet_b0", "efficientnet_v2_b0", "convnext_tiny", "mini",
]  # fmt: skip
# A chain, additions, squeeze and excitation: every kind of graph. The other families run as `extended`.
GRAPHS = ("vgg16", "mobilenet_v3_small", "mini")


def run(parts, x):
    middle = x if parts.frozen is None else parts.frozen(x)
    return np.asarray(middle if parts.tail is None else parts.tail(middle))


def check_at(model, first, x, whole):
    parts = cut(model, first)
    np.testing.assert_array_equal(run(parts, x), whole, err_msg=f"{model.name} cut at {first}")
    below = {id(w) for w in parts.frozen.weights} if parts.frozen else set()
    above = {id(w) for w in parts.tail.weights} if parts.tail else set()
    assert below | above == {id(w) for w in model.weights}, "the parts share the network's weights, all of them"
    assert not below & above
    expected = {id(w) for op in model.operations[:first] for w in getattr(op, "weights", [])}
    assert below == expected, "what is below the cut is what the policy froze, no more and no less"


@pytest.mark.slow
@pytest.mark.parametrize("name", extended(FAMILIES, set(FAMILIES) - set(GRAPHS)))
def test_tail_of_frozen_is_the_network(name):
    row = ROWS[name]
    backbone = build.build(name, weights="random", size=row.minimum)
    model = backbone.model
    x = np.random.default_rng(1).standard_normal((2, row.minimum, row.minimum, 3), dtype="float32")
    whole = np.asarray(model(x))
    assert np.std(whole) > 0
    boundaries = {freeze.stage_start(model, row, stage) for stage in row.stage_names}
    inside = random.Random(name).sample(range(len(model.operations)), 3)
    for first in sorted({*boundaries, *inside, 0, 1, len(model.operations)}):
        check_at(model, first, x, whole)
    keras.backend.clear_session()


def residual():
    """Input → a → b → add(a, b) → c, small enough to think about."""
    inputs = keras.Input((4, 4, 3))
    a = keras.layers.Conv2D(2, 1, name="a")(inputs)
    b = keras.layers.Conv2D(2, 1, name="b")(a)
    total = keras.layers.Add(name="sum")([a, b])
    return keras.Model(inputs, keras.layers.Conv2D(2, 1, name="c")(total), name="residual")


X = np.random.default_rng(0).random((2, 4, 4, 3), dtype="float32")


def test_inside_a_residual_block_the_shortcut_crosses_too():
    model = residual()
    parts = cut(model, 3)  # before the sum
    assert [tuple(t.shape) for t in parts.frozen(X)] == [(2, 4, 4, 2)] * 2
    for first in range(len(model.operations) + 1):
        check_at(model, first, X, np.asarray(model(X)))


def test_input_that_the_tail_reads_as_well_crosses():
    inputs = keras.Input((4, 4, 3))
    joined = keras.layers.Concatenate()([inputs, keras.layers.Conv2D(2, 1)(inputs)])
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(joined))
    for first in range(len(model.operations) + 1):
        check_at(model, first, X, np.asarray(model(X)))


def test_layer_called_on_both_sides():
    inputs = keras.Input((4, 4, 3))
    shared = keras.layers.Conv2D(3, 1, name="shared")
    model = keras.Model(inputs, shared(keras.layers.Conv2D(3, 1, name="between")(shared(inputs))))
    whole = np.asarray(model(X))
    for first in range(len(model.operations) + 1):
        np.testing.assert_array_equal(run(cut(model, first), X), whole)
    assert [op.name for op in model.operations].index("shared") == 1
    parts = cut(model, 2)
    assert parts.frozen.get_layer("shared") is parts.tail.get_layer("shared")


def test_ends():
    model = residual()
    assert cut(model, 0).frozen is None
    assert cut(model, 1).frozen is None, "nothing but the input is below"
    assert cut(model, 0).tail is model
    assert cut(model, 5).tail is None
    assert cut(model, 5).frozen is model


def test_training_the_tail_changes_the_network_above_the_cut_only():
    model = residual()
    freeze.freeze_at(model, 3)
    parts = cut(model, 3)
    before = {w.path: value(w) for w in model.weights}
    parts.tail.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    parts.tail.fit(parts.frozen(X), np.ones((2, 4, 4, 2), "float32"), verbose=0)
    changed = {path for path, value in before.items() if not np.array_equal(value, model_weight(model, path))}
    assert changed == {"c/kernel", "c/bias"}


def model_weight(model, path):
    return next(value(w) for w in model.weights if w.path == path)


def test_the_network_can_be_saved_and_inspected_after_a_cut(tmp_path):
    model = residual()
    whole = np.asarray(model(X))
    cut(model, 3)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(keras.saving.load_model(tmp_path / "model.keras")(X)), whole)
    keras.Model(model.inputs, model.get_layer("a").output)  # Grad-CAM takes layers' outputs: must be the network's


@pytest.mark.parametrize("first", [-1, 6])
def test_position_outside_the_network(first):
    with pytest.raises(BackboneError, match="has operations 0 to 5"):
        cut(residual(), first)


def test_a_model_that_is_no_graph():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(BackboneError, match="only functional models can be cut"):
        cut(Own(), 0)


class Doubling(keras.Model):
    """A model that is no graph, inside one that is."""

    def call(self, x):
        return x * 2


def test_the_largest_activation_is_found_in_inner_models_too():
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(10, 1), keras.layers.Flatten()])
    inputs = keras.Input((8, 8, 3))
    outer = keras.Model(inputs, keras.layers.Dense(5)(inner(Doubling()(inputs))))
    assert largest(outer) == largest(inner) == 8 * 8 * 10
