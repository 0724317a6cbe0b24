"""Grad-CAM of networks of tokens: on the patches alone, whichever way tokens are pooled, and bound to the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.backbones.foundation.parity import FIXTURES
from tests.marks import extended
from transferkit import heads
from transferkit.backbones.build import build
from transferkit.errors import ConfigError
from transferkit.evaluation import heatmaps, token_maps
from transferkit.evaluation.token_maps import Patches
from transferkit.features.taps import tapped, taps

from .test_heatmaps import SIZE, alike, scene, share_inside

L = keras.layers
SIDE = 8


def colour_tokens(first: int = 5, *, last: bool = False, pooling: str = "cls", attends: bool = True) -> keras.Model:
    """Class 0 is red, class 1 is blue: two detectors a patch, `first` tokens before the patches (`last`: behind them),
    of which the first is the class token and learns of the patches by attention alone; as a run ships it."""
    pixels = keras.Input((SIZE, SIZE, 3))
    detect = L.Conv2D(2, SIZE // SIDE, strides=SIZE // SIDE, activation="relu")
    x = L.Reshape((SIDE**2, 2))(detect(pixels))
    kernel = np.zeros((4, 4, 3, 2), np.float32)
    kernel[:, :, 0, 0] = kernel[:, :, 2, 1] = 1 / 16
    kernel[:, :, 1, :] = kernel[:, :, 2, 0] = kernel[:, :, 0, 1] = -1 / 16
    detect.set_weights([kernel, np.zeros(2, np.float32)])
    if first:
        x = L.ZeroPadding1D((0, first) if last else (first, 0))(x)
    parts = []
    for name in ("query", "key", "value"):
        dense = L.Dense(2, name=name)
        parts.append(L.Reshape((-1, 1, 2))(dense(x)))
        dense.set_weights([np.eye(2) * (name == "value"), np.zeros(2)])
    y = keras.ops.dot_product_attention(*parts) if attends else parts[2]
    x = L.Add()([x, L.Reshape((-1, 2))(y)])
    if pooling == "cls":
        tokens = SIDE**2 + first
        x = L.Flatten()(L.Cropping1D((tokens - 1, 0) if last else (0, tokens - 1))(x))
    backbone = keras.Model(pixels, x, name="tokens")
    picture = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="picture")
    x = backbone(L.Rescaling(1 / 255)(picture))
    x = x if pooling == "cls" else L.GlobalAveragePooling1D()(x)
    body = heads.body(2, 2, heads.HeadSettings((), 0.0))
    body.get_layer("logits").set_weights([np.eye(2), np.zeros(2)])
    x = body(x)
    for layer in heads.output_layers("classify", 0.5):
        x = layer(x)
    return keras.Model(picture, x)


@pytest.mark.parametrize(
    ("first", "last", "pooling"), [(1, False, "cls"), (5, False, "cls"), (1, True, "cls"), (0, False, "mean")]
)
def test_the_map_lies_on_the_patches_whose_class_is_asked_for(first: int, last: bool, pooling: str) -> None:
    places = [((4, 4), (20, 20)), ((16, 0), (0, 24))]
    pictures = np.stack([scene(*p) for p in places])
    run = heatmaps.explainer(colour_tokens(first, last=last, pooling=pooling))
    for number in (0, 1):
        heats = run(pictures, np.full(2, number))
        assert heats.shape == (2, SIZE, SIZE)
        assert heats.max() == pytest.approx(1.0)
        for heat, corners in zip(heats, places, strict=True):
            assert share_inside(heat, corners[number]) > 0.9


def test_tokens_without_a_place_in_the_picture_are_sent_to_occlusion() -> None:
    pixels = keras.Input((SIZE, SIZE, 3))
    x = L.Reshape((SIZE, SIZE * 3))(pixels)  # a token a row of pixels
    x = L.LayerNormalization()(x + L.MultiHeadAttention(2, 4)(x, x))
    rows = keras.Model(pixels, x, name="rows")
    picture = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    x = L.GlobalAveragePooling1D()(rows(L.Rescaling(1 / 255)(picture)))
    with pytest.raises(ConfigError, match=r"'rows' gives no feature map.*--method occlusion"):
        heatmaps.explainer(keras.Model(picture, L.Dense(2)(x)))


@pytest.mark.parametrize(
    ("name", "size", "first"), [("dinov2_registers", 56, 5), ("deit", 32, 2), ("siglip", 32, 0), ("dinov3", 48, 5)]
)
def test_patches_are_told_from_class_token_and_registers(name: str, size: int, first: int) -> None:
    backbone = build(str(FIXTURES / name), size=size)
    found = token_maps.patches_of(backbone.model)
    tensor = backbone.model.get_layer("block1_add2").output
    side = round((tensor.shape[1] - first) ** 0.5)
    assert found[id(tensor)] == Patches(first, side, side)
    kept = 1 if name != "siglip" else 0
    assert found[id(backbone.model.outputs[0])] == Patches(kept, side, side)


def test_of_an_own_network_the_grid_is_that_of_its_map() -> None:
    inputs = keras.Input((32, 48, 3))
    patches = L.Reshape((-1, 16))(L.Conv2D(16, 8, strides=8)(inputs))
    marked = L.Concatenate(axis=1)([L.Cropping1D((0, 23))(patches), patches])
    mixed = L.MultiHeadAttention(2, 8)(marked, marked)
    shuffled = L.Permute((2, 1))(mixed)
    found = token_maps.patches_of(keras.Model(inputs, [mixed, shuffled]))
    assert found[id(mixed)] == Patches(1, 4, 6)
    assert id(shuffled) not in found


def shipped(name: str, size: int, columns: str = "") -> keras.Model:
    """A linear classifier on a published network: on its output, or (`columns`) on vectors of several depths."""
    backbone = build(str(FIXTURES / name), size=size)
    inputs = keras.Input((size, size, 3), dtype="uint8", name="picture")
    if columns:
        found = taps(backbone)
        x = tapped(backbone, found, inputs, found.sets()[columns])
    else:
        x = backbone.model(backbone.prepared(inputs))
        pool = heads.pool(x.shape[1:], "cls" if heads.has_class_token(x.shape[1:]) else "mean")
        assert pool is not None
        x = pool(x)
    x = heads.body(x.shape[-1], 3, heads.HeadSettings((), 0.0))(x)
    for layer in heads.output_layers("classify"):
        x = layer(x)
    return keras.Model(inputs, x)


def permuted(model: Any) -> None:
    rng = np.random.default_rng(0)
    for weight in model.weights:
        values = np.copy(keras.ops.convert_to_numpy(weight))
        weight.assign(rng.permutation(values.ravel()).reshape(values.shape))


CASES = [("dinov2_registers", 112, ""), ("deit", 64, "top"), ("dinov3", 96, "last"), ("siglip", 64, "all")]


@pytest.mark.parametrize(("name", "size", "columns"), extended(CASES, CASES[1:], spread=True))
def test_randomised_weights_change_the_map(name: str, size: int, columns: str, tmp_path: Path) -> None:
    """Adebayo et al. 2018, of head and network; on the file that is shipped."""
    shipped(name, size, columns).save(tmp_path / "model.keras")
    load = lambda: keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)  # noqa: E731
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 8, 8, 3), np.uint8)
    pictures = small.repeat(size // 8, 1).repeat(size // 8, 2)
    outputs = np.arange(6) % 3
    before = heatmaps.explainer(load())(pictures, outputs)
    assert before.shape == (6, size, size)
    assert all(np.ptp(heat) > 0.5 for heat in before)
    again = heatmaps.explainer(load())
    assert alike(before, again(pictures, outputs)) > 0.999
    assert np.abs(before - again(pictures, (outputs + 1) % 3)).max() > 0.1
    for part in ("head", 2):
        model = load()
        networks = [layer for layer in model.layers if hasattr(layer, "layers") and layer.weights]
        permuted(model.get_layer("head") if part == "head" else networks[0])
        assert alike(before, heatmaps.explainer(model)(pictures, outputs)) < 0.6
