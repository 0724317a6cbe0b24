"""A user's own .keras file as a backbone."""

import zipfile

import keras
import numpy as np
import pytest

from transferkit import heads
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
        [lambda: L.GlobalAveragePooling2D(), lambda: L.Dense(3), lambda: L.Activation("log_softmax")],
        [lambda: L.GlobalAveragePooling2D(), lambda: L.Dense(3, activation="hard_sigmoid")],
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
    backbone = build.build(path)
    row = backbone.row
    assert row.stage_names == ("input", "low", "low_bn", "high")
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
    path = saved(tmp_path)
    with pytest.raises(WeightsError, match="brings its own weights") as caught:
        build.build(path, weights="random")
    assert build.check(path, weights="random") == [str(caught.value)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.h5", r"no backbone.*keras\.saving\.load_model\(FILE\)\.save"),
        ("folder/vgg16.keras", r"no file folder/vgg16\.keras; nearest: 'vgg16'"),
    ],
)
def test_paths_are_checked_without_opening(name, message):
    with pytest.raises(BackboneError, match=message):
        userfile.open_file(name)
    assert build.check(name) == userfile.path_problems(name) != []


def test_damaged_and_unsafe_files(tmp_path):
    (tmp_path / "bad.keras").write_bytes(b"no zip")
    with pytest.raises(BackboneError, match="cannot be loaded in Keras' safe mode"):
        userfile.open_file(str(tmp_path / "bad.keras"))
    keras.Sequential([keras.Input((8, 8, 3)), L.Lambda(lambda x: x * 2)]).save(tmp_path / "lambda.keras")
    with pytest.raises(BackboneError, match=r"safe mode.*made of Keras' own layers"):
        userfile.open_file(str(tmp_path / "lambda.keras"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 700 + "1" + "}" * 700], ids=["no JSON", "just parsed"])
def test_a_config_nested_without_end_is_one_error(text, tmp_path):
    with zipfile.ZipFile(tmp_path / "nested.keras", "w") as archive:
        archive.writestr("config.json", text)
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(BackboneError, match=r"nested\.keras cannot be loaded in Keras' safe mode.*recursion"):
        userfile.open_file(str(tmp_path / "nested.keras"))


@pytest.mark.parametrize("shape", [(8, 8, 1), (8,)])
def test_models_that_take_no_pictures(tmp_path, shape):
    keras.Sequential([keras.Input(shape), L.Dense(2)]).save(tmp_path / "m.keras")
    with pytest.raises(BackboneError, match="must take one RGB picture"):
        userfile.open_file(str(tmp_path / "m.keras"))


def conv_top(x, *layers):
    for layer in layers:
        x = layer(x)
    return x


def opened(tmp_path, model, name="mine.keras"):
    model.save(tmp_path / name)
    return build.build(str(tmp_path / name))


FORMS = {
    "mobilenet's": lambda x: conv_top(
        x, L.GlobalAveragePooling2D(keepdims=True), L.Dropout(0.1), L.Conv2D(5, 1), L.Reshape((5,)), L.Softmax()
    ),
    "softmax in the convolution": lambda x: conv_top(
        x, L.GlobalAveragePooling2D(keepdims=True), L.Conv2D(5, 1, activation="softmax"), L.Flatten()
    ),
    "logits of a convolution": lambda x: conv_top(
        x, L.GlobalAveragePooling2D(keepdims=True), L.Conv2D(5, 1), L.Flatten()
    ),
    "pooled convolution": lambda x: conv_top(x, L.Conv2D(5, 1), L.GlobalAveragePooling2D(), L.Softmax()),
    "squeezenet's": lambda x: conv_top(
        x, L.Dropout(0.1), L.Conv2D(5, 1), L.ReLU(), L.GlobalAveragePooling2D(), L.Activation("softmax")
    ),
    "softmax before pooling": lambda x: conv_top(x, L.Conv2D(5, 1), L.Softmax(), L.GlobalAveragePooling2D()),
    "map of probabilities": lambda x: L.Conv2D(5, 1, activation="softmax")(x),
    "sigmoids": lambda x: conv_top(x, L.Flatten(), L.Dense(5), L.Activation("sigmoid")),
    "temperature": lambda x: conv_top(x, L.GlobalAveragePooling2D(), L.Dense(5), L.Rescaling(0.5), L.Softmax()),
    "operations": lambda x: keras.ops.softmax(L.Dense(5)(keras.ops.mean(x, axis=(1, 2))) / 2.0),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_classifier_is_taken_off(tmp_path, form):
    inputs, x = features()
    backbone = opened(tmp_path, keras.Model(inputs, FORMS[form](x)))
    assert backbone.model.output_shape == (None, 12, 12, 6)
    assert "removed its classifier" in backbone.notes[0]


def test_a_classifier_inside_a_nested_model_is_taken_off_and_the_rest_computes_the_same(tmp_path):
    inputs, x = features()
    inner = keras.Model(inputs, conv_top(x, L.GlobalAveragePooling2D(), L.Dense(3, activation="softmax")))
    outer = keras.Sequential([keras.Input((16, 16, 3)), L.Rescaling(1 / 255), inner])
    backbone = opened(tmp_path, outer)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(backbone.model(pictures), keras.Model(inputs, x)(pictures / 255), atol=1e-6)
    assert "removed its classifier" in backbone.notes[0]


def test_probabilities_that_stay_are_said(tmp_path):
    inputs, x = features()
    both = [conv_top(x, L.GlobalAveragePooling2D(), L.Dense(3, activation="softmax")) for _ in range(2)]
    backbone = opened(tmp_path, keras.Model(inputs, L.Average()(both)))
    assert backbone.model.output_shape == (None, 3)
    assert "probabilities of its own classes" in backbone.notes[0]


FEATURES = {
    "pooled relu": (lambda x: conv_top(x, L.ReLU(), L.GlobalAveragePooling2D()), (None, 6)),
    "pooled linear convolution": (lambda x: L.GlobalAveragePooling2D()(x), (None, 6)),
    "gated": (
        lambda x: L.Multiply()([x, L.Dense(6, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))]),
        (None, 12, 12, 6),
    ),
    "normalised": (lambda x: conv_top(x, L.BatchNormalization(), L.Activation("relu")), (None, 12, 12, 6)),
}


