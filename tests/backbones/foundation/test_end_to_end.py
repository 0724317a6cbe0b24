"""One network of the hub's form through the product: features, tail, card, file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.backbones.foundation.parity import FIXTURES
from transferkit.delivery.explain import overlays


def pictures(folder: Path) -> Path:
    noise = np.random.default_rng(0)
    for colour in range(2):
        (folder / f"c{colour}").mkdir(parents=True)
        for i in range(12):
            pixels = noise.integers(0, 120, (40, 40, 3))
            pixels[..., colour] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"c{colour}" / f"{i}.png")
    return folder


def finetuned(folder: Path, name: str, **settings: Any) -> tk.Run:
    """A run of the small network `name` on the pictures in FOLDER/data."""
    shutil.copytree(FIXTURES / name, folder / "tiny")
    data, backbone, output = pictures(folder / "data"), str(folder / "tiny"), str(folder / "run")
    return tk.finetune(str(data), backbone=backbone, augment="none", output=output, seed=0, **settings)


@pytest.mark.extended
@pytest.mark.slow
def test_a_run_trains_the_last_block_and_ships_plain_keras(tmp_path: Path) -> None:
    run = finetuned(tmp_path, "dinov2_registers", unfreeze="from:block2", head="linear", pooling="cls+mean", epochs=2)

    assert run.metrics["test"]["accuracy"] >= 0.75
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["weights"]["licence"] == "Apache-2.0 (Meta)"
    assert "license: apache-2.0" in (tmp_path / "run" / "CARD.md").read_text()
    picture = sorted((tmp_path / "data" / "c1").iterdir())[0]
    assert run.explain(picture).heat.max() > 0.9
    assert len(overlays(run.layout, [picture])) == 1  # in the report
    exported = run.export("onnx")
    assert exported is not None


@pytest.mark.usefixtures("unpublished")
@pytest.mark.extended
@pytest.mark.slow
@pytest.mark.parametrize(("name", "adapt"), [("dinov2_registers", "lora"), ("siglip", "all")])
def test_trained_blocks_go_on_from_the_classifier_that_was_chosen(tmp_path: Path, name: str, adapt: str) -> None:
    run = finetuned(tmp_path, name, unfreeze="from:block2", epochs=2, adapt=adapt)

    assert run.metrics["unfrozen"]["policy"] == "from:block2"
    assert ("(LoRA of rank 8)" in run.metrics["unfrozen"]["words"]) == (adapt == "lora")
    assert run.explain(sorted((tmp_path / "data" / "c0").iterdir())[0]).heat.max() > 0.9
    assert run.metrics["test"]["accuracy"] >= 0.75


@pytest.mark.usefixtures("unpublished")
@pytest.mark.extended
@pytest.mark.slow
def test_a_run_takes_siglips_own_pooling_and_trains_it(tmp_path: Path) -> None:
    run = finetuned(tmp_path, "siglip", head="linear", pooling="pooler", unfreeze="from:pooler", epochs=2)

    model = keras.saving.load_model(run.layout.model, safe_mode=True)
    network = next(layer for layer in model.layers if hasattr(layer, "layers") and layer.name != "head")
    assert network.output_shape == (None, 32)
    assert any(layer.name == "pooler_scores" for layer in network.layers)
    assert run.evaluate()["loss"] == pytest.approx(run.metrics["test"]["loss"], abs=1e-5)
    assert run.explain(sorted((tmp_path / "data" / "c1").iterdir())[0]).heat.max() > 0.9
    assert run.export("onnx") is not None
    assert run.reproduce(output=tmp_path / "again").same


@pytest.mark.usefixtures("unpublished")
@pytest.mark.extended
@pytest.mark.slow
def test_pooling_that_is_learnt_goes_from_stored_tokens_into_the_file(tmp_path: Path) -> None:
    run = finetuned(tmp_path, "dinov2_registers", head="linear", pooling="attention", image_size=56, epochs=3)

    assert run.evaluate()["loss"] == pytest.approx(run.metrics["test"]["loss"], abs=1e-5)
    assert run.metrics["baselines"]["linear_probe"]["accuracy"] >= 0.5  # of the tokens' average
    model = keras.saving.load_model(run.layout.model, safe_mode=True)
    trained = [layer for layer in model._flatten_layers() if layer.name == "attention_scores"]
    assert np.abs(np.asarray(trained[0].kernel)).max() > 0
    picture = sorted((tmp_path / "data" / "c1").iterdir())[0]
    assert run.explain(picture).label == run.predict(picture)[0].label
