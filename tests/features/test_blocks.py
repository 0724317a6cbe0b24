"""Where inverted residual blocks end, by the graph alone."""

import keras
import pytest
from keras import layers

from transferkit.backbones.build import build
from transferkit.features.blocks import inverted_residuals


def network(expand=24, activation=None, after="conv", shortcut=True):
    """One inverted residual on 8 channels, with names that say nothing."""
    inputs = keras.Input((8, 8, 3))
    low = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(expand, 1, activation="relu")(low)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = end = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False, activation=activation)(x))
    if shortcut:
        x = end = layers.Add()([low, layers.Dropout(0.2)(x)])
    x = layers.ReLU()(x) if after == "activation" else layers.Conv2D(16, 1, activation="relu")(x)
    return keras.Model(inputs, x), end


@pytest.mark.parametrize("shortcut", [True, False])
def test_a_block_ends_where_its_projection_was_normalised_and_added(shortcut):
    model, end = network(shortcut=shortcut)
    [block] = inverted_residuals(model)
    assert block.end is end
    assert model.get_layer(block.name).output is end
    assert block.expanded.shape == (None, 8, 8, 24)


def test_a_sum_written_with_a_plus_is_one_too():
    inputs = keras.Input((8, 8, 4))
    sums = inputs + layers.Conv2D(4, 1)(layers.Conv2D(16, 1, activation="relu")(inputs))
    model = keras.Model(inputs, layers.Conv2D(8, 3)(sums))
    [block] = inverted_residuals(model)
    assert block.end is sums


@pytest.mark.parametrize("otherwise", [{"activation": "relu"}, {"after": "activation"}, {"expand": 8}])
def test_what_is_rectified_or_no_narrower_is_no_such_block(otherwise):
    assert inverted_residuals(network(**otherwise)[0]) == []


@pytest.mark.parametrize(
    ("name", "count"), [("efficientnet_lite0", 16), ("mobilenet_v2_0.35", 17), ("mobilenet_v3_small", 10)]
)
def test_networks_of_such_blocks_have_as_many_as_published(name, count):
    # MobileNetV3's first block expands nothing, so it projects to no fewer channels.
    assert len(inverted_residuals(build(name, "random", 32).model)) == count


@pytest.mark.parametrize("name", ["mini", "mobilenet_0.25", "vgg16"])
def test_other_networks_have_none(name):
    assert inverted_residuals(build(name, "random", 32).model) == []


@pytest.mark.extended
@pytest.mark.parametrize(
    ("name", "size", "count"),
    [("efficientnet_b0", 32, 16), ("efficientnet_v2_b0", 32, 20), ("resnet50", 32, 0), ("densenet121", 32, 0),
     ("inception_v3", 75, 0), ("nasnet_mobile", 32, 0), ("convnext_tiny", 32, 0)],
)  # fmt: skip
def test_of_other_families_only_inverted_residuals_are_found(name, size, count):
    assert len(inverted_residuals(build(name, "random", size).model)) == count
