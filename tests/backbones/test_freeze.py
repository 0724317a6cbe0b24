"""Freeze policies: what trains, what is restored, and what is refused."""

import re

import keras
import numpy as np
import pytest

from transferkit.backbones import build, freeze
from transferkit.backbones.catalog import find
from transferkit.errors import BackboneError, ConfigError

from .conftest import value

L = keras.layers


def small(dropout=0.5):
    """Two blocks with all that can go wrong in a frozen part: BatchNorm, Dropout, a nested model."""
    inner = keras.Sequential([L.Conv2D(4, 1, name="inner_conv"), L.BatchNormalization(name="inner_bn")], name="inner")
    inputs = keras.Input((4, 4, 3))
    x = L.Conv2D(4, 1, name="one")(inputs)
    x = L.BatchNormalization(name="one_bn")(x)
    x = L.Dropout(dropout, name="one_drop")(x)
    x = inner(x)
    x = L.GaussianNoise(0.1, name="noise")(x)
    x = L.Conv2D(4, 1, name="two")(x)
    x = L.BatchNormalization(name="two_bn")(x)
    return keras.Model(inputs, L.SpatialDropout2D(dropout, name="two_drop")(x), name="small")


RATES = [("one_drop", "rate"), ("noise", "stddev"), ("two_drop", "rate")]


def trainable(model):
    return {w.path for w in model.trainable_weights}


@pytest.mark.parametrize("text", ["none", "all", "gradual", "from:block5", "last:3"])
def test_parse_round_trip(text):
    assert str(freeze.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "some", "from:", "from", "last:", "last:0", "last:-1", "last:x", "last:²", "all:1"]
)
def test_parse_refuses(text):
    with pytest.raises(ConfigError, match="allowed are none, all, from:STAGE, last:N"):
        freeze.parse(text)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            "from:blok5",
            r"no stage 'blok5'; nearest: 'block5'.*its stages are block1, block2, block3, block4, block5",
        ),
        ("last:14", r"last:14 is too many: 'vgg16' has 13 layers with weights"),
        ("nothing", r"unknown freeze policy 'nothing'"),
    ],
)
def test_problems(policy, message):
    (found,) = freeze.problems(find("vgg16"), policy)
    assert re.search(message, found)


def test_from_a_layer_trains_it_and_all_above():
    model = freeze.freeze(small(), "from:two")
    assert trainable(model) == {"two/kernel", "two/bias"}
    model = freeze.freeze(small(), "from:two", batchnorm="train")
    assert trainable(model) == {"two/kernel", "two/bias", "two_bn/gamma", "two_bn/beta"}


def test_last_counts_layers_with_weights_but_not_batchnorm():
    assert trainable(freeze.freeze(small(), "last:1")) == {"two/kernel", "two/bias"}
    two = trainable(freeze.freeze(small(), "last:2"))
    assert {path.split("/")[-2] for path in two} == {"two", "inner_conv"}
    with pytest.raises(BackboneError, match="last:4 is too many: 'small' has 3 layers"):
        freeze.freeze(small(), "last:4")


@pytest.mark.parametrize("batchnorm", ["frozen", "train"])
def test_all_and_none(batchnorm):
    assert not freeze.freeze(small(), "none", batchnorm).trainable_weights
    paths = trainable(freeze.freeze(small(), "all", batchnorm))
    assert any("inner_conv" in path for path in paths)
    assert any("_bn" in path for path in paths) == (batchnorm == "train")


def test_refreezing_thaws_what_an_earlier_policy_froze():
    model = small()
    everything = trainable(model)
    freeze.freeze(model, "none")
    assert trainable(freeze.freeze(model, "all", "train")) == everything


def test_dropout_of_the_frozen_part_is_off_and_comes_back():
    model = freeze.freeze(small(0.5), "from:two")

    def rates():
        return [model.get_layer(n).get_config()[k] for n, k in RATES]

    assert rates() == [0, 0, 0.5]
    freeze.freeze(model, "from:two")
    freeze.freeze(model, "none")
    assert rates() == [0, 0, 0]
    freeze.freeze(model, "all")
    assert rates() == [0.5, 0.1, 0.5]


def test_nothing_else_is_mutated():
    model = small()
    before, config = {w.path: value(w) for w in model.weights}, model.get_config()
    freeze.freeze(freeze.freeze(model, "from:two"), "all", "train")
    assert model.get_config() == config
    for weight in model.weights:
        np.testing.assert_array_equal(value(weight), before[weight.path])


@pytest.mark.parametrize("eager", [False, True])
def test_frozen_part_is_bit_equal_after_fit(eager):
    model = freeze.freeze(small(), "from:two")
    x = np.random.default_rng(0).random((8, 4, 4, 3), dtype="float32")
    part = keras.Model(model.inputs[0], model.get_layer("noise").output)
    before, output = {w.path: value(w) for w in model.weights}, np.asarray(part(x, training=True))
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=eager)
    model.fit(x, np.ones((8, 4, 4, 4), "float32"), epochs=2, verbose=0)
    changed = {w.path for w in model.weights if not np.array_equal(before[w.path], value(w))}
    assert changed == {"two/kernel", "two/bias"}
    np.testing.assert_array_equal(np.asarray(part(x, training=True)), output)
    np.testing.assert_array_equal(np.asarray(part(x, training=False)), output)


def test_batchnorm_train_learns_above_the_cut_only():
    model = freeze.freeze(small(), "from:two", "train")
    before = {w.path: value(w) for w in model.weights}
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(np.random.default_rng(0).random((8, 4, 4, 3)), np.ones((8, 4, 4, 4)), verbose=0)
    moved = {w.path for w in model.weights if "moving" in w.path and not np.array_equal(before[w.path], value(w))}
    assert moved == {"two_bn/moving_mean", "two_bn/moving_variance"}


def test_catalog_network_is_recognised_by_its_name():
    model = build.build("mini", weights="random").model
    freeze.freeze(model, "from:block4")
    assert {path.split("/")[0] for path in trainable(model)} == {"block4_conv1"}
    with pytest.raises(BackboneError, match="its stages are stem, block1"):
        freeze.freeze(model, "from:block9")


def test_gradual_starts_at_the_top_and_ends_at_the_bottom():
    row = find("mini")
    steps = freeze.gradual_steps(row)
    assert steps == ["from:block4", "from:block3", "from:block2", "from:block1", "from:stem"]
    model = build.build("mini", weights="random").model
    starts = [freeze.first_trainable(model, row, step) for step in steps]
    assert starts == sorted(starts, reverse=True)
    assert starts[-1] == 0
    assert freeze.first_trainable(model, row, "gradual") == starts[0]


def test_describe_counts_parameters():
    model = freeze.freeze(small(), "from:two")
    assert freeze.describe(model) == {"total": 16 + 16 + 20 + 16 + 20 + 16, "trainable": 20, "frozen": 84}


def test_unknown_batchnorm():
    with pytest.raises(ConfigError, match="unknown batchnorm 'off'; allowed are frozen or train"):
        freeze.freeze(small(), "all", "off")
