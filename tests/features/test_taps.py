"""Vectors of several depths: which, in which order, and the numbers that they hold."""

import keras
import numpy as np
import pytest
from keras import layers

from transferkit.backbones.build import LoadedBackbone, build
from transferkit.backbones.freeze import row_of_file
from transferkit.features import taps as room
from transferkit.features.taps import tapped, tapping_model, taps


def rows_of(backbone, found, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (3, backbone.size, backbone.size, 3), dtype=np.uint8)
    rows = np.asarray(tapping_model(backbone, found)(pixels))
    return pixels, {(t.stage, t.statistic): rows[:, t.start : t.stop] for t in found.columns()}


def given(backbone, pixels, names):
    inner = keras.Model(backbone.model.inputs, [backbone.model.get_layer(name).output for name in names])
    return [np.asarray(t, np.float64) for t in inner(backbone.prepared(pixels))]


def statistics(x):
    return {"mean": x.mean((1, 2)), "std": x.std((1, 2))}


def own(blocks, channels=4, wide=12):
    """Inverted residuals made of 1×1 convolutions and normalisations with random numbers in them."""
    rng = np.random.default_rng(1)
    inputs = x = keras.Input((8, 8, 3))
    x = layers.Conv2D(channels, 1, use_bias=False)(x)
    for _ in range(blocks):
        inner = layers.ReLU()(layers.Conv2D(wide, 1)(x))
        x = layers.Add()([layers.BatchNormalization()(layers.Conv2D(channels, 1)(inner)), x])
    model = keras.Model(inputs, layers.Conv2D(20, 1, activation="relu")(x))
    model.set_weights([rng.uniform(0.1, 1, w.shape) - (0.5 if w.ndim > 1 else 0) for w in model.get_weights()])
    return LoadedBackbone(model, row_of_file(model), 8, "tf", "file", "0")


def test_rows_of_inverted_residuals_hold_what_each_block_gives_and_the_mean_of_the_last_layer():
    backbone = own(2)
    found = taps(backbone)
    pixels, columns = rows_of(backbone, found)
    # By hand: every layer is a product over channels.
    weights = iter(backbone.model.get_weights())
    x = (pixels / 127.5 - 1.0) @ next(weights)[0, 0]
    for name in found.names[:-1]:
        kernel, bias, projection, added, gamma, beta, mean, variance = (next(weights) for _ in range(8))
        inner = np.maximum(x @ kernel[0, 0] + bias, 0) @ projection[0, 0] + added
        x = x + gamma * (inner - mean) / np.sqrt(variance + 1e-3) + beta
        for statistic, expected in statistics(x).items():
            np.testing.assert_allclose(columns.pop((name, statistic)), expected, atol=1e-4)
    kernel, bias = weights
    last = np.maximum(x @ kernel[0, 0] + bias, 0).mean((1, 2))
    np.testing.assert_allclose(columns.pop((found.names[-1], "mean")), last, atol=1e-4)
    assert not columns
    assert found.sets()["last"] == (16, 36)
    assert found.sets()["all"] == (0, 36)


def test_each_block_of_the_bundled_network_for_photographs_is_tapped():
    backbone = build("efficientnet_lite0", "random", 64)
    found = taps(backbone)
    pixels, columns = rows_of(backbone, found)
    ends = {
        "stem": "stem_activation", "block1": "block1a_project_bn", "block2": "block2b_add",
        "block3a_project_bn_expanded": "block3a_activation", "block4b_add_expanded": "block4b_activation",
        "block5a_project_bn": "block5a_project_bn", "block6c_add": "block6c_add", "top": "top_activation",
    }  # fmt: skip
    assert set(ends) < set(found.names)
    assert [name.split("_")[0] for name in found.names if name.endswith("expanded")] == [
        "block3a", "block3b", "block4a", "block4b", "block4c",
    ]  # fmt: skip
    assert len(found.names) == 23
    for name, x in zip(ends, given(backbone, pixels, ends.values()), strict=True):
        for statistic, expected in statistics(x).items():
            if (name, statistic) != ("top", "std"):
                np.testing.assert_allclose(columns[name, statistic], expected, atol=1e-4)
    assert ("top", "std") not in columns
    assert found.columns()[-1].stop == 2 * (1840 + 1584) + 1280


@pytest.mark.parametrize(("name", "stages"), [("mini", 5), ("mobilenet_0.25", 14), ("vgg16", 5)])
def test_of_rectified_networks_stages_are_tapped_with_deviations_throughout(name, stages):
    backbone = build(name, "random", 32)
    found = taps(backbone)
    pixels, columns = rows_of(backbone, found)
    assert list(columns) == [(stage, kind) for stage in backbone.row.stage_names for kind in ("mean", "std")]
    assert len(found.names) == stages
    for statistic, expected in statistics(np.asarray(backbone.model(backbone.prepared(pixels)))).items():
        np.testing.assert_allclose(columns[found.names[-1], statistic], expected, atol=1e-4)


def test_blocks_too_many_or_too_wide_are_tapped_by_stage(monkeypatch):
    backbone = build("efficientnet_lite0", "random", 32)
    monkeypatch.setattr(room, "MOST_BLOCKS", 18)
    assert len(taps(backbone).names) == 18
    monkeypatch.setattr(room, "MOST_BLOCKS", 17)
    found = taps(backbone)
    assert found.names == backbone.row.stage_names
    assert [tap.statistic for tap in found.columns() if tap.stage == "top"] == ["mean"]
    monkeypatch.undo()
    monkeypatch.setattr(room, "WIDEST", 4000)
    assert taps(backbone).names == backbone.row.stage_names


def test_a_row_stays_as_narrow_as_is_allowed(monkeypatch):
    monkeypatch.setattr(room, "WIDEST", 1700)
    found = taps(build("efficientnet_lite0", "random", 32))
    assert {tap.statistic for tap in found.columns()} == {"mean"}
    assert found.names == ("block6", "block7", "top")[-2:]
    assert found.columns()[-1].stop == 320 + 1280


@pytest.mark.parametrize("columns", ["last", "top", "all"])
def test_a_saved_model_on_some_columns_gives_what_was_extracted(tmp_path, columns):
    backbone = own(4)
    found = taps(backbone)
    pixels, _ = rows_of(backbone, found)
    start, stop = found.sets()[columns]
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    keras.Model(inputs, tapped(backbone, found, inputs, (start, stop))).save(tmp_path / "model.keras")
    shipped = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    rows = np.asarray(tapping_model(backbone, found)(pixels))
    np.testing.assert_allclose(np.asarray(shipped(pixels)), rows[:, start:stop], atol=1e-4)