@pytest.mark.parametrize("form", FEATURES)
def test_features_are_left_alone_and_nothing_is_said(tmp_path, form):
    inputs, x = features()
    make, shape = FEATURES[form]
    backbone = opened(tmp_path, keras.Model(inputs, make(x)))
    assert backbone.model.output_shape == shape
    assert not [note for note in backbone.notes if "classifier" in note or "probabilities" in note]


def test_a_file_named_like_a_network_of_the_catalog_is_not_taken_for_it(tmp_path):
    model = keras.applications.MobileNet(alpha=0.25, weights=None, input_shape=(32, 32, 3), classes=7)
    backbone = opened(tmp_path, model, "mobilenet_0.25.keras")
    assert (backbone.weights, backbone.scaling) == ("file", "none")
    assert backbone.model.output_shape == (None, 1, 1, 256)


@pytest.mark.parametrize("sides", [(None, 16), (16, None)])
def test_one_fixed_side_is_the_size(tmp_path, sides):
    inputs = keras.Input((*sides, 3))
    backbone = opened(tmp_path, keras.Model(inputs, L.Conv2D(4, 3)(inputs)))
    assert backbone.size == 16
    with pytest.raises(BackboneError, match="set --image-size 16"):
        build.build(str(tmp_path / "mine.keras"), size=20)


def test_sides_that_differ_are_refused(tmp_path):
    inputs = keras.Input((16, 24, 3))
    with pytest.raises(BackboneError, match=r"\(16, 24\); only square"):
        opened(tmp_path, keras.Model(inputs, L.Conv2D(4, 3)(inputs)))


def test_whole_number_pixels_are_taken_as_they_are_and_not_scaled(tmp_path):
    inputs = keras.Input((16, 16, 3), dtype="uint8")
    x = L.Conv2D(4, 3)(L.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, x)
    backbone = opened(tmp_path, model)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("uint8")
    made = backbone.prepared(pictures)
    np.testing.assert_allclose(backbone.model(made), model(pictures), atol=1e-6)
    with pytest.raises(BackboneError, match=r"takes uint8 pixels.*--scaling tf would be cut"):
        build.build(str(tmp_path / "mine.keras"), scaling="tf")


def test_a_map_with_its_channels_first_is_refused_with_the_remedy(tmp_path):
    inputs = keras.Input((16, 16, 3))
    x = L.Conv2D(4, 3, data_format="channels_first")(L.Permute((3, 1, 2))(inputs))
    with pytest.raises(BackboneError, match=r"channels first.*Permute\(\(2, 3, 1\)\)"):
        opened(tmp_path, keras.Model(inputs, x))
    backbone = opened(tmp_path, keras.Model(inputs, L.Permute((2, 3, 1))(x)))
    assert backbone.model.output_shape == (None, 14, 14, 4)
    # Its own pooling knows where the channels are; the head's would not.
    top = conv_top(x, L.GlobalAveragePooling2D(data_format="channels_first"), L.Dense(3))
    assert opened(tmp_path, keras.Model(inputs, top)).model.output_shape == (None, 4)


def test_several_outputs_and_other_shapes_are_refused_with_the_remedy(tmp_path):
    inputs, x = features()
    with pytest.raises(BackboneError, match=r"gives 2\. Save a part"):
        opened(tmp_path, keras.Model(inputs, [x, L.ReLU()(x)]))
    with pytest.raises(BackboneError, match="a head needs a vector"):
        opened(tmp_path, keras.Model(inputs, L.Reshape((2, 6, 12, 6))(x)))
    with pytest.raises(BackboneError, match=r"int32.*of floats"):
        opened(tmp_path, keras.Model(inputs, keras.ops.cast(x, "int32")))


def test_tokens_are_pooled_by_every_pooling_that_a_map_is():
    tokens = np.random.default_rng(0).random((2, 7, 5), dtype="float32")
    pools = {name: np.asarray(heads.pool((7, 5), name)(tokens)) for name in ("avg", "max", "flatten", "gem", "mean")}
    np.testing.assert_allclose(pools["avg"], tokens.mean(axis=1), atol=1e-6)
    np.testing.assert_array_equal(pools["mean"], pools["avg"])  # none of the seven is a class token
    np.testing.assert_array_equal(pools["max"], tokens.max(axis=1))
    np.testing.assert_array_equal(pools["flatten"], tokens.reshape(2, -1))
    np.testing.assert_allclose(pools["gem"], (tokens**3).mean(axis=1) ** (1 / 3), atol=1e-5)
