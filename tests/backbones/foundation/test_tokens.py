"""Taps of vision transformers: of every block the patches' mean and the class token, registers left out."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.backbones.foundation.parity import FIXTURES
from transferkit.backbones.build import build
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
