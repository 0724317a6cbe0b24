"""Each family as a backbone: counted, cut, frozen by block, trained a step, saved, loaded without us, exported.

A family that is added without a network here fails, and so does one that README's table does not name.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.backbones.conftest import value
from tests.backbones.foundation.parity import FIXTURES, NAMES
from tests.backbones.test_round_trip import LOAD
from tests.fresh import Fresh
from tests.marks import extended
from tests.records import facts_of
from transferkit import heads
from transferkit.backbones import build, freeze
from transferkit.backbones.build import LoadedBackbone
from transferkit.backbones.cut import cut
from transferkit.backbones.foundation import described, model_folder
from transferkit.backbones.portability import foreign
from transferkit.data.images.decode import DECODER_VERSION

# One for every family and form of graph; the others differ in their files only. "+pooler" ends with the network's own.
SIZES = {"dinov3": 48, "dinov2": 42, "dinov2_registers": 56, "dinov2_gated": 42, "dinov3_gated": 32,
         "dinov3_convnext": 64, "vit": 32, "deit": 32, "clip": 24, "siglip": 32, "siglip2": 24, "siglip+pooler": 32,
         "timm_siglip+pooler": 64, "convnext": 64, "convnextv2": 64, "swin": 48, "swinv2": 32, "timm_swin": 48,
         "resnet": 64, "timm_resnet_deep": 64, "timm_efficientnet": 64, "timm_efficientnet_lite": 64,
         "timm_efficientnetv2": 33, "timm_mobilenetv4": 64, "timm_mobilenetv4_hybrid": 64}  # fmt: skip

# README's rows, and the families in them.
ROWS = {
    "DINOv2, with and without registers": {"DINOv2"},
    "DINOv3, ViT and ConvNeXt": {"DINOv3", "DINOv3 ConvNeXt"},
    "SigLIP, SigLIP 2, CLIP (picture towers)": {"SigLIP", "SigLIP 2", "CLIP"},
    "ViT, DeiT; ConvNeXt and V2": {"ViT", "DeiT", "ConvNeXt", "ConvNeXt V2"},
    "Swin, Swin V2": {"Swin", "Swin V2"},
    "ResNet": {"ResNet"},
    "EfficientNet, V2 and Lite; MobileNetV4": {"EfficientNet", "EfficientNetV2", "MobileNetV4"},
}
BatchNorm = keras.layers.BatchNormalization
README = Path(__file__).parents[3] / "README.md"


def made(name: str) -> LoadedBackbone:
    fixture, plus, _ = name.partition("+")
    return build.build(str(FIXTURES / fixture), size=SIZES[name], pooler=bool(plus))


def test_every_family_that_is_read_or_promised_is_proved_here() -> None:
    table = README.read_text("utf-8").partition("| foundation networks")[2].partition("\n\n")[0]
    here = {model_folder.describe(str(FIXTURES / name.partition("+")[0])).described.family for name in SIZES}

    assert re.findall(r"^\| (?!-)([^|]+?) \|", table, flags=re.MULTILINE) == list(ROWS)
    assert set().union(*ROWS.values()) == set(described._FAMILIES) == here
    assert {name.partition("+")[0] for name in SIZES} <= set(NAMES)  # each is compared with its library, block by block


# Forms of graph that are always run; all are in CI's longer run.
ALWAYS = ["dinov2_registers", "dinov3", "deit", "clip", "siglip+pooler", "convnextv2", "swin", "swinv2",
          "timm_resnet_deep", "timm_efficientnet", "timm_mobilenetv4"]  # fmt: skip
networks = pytest.mark.parametrize("name", extended(SIZES, SIZES.keys() - ALWAYS))


@functools.cache
def loaded(name: str) -> LoadedBackbone:
    """One for all tests that only look at it."""
    return made(name)


@networks
def test_the_row_says_what_the_network_has(name: str) -> None:
    backbone = loaded(name)
    model, row = backbone.model, backbone.row
    fixture, plus, _ = name.partition("+")
    found = model_folder.describe(str(FIXTURES / fixture))
    shapes = (model_folder.pooled(found) if plus else found).described.architecture.shapes(SIZES[name])

    assert {f"{layer.name}/{v.name}": tuple(v.shape) for layer in model.layers for v in layer.weights} == shapes
    assert sum(freeze.is_counted(operation) for operation in model.operations) == row.layers
    starts = [freeze.stage_start(model, row, stage) for stage in row.stage_names]
    assert starts == sorted(set(starts))
    assert row.stage_names[:2] == ("stem", "block0")
    assert foreign(model) is None


def test_parameters_are_those_at_the_default_size() -> None:
    for name in ("dinov3", "convnextv2"):
        backbone = build.build(str(FIXTURES / name), weights="random")
        assert backbone.model.count_params() == backbone.row.parameters
        assert backbone.weights_sha256 != loaded(name).weights_sha256


@networks
def test_a_cut_before_any_block_is_exact(name: str) -> None:
    model, row = loaded(name).model, loaded(name).row
    pictures = np.random.default_rng(0).standard_normal((2, *model.input_shape[1:])).astype(np.float32)
    whole = np.asarray(model(pictures))
    for stage in ("block0", "block1", row.stage_names[-1]):
        parts = cut(model, freeze.first_trainable(model, row, f"from:{stage}"))
        assert parts.frozen is not None
        assert parts.tail is not None
        assert np.array_equal(np.asarray(parts.tail(parts.frozen(pictures))), whole)


@networks
def test_each_block_is_where_training_can_begin(name: str) -> None:
    backbone = made(name)
    model, row = backbone.model, backbone.row
    for stage in row.stage_names:
        freeze.freeze(model, f"from:{stage}", row=row)
        above = model.operations[freeze.stage_start(model, row, stage) :]
        layers = [op for op in above if isinstance(op, keras.Layer) and not isinstance(op, BatchNorm)]
        assert {id(w) for w in model.trainable_weights} == {id(w) for layer in layers for w in layer.weights}, stage


def answering(backbone: LoadedBackbone) -> Any:
    """uint8 pictures → scaling → network → vector → logits, as a run ships it."""
    inputs = keras.Input((backbone.size, backbone.size, 3), dtype="uint8", name="picture")
    x = backbone.model(backbone.prepared(inputs))
    pool = heads.pool(x.shape[1:], "cls+mean" if heads.has_class_token(x.shape[1:]) else "avg")
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(x if pool is None else pool(x)))


def pixels_for(model: Any) -> Any:
    return np.random.default_rng(0).integers(0, 256, (4, *model.input_shape[1:]), dtype=np.uint8)


@functools.cache
def trained(name: str) -> tuple[Any, list[tuple[Any, Any, bool]]]:
    """The network after a step of its last stage; and each weight, its value before, whether it is of that stage."""
    backbone = made(name)
    last = backbone.row.stage_names[-1]
    freeze.freeze(backbone.model, f"from:{last}", row=backbone.row)
    start = freeze.stage_start(backbone.model, backbone.row, last)
    known = [
        (weight, value(weight), place >= start)
        for place, operation in enumerate(backbone.model.operations)
        for weight in getattr(operation, "weights", [])
    ]
    model = answering(backbone)
    # To trace it takes ten times as long as the step, and what is frozen and what learns does not depend on it.
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    model.fit(pixels_for(model), np.array([0, 1, 0, 1]), epochs=1, verbose=0)
    return model, known


@pytest.mark.parametrize("name", extended(SIZES, SIZES.keys() - {"dinov3"}))
def test_frozen_blocks_stay_and_the_tail_learns(name: str) -> None:
    for weight, before, top in trained(name)[1]:
        # A key's bias adds the same to all of a query's scores: softmax takes it out again, and its gradient is none.
        # Batch norms keep what they have (their default).
        if not top or "key/bias" not in weight.path:
            assert np.array_equal(value(weight), before) == (not (top and weight.trainable)), weight.path


def test_all_trains_every_weight_and_no_table_of_constants() -> None:
    backbone = made("dinov3")
    freeze.freeze(backbone.model, "all", row=backbone.row)

    assert len(backbone.model.trainable_weights) == len(backbone.model.weights)
    assert not any("rotary" in w.path for w in backbone.model.weights)


@pytest.mark.extended
@pytest.mark.slow
def test_a_process_without_transferkit_gives_the_numbers_of_trained_networks(tmp_path: Path, fresh: Fresh) -> None:
    for name in SIZES:
        model = trained(name)[0]
        pixels = pixels_for(model)
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", pixels=pixels, expected=np.asarray(model(pixels)))

    done = fresh(LOAD, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


# ONNX is written operation by operation: one network for each kind of them, and each form of graph.
WRITTEN = [*ALWAYS, "timm_efficientnet_lite"]


def operations(name: str) -> set[tuple[str, str]]:
    """Kinds of operations, with the functions that they apply."""
    found = loaded(name).model.operations
    return {(type(one).__name__, getattr(getattr(one, "activation", None), "__name__", "")) for one in found}


@pytest.mark.extended
def test_every_operation_is_in_a_network_that_is_written_as_onnx() -> None:
    assert set().union(*map(operations, SIZES)) == set().union(*map(operations, WRITTEN))


@pytest.mark.extended
@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN)
def test_onnx_gives_the_numbers_of_trained_networks(name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    from transferkit.delivery.exporting import writers

    model, facts = trained(name)[0], facts_of({"decode": {"decoder": DECODER_VERSION, "size": SIZES[name]}})
    writers._onnx(model, facts, tmp_path / "model.onnx")
    pixels = pixels_for(model)
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels})
    expected = np.asarray(model(pixels))

    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_pictures_are_scaled_as_the_publisher_says() -> None:
    backbone = made("clip")
    x = backbone.prepared(np.full((1, 24, 24, 3), 100, np.uint8))
    expected = (100 / 255 - np.array([0.48145466, 0.4578275, 0.40821073])) / [0.26862954, 0.26130258, 0.27577711]

    assert np.allclose(np.asarray(x)[0, 0, 0], expected, atol=1e-6)
