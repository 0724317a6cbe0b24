"""Built networks compute what keras.applications computes on raw pixels; bad arguments are refused first."""

import hashlib
import random
import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from transferkit.backbones import build, catalog, weights
from transferkit.backbones.catalog import ROWS
from transferkit.errors import BackboneError, ConfigError, WeightsError
from transferkit.files import sha256_file

from ..marks import extended

MODULES = {
    "vgg16": "vgg16", "resnet50": "resnet", "resnet50_v2": "resnet_v2", "densenet121": "densenet",
    "inception_v3": "inception_v3", "xception": "xception", "nasnet_mobile": "nasnet",
    "inception_resnet_v2": "inception_resnet_v2", "mobilenet_0.25": "mobilenet",
    "mobilenet_v2_0.35": "mobilenet_v2", "mobilenet_v3_small": "mobilenet_v3",
    "efficientnet_b0": "efficientnet", "efficientnet_v2_b0": "efficientnet_v2",
    "efficientnet_v2_s": "efficientnet_v2", "convnext_tiny": "convnext",
}  # fmt: skip
# Pictures scaled before the network, in its constructor, and by statistics in its file; others run as `extended`.
SCALINGS = ("vgg16", "mobilenet_0.25", "mobilenet_v3_small")


def pixels(size, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype="uint8")


def apply(backbone, x):
    return np.asarray(backbone.model(backbone.prepared(x)))


