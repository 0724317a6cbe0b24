"""Every kind of network of the catalog: built, frozen, fitted for a step. Frozen is bit-equal, the tail learns."""

import gc
import hashlib

import keras
import numpy as np
import pytest

from transferkit.backbones import build, freeze
from transferkit.backbones.catalog import ROWS, names
from transferkit.backbones.cut import cut

from ..marks import extended
from .conftest import value

# Graph mode is what people use, but tracing takes longer than all the rest, of a big network a minute; what is proved
# does not depend on it. ConvNeXt is the exception: eager backward passes run through the frozen part, and grouped
# convolutions are slow.
TRACED = ("mini", "vgg16", "convnext")


# Of each family the smallest network, and where others have another number of stages, the smallest of those. All others
# repeat the same blocks more often or wider; what is in each of them is held in `test_catalog.py`.
GRAPHS = {}
for row in sorted(map(ROWS.get, names()), key=lambda row: row.layers):
    GRAPHS.setdefault((row.kind, row.paper, len(row.stage_names)), row.name)
NETWORKS = [name for name in names() if name in GRAPHS.values()]
# By default a network of each kind: a chain, additions of separable convolutions with squeeze and excitation, and the
# bundled ones. All others run as `extended`.
KINDS = ("vgg16", "mobilenet_v3_small", "efficientnet_lite0", "mini")


def test_the_networks_that_stand_for_the_others_exist():
    assert set(KINDS) <= set(NETWORKS)


@pytest.fixture
def memory(request):
    yield
    if ROWS[request.node.callspec.params["name"]].parameters > 2e7:  # collecting costs a second each time
        keras.backend.clear_session()
        gc.collect()


def assemble(backbone, classes=3):
    """uint8 pictures → preprocessing → backbone → average → classes, as the product does."""
    inputs = keras.Input((backbone.size, backbone.size, 3), dtype="uint8")
    x = backbone.prepared(inputs)
    x = keras.layers.GlobalAveragePooling2D()(backbone.model(x))
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))


def batch(size):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (2, size, size, 3), dtype="uint8"), np.array([0, 2])


def settle(model, x):
    """Set BatchNorm's statistics to those of `x`: with the initial ones signals fade, to nothing where a
    processor flushes denormals.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.trainable, layer.momentum = True, 0.0
    model(x, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.trainable, layer.momentum = False, momentum


def mark(variable):
    """Stands for a variable's content; copies of all variables of the largest networks would take gigabytes."""
    return hashlib.sha256(value(variable).tobytes()).digest()


def arrays(tensors):
    return [np.asarray(t) for t in (tensors if isinstance(tensors, list) else [tensors])]


def top_policy(row):
    """The last stage, or where that costs too much the last layers: on a CPU ConvNeXt's grouped convolutions
    take half a minute for one backward pass.
    """
    costly = row.parameters > 1e8 or row.name.startswith("convnext")
    return "last:3" if costly else f"from:{row.stage_names[-1]}"


RATE = 1e8


@pytest.mark.slow
@pytest.mark.parametrize("name", extended(NETWORKS, set(NETWORKS) - set(KINDS)))
@pytest.mark.usefixtures("memory")
def test_frozen_means_frozen(name):
    row = ROWS[name]
    keras.utils.set_random_seed(0)
    backbone = build.build(name, weights="random", size=row.minimum)
    model, policy = backbone.model, top_policy(row)
    assert model.count_params() == row.parameters
    assert (model.input_shape, model.input.dtype) == ((None, row.minimum, row.minimum, 3), "float32")
    freeze.freeze(model, policy)
    frozen = cut(model, freeze.first_trainable(model, row, policy)).frozen
    pixels, labels = batch(row.minimum)
    scaled = backbone.prepared(pixels)
    settle(model, scaled)
    outputs = arrays(frozen(scaled))
    below = {id(w) for w in frozen.weights}
    statistics = {id(w) for w in model.weights if "moving_" in w.path}
    kept = {id(w): mark(w) for w in model.weights}

    full = assemble(backbone)
    # Signals stay small in a deep network with random weights; the step must be larger than a weight's last digit.
    full.compile(keras.optimizers.SGD(RATE), "sparse_categorical_crossentropy", run_eagerly=not name.startswith(TRACED))
    full.fit(pixels, labels, batch_size=2, epochs=1, verbose=0)

    changed = {id(w) for w in model.weights if kept[id(w)] != mark(w)}
    assert not changed & below, "a frozen weight changed"
    assert not changed & statistics, "BatchNorm statistics moved"
    assert changed, "the tail did not train"
    assert changed <= {id(w) for w in model.trainable_weights}
    # In training mode: this is where Dropout would fire and BatchNorm take the batch's statistics.
    for before, after in zip(outputs, arrays(frozen(scaled, training=True)), strict=True):
        np.testing.assert_array_equal(before, after)
