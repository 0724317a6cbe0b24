"""Weights from every form of file, and errors that name what does not fit."""

import keras
import numpy as np
import pytest

from transferkit.backbones import loading
from transferkit.errors import WeightsError

L = keras.layers


def network(width=4, extra=False, name="net"):
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(width, 3, name="conv")(inputs)
    x = L.BatchNormalization(name="bn")(x)
    x = L.Conv2D(5, 1, name="last")(x)
    if extra:
        x = L.Dense(2, name="fc")(L.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x, name=name)


def values(model):
    return [np.copy(keras.ops.convert_to_numpy(w)) for w in model.weights]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(values(a), values(b), strict=True))


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_round_trip(tmp_path, suffix):
    source, target = network(), network()
    path = tmp_path / f"saved{suffix}"
    source.save_weights(path) if suffix == ".weights.h5" else source.save(path)
    assert not same(source, target)
    loading.load(path, target)
    assert same(source, target)
    assert loading.weights_sha256(source) == loading.weights_sha256(target)


def test_compiled_and_trained_model_with_optimizer_state_loads(tmp_path):
    source, target = network(), network()
    source.compile("adam", "mse")
    source.fit(np.zeros((2, 8, 8, 3)), np.ones((2, 6, 6, 5)), verbose=0)
    source.save_weights(tmp_path / "a.weights.h5")
    loading.load(tmp_path / "a.weights.h5", target)
    assert same(source, target)


@pytest.mark.parametrize("nested", [False, True])
def test_keras_file_of_a_whole_classifier_serves(tmp_path, nested):
    source, target = network(), network()
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(3, 1, name="rgb_to_bgr")(inputs)
    layers = [source] if nested else source.layers[1:]
    for layer in layers:
        x = layer(x)
    keras.Model(inputs, L.Dense(2)(L.Flatten()(x))).save(tmp_path / "full.keras")
    loading.load(tmp_path / "full.keras", target)
    assert same(source, target)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_wrong_width_names_the_layer_and_both_shapes(tmp_path, suffix):
    network(width=6).save(tmp_path / f"wide{suffix}")
    with pytest.raises(WeightsError, match=r"layer 'conv' needs shapes 3×3×3×4 4, the file's 'conv' has 3×3×3×6 6"):
        loading.load(tmp_path / f"wide{suffix}", network())


def test_file_with_its_top_is_recognised(tmp_path):
    network(extra=True).save(tmp_path / "top.h5")
    with pytest.raises(WeightsError, match=r"has 4 layers with weights, the network 3; left over: 'fc'.*without"):
        loading.load(tmp_path / "top.h5", network())


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_too_few_layers(tmp_path, suffix):
    network().save(tmp_path / f"few{suffix}")
    with pytest.raises(WeightsError, match=r"has 3 layers with weights, the network 4; missing: 'fc'"):
        loading.load(tmp_path / f"few{suffix}", network(extra=True))


def test_weights_h5_that_does_not_fit(tmp_path):
    network(extra=True).save_weights(tmp_path / "top.weights.h5")
    with pytest.raises(WeightsError, match=r"holds 10 arrays, 8 are needed"):
        loading.load(tmp_path / "top.weights.h5", network())
    network(width=6).save_weights(tmp_path / "wide.weights.h5")
    with pytest.raises(WeightsError, match=r"cannot be loaded into 'net'.*--weights random"):
        loading.load(tmp_path / "wide.weights.h5", network())


def test_weights_h5_under_the_old_name(tmp_path):
    network().save_weights(tmp_path / "a.weights.h5")
    (tmp_path / "a.weights.h5").rename(tmp_path / "a.h5")
    with pytest.raises(WeightsError, match=r"rename it to a\.weights\.h5"):
        loading.load(tmp_path / "a.h5", network())


@pytest.mark.parametrize("name", ["a.keras", "a.weights.h5", "a.h5"])
@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_damaged_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"cannot be loaded into 'net'"):
        loading.load(tmp_path / name, network())


def test_absent_and_foreign_files(tmp_path):
    with pytest.raises(WeightsError, match=r"no weights file .*nothing\.h5"):
        loading.load(tmp_path / "nothing.h5", network())
    (tmp_path / "model.npz").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"it must end in \.keras, \.weights\.h5, \.h5"):
        loading.load(tmp_path / "model.npz", network())


def test_hash_follows_values_not_automatic_names():
    def unnamed():
        return keras.Sequential([keras.Input((2,)), L.Dense(2, kernel_initializer="ones")])

    first, second = unnamed(), unnamed()
    assert first.layers[0].name != second.layers[0].name
    assert loading.weights_sha256(first) == loading.weights_sha256(second)
    second.layers[0].bias.assign([0.0, 1e-7])
    assert loading.weights_sha256(first) != loading.weights_sha256(second)
