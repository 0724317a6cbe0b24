"""A user's own .keras file as a backbone."""

import keras
import numpy as np
import pytest

from transferkit.backbones import build, freeze, userfile
from transferkit.backbones.cut import cut
from transferkit.errors import BackboneError, WeightsError

L = keras.layers


def features(name="mine", size=16):
    inputs = keras.Input((size, size, 3))
    x = L.Conv2D(4, 3, name="low")(inputs)
    x = L.BatchNormalization(name="low_bn")(x)
    return inputs, L.Conv2D(6, 3, name="high")(x)


def saved(tmp_path, *top, size=16):
    inputs, x = features(size=size)
    for layer in top:
        x = layer(x)
    path = tmp_path / "mine.keras"
    keras.Model(inputs, x).save(path)
    return str(path)


@pytest.mark.parametrize(
    "top",
    [
        [
            lambda: L.GlobalAveragePooling2D(),
            lambda: L.Dropout(0.2),
            lambda: L.Dense(3, activation="softmax"),
        ],
        [lambda: L.Flatten(), lambda: L.Dense(1, activation="sigmoid")],
        [lambda: L.GlobalMaxPooling2D(), lambda: L.Dense(3), lambda: L.Softmax()],
        [lambda: L.GlobalAveragePooling2D(), lambda: L.Dense(3), lambda: L.Activation("softmax")],
        [lambda: L.GlobalAveragePooling2D(), lambda: L.Dense(3, name="logits")],
    ],
)
def test_classifier_is_taken_off_down_to_the_feature_map_and_said(tmp_path, top):
    backbone = build.build(saved(tmp_path, *(make() for make in top)))
    assert backbone.model.output_shape == (None, 12, 12, 6)
    assert "removed its classifier" in backbone.notes[0]
    assert (backbone.weights, backbone.size, backbone.scaling) == ("file", 16, "none")


def test_hidden_layers_below_the_classifier_stay(tmp_path):
    path = saved(tmp_path, L.Flatten(), L.Dense(7, activation="relu"), L.Dropout(0.1), L.Dense(3))
    assert build.build(path).model.output_shape == (None, 7)


@pytest.mark.parametrize("top", [[], [lambda: L.Flatten(), lambda: L.Dense(7, activation="relu")]])
def test_without_classifier_nothing_is_removed(tmp_path, top):
    backbone = build.build(saved(tmp_path, *(make() for make in top)))
    assert not [note for note in backbone.notes if "removed" in note]


def test_stages_are_its_layers_and_the_cut_works(tmp_path):
    path = saved(tmp_path)
    row = build.resolve(path)
    assert row.stage_names == ("input", "low", "low_bn", "high")
    backbone = build.build(path)
    freeze.freeze(backbone.model, "from:high")
    assert {w.path for w in backbone.model.trainable_weights} == {"high/kernel", "high/bias"}
    x = np.random.default_rng(0).random((2, 16, 16, 3), dtype="float32")
    parts = cut(backbone.model, freeze.first_trainable(backbone.model, row, "from:high"))
    np.testing.assert_array_equal(parts.tail(parts.frozen(x)), backbone.model(x))
    with pytest.raises(BackboneError, match="no stage 'hihg'; nearest: 'high'"):
        freeze.freeze(backbone.model, "from:hihg")


def test_sequential_models_serve(tmp_path):
    model = keras.Sequential([keras.Input((16, 16, 3)), L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(2)])
    model.save(tmp_path / "s.keras")
    assert build.build(str(tmp_path / "s.keras")).model.output_shape == (None, 14, 14, 4)


def test_any_size_where_the_model_is_flexible(tmp_path):
    path = saved(tmp_path, size=None)
    assert build.build(path, size=40).size == 40
    assert build.build(path).size == 224
    with pytest.raises(BackboneError, match=r"takes pictures of 16 pixels only, not 20; set --image-size 16"):
        build.build(saved(tmp_path), size=20)


def test_scaling_is_said_and_can_be_set(tmp_path):
    path = saved(tmp_path)
    assert any("fed with pixels 0..255" in note for note in build.build(path).notes)
    backbone = build.build(path, scaling="torch")
    assert backbone.scaling == "torch"
    assert not backbone.notes


def test_augmentation_inside_is_said(tmp_path):
    model = keras.Sequential([keras.Input((16, 16, 3)), L.RandomFlip(name="flip"), L.Conv2D(4, 3)])
    model.save(tmp_path / "s.keras")
    assert any("(flip) fires under fit" in note for note in build.build(str(tmp_path / "s.keras")).notes)


def test_random_weights_for_a_file_make_no_sense(tmp_path):
    with pytest.raises(WeightsError, match="brings its own weights"):
        build.build(saved(tmp_path), weights="random")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.h5", r"no backbone.*keras\.saving\.load_model\(FILE\)\.save"),
        ("folder/vgg16.keras", r"no file folder/vgg16\.keras; nearest: 'vgg16'"),
    ],
)
def test_paths_are_checked_without_opening(name, message):
    with pytest.raises(BackboneError, match=message):
        build.resolve(name)
    assert build.check(name) == userfile.path_problems(name) != []


def test_damaged_and_unsafe_files(tmp_path):
    (tmp_path / "bad.keras").write_bytes(b"no zip")
    with pytest.raises(BackboneError, match="cannot be loaded in Keras' safe mode"):
        build.resolve(str(tmp_path / "bad.keras"))
    keras.Sequential([keras.Input((8, 8, 3)), L.Lambda(lambda x: x * 2)]).save(tmp_path / "lambda.keras")
    with pytest.raises(BackboneError, match=r"safe mode.*made of Keras' own layers"):
        build.resolve(str(tmp_path / "lambda.keras"))


@pytest.mark.parametrize("shape", [(8, 8, 1), (8,)])
def test_models_that_take_no_pictures(tmp_path, shape):
    keras.Sequential([keras.Input(shape), L.Dense(2)]).save(tmp_path / "m.keras")
    with pytest.raises(BackboneError, match="must take one RGB picture"):
        build.resolve(str(tmp_path / "m.keras"))
