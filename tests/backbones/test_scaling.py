"""The preprocessing layers compute what keras.applications computes, in every policy, and survive saving."""

import keras
import numpy as np
import pytest

from transferkit.backbones.scaling import SCALINGS, preprocessing
from transferkit.errors import ConfigError

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype="uint8")


def apply(scaling, pixels=PIXELS):
    x = pixels
    for layer in preprocessing(scaling):
        x = layer(x)
    return np.asarray(x)


def expected(scaling):
    x = PIXELS.astype("float32")
    if scaling in ("caffe", "torch", "tf"):
        return keras.applications.imagenet_utils.preprocess_input(x.copy(), mode=scaling)
    return {"none": x, "unit": x / 255, "tf128": x / 128 - 1}[scaling]


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_same_numbers_as_keras(scaling, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        found = apply(scaling)
    finally:
        keras.config.set_dtype_policy(before)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(scaling), rtol=1e-6, atol=1e-6)


def test_caffe_is_exact():
    np.testing.assert_array_equal(apply("caffe"), expected("caffe"))


def test_float_pixels_give_the_same():
    np.testing.assert_array_equal(apply("torch", PIXELS.astype("float32")), apply("torch"))


@pytest.mark.parametrize("scaling", SCALINGS)
def test_nothing_of_it_trains(scaling):
    assert not [w for layer in preprocessing(scaling) for w in layer.trainable_weights]


def test_saved_model_loads_in_safe_mode_without_transferkit(tmp_path, fresh):
    for scaling in SCALINGS:
        inputs = keras.Input((5, 4, 3), dtype="uint8")
        x = inputs
        for layer in preprocessing(scaling):
            x = layer(x)
        keras.Model(inputs, x).save(tmp_path / f"{scaling}.keras")
        np.save(tmp_path / f"{scaling}.npy", apply(scaling))
    np.save(tmp_path / "pixels.npy", PIXELS)
    code = (
        "import sys, keras, numpy as np, pathlib\n"
        "for f in sorted(pathlib.Path('.').glob('*.keras')):\n"
        "    y = keras.saving.load_model(f, safe_mode=True)(np.load('pixels.npy'))\n"
        "    np.testing.assert_array_equal(np.asarray(y), np.load(f.with_suffix('.npy')))\n"
        "assert 'transferkit' not in sys.modules"
    )
    done = fresh(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_unknown_scaling_lists_the_known():
    with pytest.raises(ConfigError, match=r"unknown scaling 'imagenet'.*torch: .*caffe: "):
        preprocessing("imagenet")
