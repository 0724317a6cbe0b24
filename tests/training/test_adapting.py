"""`--adapt`: little of the unfrozen layers is trained, nothing else moves, and what is shipped is as it was built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.backbones.foundation.parity import FIXTURES
from tests.marks import extended
from transferkit import compute
from transferkit.backbones import freeze
from transferkit.backbones.build import build
from transferkit.backbones.cut import cut
from transferkit.errors import BackboneError, ConfigError
from transferkit.training import adapting

from .job import always_better, recipe_for

DEIT, GATED = str(FIXTURES / "deit"), str(FIXTURES / "dinov3_gated")
STAGE = "from:block2"


def values(model: Any) -> dict[str, np.ndarray]:
    return {weight.path: value for weight, value in zip(model.weights, compute.values(model.weights), strict=True)}


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {path for path in before if not np.array_equal(before[path], after[path])}


@pytest.mark.parametrize("name", [DEIT, GATED])
def test_merged_kernels_give_what_the_additions_gave(name: str) -> None:
    backbone = build(name, size=32)
    first = freeze.first_trainable(backbone.model, backbone.row, STAGE)
    parts = cut(backbone.model, first)
    assert parts.tail is not None
    x = np.random.default_rng(0).standard_normal((3, *parts.tail.input_shape[1:])).astype(np.float32)
    plain = np.asarray(parts.tail(x))
    found = adapting.adapted(backbone.model, first, parts.tail, "lora", seed=0)
    assert found.additions
    np.testing.assert_allclose(np.asarray(found.network(x)), plain, atol=1e-6)  # nothing is added at first

    rng = np.random.default_rng(1)
    for addition in found.additions:
        addition.layer.up.assign(0.05 * rng.standard_normal(addition.layer.up.shape))
    unmerged = np.asarray(found.network(x))
    found.merge()
    assert np.abs(unmerged - plain).max() > 0.01
    np.testing.assert_allclose(np.asarray(parts.tail(x)), unmerged, atol=1e-5)
    np.testing.assert_allclose(np.asarray(found.network(x)), unmerged, atol=1e-5)


CASES = [("lora", DEIT, STAGE), ("norms", DEIT, STAGE), ("norms", GATED, "all"), ("lora", GATED, "all")]


@pytest.mark.parametrize(("adapt", "name", "policy"), extended(CASES, CASES[1:], spread=True))
def test_what_is_frozen_stays_bit_by_bit_and_what_is_trained_is_shipped(
    digits: Path, adapt: str, name: str, policy: str
) -> None:
    work = recipe_for(digits, backbone=name, unfreeze=policy, adapt=adapt, goal=always_better, cache=False)
    model, row = work.backbone.model, work.backbone.row
    before = values(model)
    trained = work.run()
    changed = moved(before, values(model))
    open_layers = model.operations[freeze.first_trainable(model, row, policy) :]
    inner = [weight.path for layer in open_layers for weight in getattr(layer, "weights", [])]
    if adapt == "lora":
        dense = [layer for layer in open_layers if type(layer).__name__ == "Dense"]
        assert changed == {layer.kernel.path for layer in dense}
        expected = sum(8 * sum(layer.kernel.shape) for layer in dense)
    else:
        small = {path for path in inner if path.endswith(("gamma", "beta", "bias")) and "embedding" not in path}
        # A key's bias adds the same to all of a query's scores, which softmax takes out again.
        assert {path for path in small if "key/bias" not in path} <= changed <= small
        expected = sum(before[path].size for path in small)
    report = trained.phases[-1]
    assert f"({adapting.words(adapt)}): {expected:,} backbone weights + head" in report.trained  # type: ignore[arg-type]
    pixels = work.views.pixels(work.problem.samples, work.problem.val)
    np.testing.assert_allclose(compute.forward(trained.model)([pixels])[0], trained.val_outputs, atol=1e-4)
    assert {weight.path for weight in trained.model.weights} >= set(before)
    assert not any("lora" in weight.path for weight in trained.model.weights)


def test_additions_go_at_the_rates_of_their_layers(digits: Path) -> None:
    work = recipe_for(digits, backbone=DEIT, unfreeze="from:block1", adapt="lora", layer_decay=0.5)
    backbone = work.backbone
    first = freeze.first_trainable(backbone.model, backbone.row, "from:block1")
    found = adapting.adapted(backbone.model, first, cut(backbone.model, first).tail, "lora")  # type: ignore[arg-type]
    from transferkit.training import planning

    phase = planning.tail_phase("from:block1", 1, 1.0, backbone, work.settings, found)
    rates = {addition.dense.name: phase.factors[addition.layer.up.path] for addition in found.additions}
    assert rates["block2_query"] == 1.0
    assert rates["block1_query"] < 1.0


def test_where_nothing_could_be_adapted_that_is_said_before_anything_is_written(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(
        BackboneError, match=r"--adapt lora has no effect with --unfreeze from:block4: there are no dense"
    ):
        tk.finetune(digits, "mini", output=tmp_path / "run", unfreeze="from:block4", adapt="lora", quiet=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(BackboneError, match="BatchNorms, which are frozen; add --batchnorm train"):
        tk.finetune(digits, "mini", head="linear", unfreeze="all", adapt="norms", output=tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match="--adapt norms has no effect with --unfreeze none"):
        recipe_for(digits, adapt="norms")
    with pytest.raises(ConfigError, match="--batchnorm train has no effect with --adapt lora"):
        recipe_for(digits, unfreeze="all", adapt="lora", batchnorm="train")


@pytest.mark.extended
def test_norms_of_a_convolutional_network_are_those_that_batchnorm_lets_train(digits: Path) -> None:
    work = recipe_for(digits, unfreeze="from:block4", adapt="norms", batchnorm="train", goal=always_better, cache=False)
    before = values(work.backbone.model)
    work.run()
    changed = moved(before, values(work.backbone.model))
    assert changed
    assert not any(path.endswith("kernel") for path in changed)
    assert any(path.endswith("gamma") for path in changed)
