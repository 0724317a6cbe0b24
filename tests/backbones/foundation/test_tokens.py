"""Tokens of vision transformers, registers left out: taps of every block, and maps that heads are trained from."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.backbones.foundation.parity import FIXTURES
from tests.training.job import always_better, recipe_for
from transferkit import compute
from transferkit.backbones.build import build
from transferkit.features import number_formats
from transferkit.features.taps import tapping_model, taps


@pytest.mark.parametrize(("name", "prefix"), [("dinov2_registers", 5), ("dinov2", 1)])
def test_each_block_gives_its_class_token_and_the_mean_of_its_patches(name: str, prefix: int) -> None:
    backbone = build(str(FIXTURES / name), size=42)
    found = taps(backbone)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 42, 42, 3), dtype=np.uint8)
    rows = np.asarray(tapping_model(backbone, found)(pixels))
    blocks = [backbone.model.get_layer(f"block{i}_add2").output for i in range(2)]
    x = backbone.prepared(pixels)
    inner = [np.asarray(t) for t in keras.Model(backbone.model.inputs[0], blocks)(x)]
    output = np.asarray(backbone.model(x))

    columns = {(tap.stage, tap.statistic): rows[:, tap.start : tap.stop] for tap in found.columns()}
    assert list(columns) == [(s, k) for s in ("stem", "block0", "block1", "block2") for k in ("cls", "mean")]
    for i, tokens in enumerate(inner):
        np.testing.assert_allclose(columns[f"block{i}", "cls"], tokens[:, 0], atol=1e-4)
        np.testing.assert_allclose(columns[f"block{i}", "mean"], tokens[:, prefix:].mean(1), atol=1e-4)
    np.testing.assert_allclose(columns["block2", "cls"], output[:, 0], atol=1e-4)
    np.testing.assert_allclose(columns["block2", "mean"], output[:, 1:].mean(1), atol=1e-4)
    assert found.sets()["last"] == (6 * 32, 8 * 32)


def test_without_a_class_token_taps_are_means_and_deviations() -> None:
    for name in ("siglip", "convnextv2"):
        assert {tap.statistic for tap in taps(build(str(FIXTURES / name), size=32)).columns()} == {"mean", "std"}


def test_maps_of_tokens_are_kept_in_bfloat16_and_trained_from(digits: Path, cache: Path) -> None:
    made = recipe_for(
        digits, backbone=str(FIXTURES / "dinov2_registers"), size=224, pooling="attention", head="mlp", augment="none",
        precision="bfloat16", per_class=2, goal=always_better,
    )  # fmt: skip
    trained = made.run()

    (chunk,) = cache.rglob("chunk-*.npy")
    kept = np.load(chunk)
    assert (kept.dtype, kept.shape) == (number_formats.BFLOAT16, (30, (1 + 16 * 16) * 32))
    picture = made.problem.val[0]
    pixels = made.views.pixels(made.problem.samples, int(picture), [0])
    tokens = np.asarray(made.backbone.model(made.backbone.prepared(pixels))).reshape(1, -1)
    differences = np.abs(number_formats.as_numbers(kept) - tokens).mean(1)
    assert differences.min() < 0.02 * np.abs(tokens).mean()  # three digits a number, of that picture alone
    assert np.sort(differences)[1] > 5 * differences.min()

    (phase,) = trained.phases
    assert (phase.source, phase.precision) == ("cached", "bfloat16")
    pixels = made.views.pixels(made.problem.samples, made.problem.val)
    np.testing.assert_allclose(compute.forward(trained.model)([pixels])[0], trained.val_outputs, atol=0.05)
    assert trained.val_outputs.std() > 0.05
