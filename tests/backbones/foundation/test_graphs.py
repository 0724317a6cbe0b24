"""Each family as a backbone: counted, cut, frozen by block, trained a step, saved, loaded without us, exported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.backbones.conftest import value
from tests.backbones.foundation.parity import FIXTURES
from tests.backbones.test_round_trip import LOAD
from tests.marks import extended
from tests.records import facts_of
from transferkit import heads
from transferkit.backbones import build, freeze
from transferkit.backbones.build import LoadedBackbone
from transferkit.backbones.cut import cut
from transferkit.backbones.foundation import folder
from transferkit.backbones.portability import foreign
from transferkit.data.images.decode import DECODER_VERSION

# One for every form of graph; the others differ in their files only.
SIZES = {"dinov2_registers": 56, "dinov2_gated": 42, "dinov3": 48, "dinov3_gated": 32, "deit": 32, "clip": 24,
         "siglip": 32, "siglip2": 24, "convnext": 64, "convnextv2": 64,
         "swin": 48, "swinv2": 32, "timm_swin": 48, "timm_resnet_deep": 64, "timm_efficientnet": 64,
         "timm_efficientnetv2": 33, "timm_mobilenetv4": 64}  # fmt: skip

TRAINED = ["dinov3", "dinov2_registers", "clip", "siglip2", "convnextv2", "swin", "swinv2", "timm_resnet_deep",
           "timm_efficientnet", "timm_mobilenetv4"]  # fmt: skip


def made(name: str) -> LoadedBackbone:
    return build.build(str(FIXTURES / name), size=SIZES[name])


@pytest.fixture(scope="module")
def loaded() -> dict[str, LoadedBackbone]:
    return {name: made(name) for name in SIZES}


@pytest.mark.parametrize("name", SIZES)
def test_the_row_says_what_the_network_has(name: str, loaded: dict[str, LoadedBackbone]) -> None:
    backbone = loaded[name]
    model, row = backbone.model, backbone.row
    shapes = folder.describe(str(FIXTURES / name)).described.architecture.shapes(SIZES[name])

    assert {f"{layer.name}/{v.name}": tuple(v.shape) for layer in model.layers for v in layer.weights} == shapes
    assert sum(freeze.is_counted(operation) for operation in model.operations) == row.layers
    starts = [freeze.stage_start(model, row, stage) for stage in row.stage_names]
    assert starts == sorted(set(starts))
    assert row.stage_names[:2] == ("stem", "block0")
    assert foreign(model) is None


def test_parameters_are_those_at_the_default_size(loaded: dict[str, LoadedBackbone]) -> None:
    for name in ("dinov3", "convnextv2"):
        backbone = build.build(str(FIXTURES / name), weights="random")
        assert backbone.model.count_params() == backbone.row.parameters
        assert backbone.weights_sha256 != loaded[name].weights_sha256


@pytest.mark.parametrize("name", SIZES)
def test_a_cut_before_any_block_is_exact(name: str, loaded: dict[str, LoadedBackbone]) -> None:
    model, row = loaded[name].model, loaded[name].row
    pictures = np.random.default_rng(0).standard_normal((2, *model.input_shape[1:])).astype(np.float32)
    whole = np.asarray(model(pictures))
    for stage in ("block0", "block1", row.stage_names[-1]):
        parts = cut(model, freeze.first_trainable(model, row, f"from:{stage}"))
        assert parts.frozen is not None
        assert parts.tail is not None
        assert np.array_equal(np.asarray(parts.tail(parts.frozen(pictures))), whole)


@pytest.mark.parametrize("name", extended(TRAINED, TRAINED[1:]))
def test_frozen_blocks_stay_and_the_tail_learns(name: str) -> None:
    backbone = made(name)
    last = backbone.row.stage_names[-1]
    freeze.freeze(backbone.model, f"from:{last}", row=backbone.row)
    start = freeze.stage_start(backbone.model, backbone.row, last)
    frozen = [w for op in backbone.model.operations[:start] for w in getattr(op, "weights", [])]
    tail = [w for op in backbone.model.operations[start:] for w in getattr(op, "weights", [])]
    model = keras.Sequential([keras.Input(backbone.model.input_shape[1:]), backbone.model, keras.layers.Flatten(),
                              keras.layers.Dense(2)])  # fmt: skip
    before = [value(w) for w in frozen], [value(w) for w in tail]
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    pictures = np.random.default_rng(0).standard_normal((4, *backbone.model.input_shape[1:])).astype(np.float32)
    model.fit(pictures, np.array([0, 1, 0, 1]), epochs=1, verbose=0)

    assert all(np.array_equal(value(w), old) for w, old in zip(frozen, before[0], strict=True))
    # A key's bias adds the same to all of a query's scores: softmax takes it out again, and its gradient is none.
    # Batch norms keep what they have (their default).
    for weight, old in zip(tail, before[1], strict=True):
        if "key/bias" not in weight.path:
            assert np.array_equal(value(weight), old) == (not weight.trainable), weight.path


def test_all_trains_every_weight_and_no_table_of_constants() -> None:
    backbone = made("dinov3")
    freeze.freeze(backbone.model, "all", row=backbone.row)

    assert len(backbone.model.trainable_weights) == len(backbone.model.weights)
    assert not any("rotary" in w.path for w in backbone.model.weights)


def shipped(backbone: LoadedBackbone) -> Any:
    """uint8 pictures → scaling → network → vector, as a run ships it."""
    inputs = keras.Input((backbone.size, backbone.size, 3), dtype="uint8", name="picture")
    x = backbone.model(backbone.prepared(inputs))
    pool = heads.pool(x.shape[1:], "cls+mean" if heads.has_class_token(x.shape[1:]) else "avg")
    assert pool is not None
    return keras.Model(inputs, pool(x))


@pytest.mark.extended
@pytest.mark.slow
def test_a_process_without_transferkit_gives_the_same_numbers(
    tmp_path: Path, loaded: dict[str, LoadedBackbone]
) -> None:
    for name, backbone in loaded.items():
        model = shipped(backbone)
        pixels = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:]), dtype=np.uint8)
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", pixels=pixels, expected=np.asarray(model(pixels)))

    subprocess.run([sys.executable, "-c", LOAD], check=True, cwd=tmp_path, timeout=300)


@pytest.mark.extended
@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_onnx_gives_the_same_numbers(name: str, tmp_path: Path, loaded: dict[str, LoadedBackbone]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    from transferkit.delivery.exporting import writers

    model, facts = shipped(loaded[name]), facts_of({"decode": {"decoder": DECODER_VERSION, "size": SIZES[name]}})
    writers._onnx(model, facts, tmp_path / "model.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (3, *model.input_shape[1:]), dtype=np.uint8)
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels})
    expected = np.asarray(model(pixels))

    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_pictures_are_scaled_as_the_publisher_says() -> None:
    backbone = made("clip")
    x = backbone.prepared(np.full((1, 24, 24, 3), 100, np.uint8))
    expected = (100 / 255 - np.array([0.48145466, 0.4578275, 0.40821073])) / [0.26862954, 0.26130258, 0.27577711]

    assert np.allclose(np.asarray(x)[0, 0, 0], expected, atol=1e-6)
