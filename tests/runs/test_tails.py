"""`--unfreeze` starts layers from the chosen linear classifier; they are shipped only where they beat the frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.marks import extended
from transferkit import compute
from transferkit.backbones.build import build
from transferkit.console import Reporter
from transferkit.csv_files import read_csv
from transferkit.data.images.decode import DecodeSettings
from transferkit.data.source import scan
from transferkit.evaluation import metrics
from transferkit.runs import model_file, scoring, tails

TAIL: dict[str, Any] = {"unfreeze": "from:block4", "views": 1, "epochs": 3, "patience": 2, "quiet": True}


def of_network(run: Any) -> dict[str, Any]:
    """Weights by layer of the network in a run's file."""
    model = model_file.load(run.layout.model)
    inner = {layer.name: layer for layer in model._flatten_layers() if layer.weights and not hasattr(layer, "layers")}
    return {name: compute.values(layer.weights) for name, layer in inner.items()}


def changed(run: Any) -> set[str]:
    """Layers of the network that are not as they came."""
    found, came = of_network(run), build("mini").model
    return {
        layer.name
        for layer in came.layers
        if layer.weights and layer.name in found
        and any((a != b).any() for a, b in zip(found[layer.name], compute.values(layer.weights), strict=True))
    }  # fmt: skip


def decided(folder: Path, digits: Path, gain: float) -> Any:
    """A run whose tail is taken to be better by `gain`, with a standard error of 0.01."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(folder / "cache"))
        patch.setenv("TRANSFERKIT_STATE", str(folder / "state"))
        patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)  # drawn where it is read
        patch.setattr(tails, "behind", lambda *_: (gain, 0.01))
        return tk.finetune(digits, "mini", output=folder / "run", **TAIL)


@pytest.fixture(scope="module")
def frozen_kept(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Any:
    """The tail is taken for no better. Shared: read only."""
    return decided(tmp_path_factory.mktemp("frozen"), digits, 0.0)


@pytest.fixture(scope="module")
def tail_kept(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Any:
    """The tail is taken for better than it is. Shared: read only."""
    return decided(tmp_path_factory.mktemp("tail"), digits, 0.02)


@pytest.mark.extended
def test_layers_that_bring_nothing_are_not_shipped_and_that_is_said(frozen_kept: Any) -> None:
    found = frozen_kept.metrics["unfrozen"]
    assert not found["shipped"]
    assert frozen_kept.metrics["val"]["accuracy"] == pytest.approx(found["frozen"])
    assert [phase["name"] for phase in frozen_kept.manifest["phases"]] == ["mlp", "head", "tail"]
    assert frozen_kept.manifest["chosen"] in ("head", "mlp")
    row = frozen_kept.metrics["candidates"][-1]
    assert (row["name"], row["chosen"], row["judged_on"]) == ("linear on tuned", False, "validation")
    assert sum(row["chosen"] for row in frozen_kept.metrics["candidates"]) == 1
    assert not changed(frozen_kept)
    text = " ".join(frozen_kept.summary().split())
    assert "from:block4" in text
    assert "no clear gain" in text


def test_the_report_says_so_too(frozen_kept: Any) -> None:
    page = " ".join(Path(frozen_kept.report()).read_text("utf-8").split())
    assert "no clear gain" in page


def test_layers_that_are_better_are_shipped_as_validation_judged_them(tail_kept: Any, digits: Path) -> None:
    assert tail_kept.manifest["chosen"] == "tail"
    assert tail_kept.manifest["learnt_from"] == "train"
    assert tail_kept.metrics["unfrozen"]["shipped"]
    assert [row["name"] for row in tail_kept.metrics["candidates"] if row["chosen"]] == ["linear on tuned"]
    names = changed(tail_kept)
    assert names
    assert not any(name.startswith(("block1", "block2", "block3")) for name in names)
    samples = scan(digits)
    val = {row["path"] for row in read_csv(tail_kept.folder / "splits.csv") if row["split"] == "val"}
    samples = samples.select([i for i, path in enumerate(samples.paths) if path in val])
    model = model_file.load(tail_kept.layout.model)
    answers = scoring.predictions(model, samples, DecodeSettings(32), Reporter(quiet=True), "val")
    found = metrics.score("classify", samples.targets, answers, samples.classes)
    assert found["accuracy"] == pytest.approx(tail_kept.metrics["unfrozen"]["score"])
    assert found["loss"] == pytest.approx(tail_kept.metrics["val"]["loss"], abs=1e-4)
    assert "a clear gain" in " ".join(tail_kept.summary().split())


def test_training_starts_from_the_chosen_linear_classifier(tail_kept: Any) -> None:
    """Its first epoch is not that of a head that knows nothing."""
    first = next(row for row in tail_kept.history if row["phase"] == "tail")
    assert float(first["val_accuracy"]) > 0.7


@pytest.mark.usefixtures("unpublished")
@pytest.mark.extended
def test_what_is_left_to_choose_goes_by_the_rule(digits: Path, tmp_path: Path) -> None:
    run = tk.finetune(digits, "mini", output=tmp_path / "run", **TAIL)
    found = run.metrics["unfrozen"]
    assert found["shipped"] == (found["gain"] > found["gain_se"])
    assert run.metrics["val"]["accuracy"] >= found["frozen"] - 1e-9


@pytest.mark.usefixtures("unpublished")
@pytest.mark.extended
@pytest.mark.parametrize("policy", extended(["from:block4", "all", "gradual"], ["all", "gradual"]))
def test_a_tail_that_is_refitted_learns_validation_pictures_too(
    policy: str, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "behind", lambda *_: (0.02, 0.01))
    run = tk.finetune(digits, "mini", output=tmp_path / "run", **{**TAIL, "unfreeze": policy}, refit="train+val")
    assert run.manifest["learnt_from"] == "train+val"
    assert any("trained again on training and validation pictures" in note for note in run.manifest["notes"])
    assert run.metrics["test"]["accuracy"] > 0.5


@pytest.mark.usefixtures("unpublished")
@pytest.mark.extended
def test_without_time_for_it_the_frozen_choice_is_shipped(digits: Path, tmp_path: Path) -> None:
    more = {key: value for key, value in TAIL.items() if key != "epochs"}
    run = tk.finetune(digits, "mini", output=tmp_path / "run", **{**more, "patience": 1}, budget=0.01)
    assert "unfrozen" not in run.metrics
    assert any("time budget was spent" in note for note in run.manifest["notes"])
    assert not changed(run)


@pytest.mark.usefixtures("unpublished")
def test_numbers_go_by_the_same_rule(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 60, (60, 32, 32, 3)).astype(np.uint8)
    values = rng.random(60)
    pictures[:, :16, :, 0] += (150 * values)[:, None, None].astype(np.uint8)
    run = tk.finetune(
        tk.load_data((pictures, values), task="regress"), "mini", output=tmp_path / "run", augment="none",
        unfreeze="last:1", epochs=2, patience=1, quiet=True,
    )  # fmt: skip
    found = run.metrics["unfrozen"]
    assert run.metrics["val"]["mae"] <= found["frozen"] * (1 + 1e-6)  # by another path, in float32