def published(row, path):
    """A weights file as Keras would publish it: random weights, but the statistics of real pictures."""
    source = getattr(keras.applications, row.constructor)(
        weights=None, include_top=False, input_shape=(row.minimum,) * 2 + (3,), **row.kwargs
    )
    for layer in source.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            # EfficientNetB*'s files hold the standard deviation where the variance belongs; Keras divides
            # again.
            layer.set_weights([np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225]), np.int32(0)])
    source.save(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", extended(MODULES, MODULES.keys() - set(SCALINGS)))
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square:UserWarning")
def test_imagenet_variant_is_the_function_of_keras(name, store, monkeypatch):
    row = ROWS[name]
    file = store / row.file_for(row.minimum)[0]
    file.parent.mkdir(parents=True)
    published(row, file)
    monkeypatch.setitem(catalog.ROWS, name, replace(row, weights_hash=hashlib.md5(file.read_bytes()).hexdigest()))
    monkeypatch.setattr(file_utils, "get_file", lambda *_args, **_options: str(file))
    theirs = getattr(keras.applications, row.constructor)(
        weights="imagenet", include_top=False, input_shape=(row.minimum,) * 2 + (3,), **row.kwargs
    )
    x = pixels(row.minimum)
    preprocess = getattr(keras.applications, MODULES[name]).preprocess_input
    expected = np.asarray(theirs(preprocess(x.astype("float32"))))

    backbone = build.build(name, size=row.minimum, offline=True)
    found = apply(backbone, x)
    assert (backbone.weights, backbone.scaling) == ("imagenet", row.scaling)
    assert np.std(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    names = [layer.name for layer in backbone.model.layers]
    assert not any("rescaling" in n or n == "normalization" for n in names), "embedded preprocessing is gone"
    # Grad-CAM asks layers for their outputs: they must be of this graph, not of one that was cut off.
    keras.Model(backbone.model.inputs, backbone.model.layers[len(names) // 2].output)
    keras.backend.clear_session()


def test_real_weights_give_the_numbers_of_keras(assets, store, monkeypatch):
    file = assets / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    if not file.is_file():
        pytest.skip(f"{file} is absent")
    weights.add(file)
    monkeypatch.setattr(file_utils, "get_file", lambda *_args, **_options: str(file))
    theirs = keras.applications.MobileNet(alpha=0.25, include_top=False, input_shape=(224, 224, 3))
    x = pixels(224)
    expected = theirs(keras.applications.mobilenet.preprocess_input(x.astype("float32")))
    backbone = build.build("mobilenet_0.25", offline=True)
    np.testing.assert_allclose(apply(backbone, x), expected, rtol=1e-4, atol=1e-4)
    assert weights.verify(ROWS["mobilenet_0.25"], 224).expected == sha256_file(file)
    assert build.build("mobilenet_0.25", weights=str(file)).weights_sha256 == backbone.weights_sha256


def test_real_weights_of_vgg16_give_the_features_of_keras(assets):
    """Not the published file, but one of its form: all that is known of it is what it holds."""
    file = assets / "weights" / "vgg16_imagenet_notop.h5"
    if not file.is_file():
        pytest.skip(f"{file} is absent")
    theirs = keras.applications.VGG16(weights=str(file), include_top=False, input_shape=(64, 64, 3))
    x = pixels(64)
    expected = np.asarray(theirs(keras.applications.vgg16.preprocess_input(x.astype("float32"))))
    assert expected.std() > 1  # trained weights: random ones give next to nothing
    backbone = build.build("vgg16", weights=str(file), size=64)
    np.testing.assert_allclose(apply(backbone, x), expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_seed_decides_random_weights_and_nothing_else_is_seeded():
    random.seed(5), np.random.seed(5)
    states = random.getstate(), np.random.get_state()[1].tolist()
    first, again, other = (build.build("mobilenet_0.25", "random", 32, seed=seed) for seed in (0, 0, 1))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256


def test_hash_does_not_depend_on_what_was_built_before():
    first = build.build("mobilenet_v3_small", "random", 32)
    keras.layers.ReLU(), keras.layers.Multiply()  # names that the next build would have given
    assert build.build("mobilenet_v3_small", "random", 32).weights_sha256 == first.weights_sha256


def test_mini_brings_its_own_weights():
    backbone = build.build("mini")
    assert (backbone.weights, backbone.size, backbone.model.name) == ("pretrained", 32, "mini")
    assert backbone.weights_sha256 != build.build("mini", "random").weights_sha256
    with pytest.raises(WeightsError, match="no ImageNet weights for 'mini'; its own are called 'pretrained'"):
        build.build("mini", "imagenet")
    with pytest.raises(WeightsError, match="the pretrained weights of 'vgg16' are called 'imagenet'"):
        build.build("vgg16", "pretrained")


@pytest.mark.parametrize(
    ("name", "suffix"),
    extended(
        [
            ("mini", ".keras"),
            ("mini", ".weights.h5"),
            ("efficientnet_b0", ".weights.h5"),
            ("efficientnet_b0", ".keras"),
        ],
        [("efficientnet_b0", ".keras"), ("efficientnet_b0", ".weights.h5")],
        spread=True,
    ),
)
def test_own_files_come_back(tmp_path, name, suffix):
    source, path = build.build(name, "random", 32, seed=3), tmp_path / f"mine{suffix}"
    source.model.save(path) if suffix == ".keras" else source.model.save_weights(path)
    assert build.build(name, str(path), 32).weights_sha256 == source.weights_sha256


def test_file_trained_on_another_input_scaling_is_not_taken_silently(tmp_path):
    # weights=None leaves EfficientNet's normalisation at mean 0, variance 1: such a network saw x / 255.
    plain = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(32, 32, 3))
    plain.save(tmp_path / "plain.h5")
    with pytest.raises(WeightsError, match=r"normalises its input by mean 0 0 0 and variance 1 1 1.*scaling"):
        build.build("efficientnet_b0", str(tmp_path / "plain.h5"), 32)
    backbone = build.build("efficientnet_b0", str(tmp_path / "plain.h5"), 32, scaling="unit")
    x = pixels(32)
    np.testing.assert_allclose(apply(backbone, x), plain(x), rtol=1e-4, atol=1e-6)


def test_weights_of_another_network_are_refused(tmp_path):
    build.build("mobilenet_0.25", "random", 32).model.save(tmp_path / "quarter.h5")
    with pytest.raises(WeightsError, match=r"does not fit '.*': layer 'conv1' needs shapes 3×3×3×16, .*3×3×3×8"):
        build.build("mobilenet_0.5", str(tmp_path / "quarter.h5"), 32)


def test_mixed_policy_keeps_float32_inputs_and_weights():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        backbone = build.build("efficientnet_b0", "random", 32)
    finally:
        keras.config.set_dtype_policy(before)
    assert backbone.model.input.dtype == "float32"
    assert {str(w.dtype) for w in backbone.model.weights} == {"float32"}
    assert backbone.model.get_layer("top_conv").compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "vgg61"}, "unknown backbone 'vgg61'; nearest: .*'vgg16'"),
        (
            {"backbone": "xception", "size": 70},
            "takes pictures of 71 pixels or more, not 70.*--image-size 299",
        ),
        ({"backbone": "vgg16", "policy": "from:top"}, "'vgg16' has no stage 'top'.*its stages are block1"),
        ({"backbone": "vgg16", "policy": "last:99"}, "last:99 is too many"),
        (
            {"backbone": "vgg16", "weights": "no/such.h5"},
            "no weights file no/such.h5; allowed are imagenet, random",
        ),
        ({"backbone": "mini", "weights": "imagenet"}, "its own are called 'pretrained'"),
        (
            {"backbone": "vgg16", "weights": "imagenet", "offline": True},
            "offline, and .*vgg16_weights.* is not there",
        ),
    ],
)
def test_check_finds(arguments, message):
    arguments = {"weights": "random", **arguments}
    (found,) = build.check(**arguments)
    assert re.search(message, found)


def test_check_finds_all_at_once_and_nothing_where_all_is_well():
    assert len(build.check("vgg16", 16, "from:nowhere", "no/such.h5")) == 3
    assert build.check("mini", 32, "from:block3", offline=True) == []
    assert build.check("vgg16") == []


def test_build_refuses_before_building(monkeypatch):
    monkeypatch.setattr(build, "_construct", lambda *_: pytest.fail("built"))
    with pytest.raises(BackboneError, match="32 pixels or more"):
        build.build("vgg16", "random", 31)
    with pytest.raises(ConfigError, match="unknown scaling"):
        build.build("vgg16", "random", scaling="imagenet")
    with pytest.raises(WeightsError, match="offline"):
        build.build("vgg16", offline=True)
