"""`finetune --dry-run` says what a run does, and does nothing of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from tests.backbones.foundation.parity import FIXTURES
from tests.cli.calls import call, tree
from tests.data.pictures import folder_of_classes
from transferkit.errors import ConfigError, DataError
from transferkit.runs.plan import DryRun

COMMON: dict[str, Any] = {"epochs": 2, "views": 1, "head_width": 8, "batch_size": 8, "quiet": True}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return folder_of_classes(tmp_path / "pictures", {"a": 20, "b": 20})


@pytest.mark.slow
@pytest.mark.usefixtures("unpublished")
def test_the_plan_is_what_the_run_then_does(
    pictures: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tk.finetune(pictures, "mini", output=tmp_path / "run", unfreeze="last:1", dry_run=True, **COMMON)
    assert isinstance(plan, DryRun)
    assert not (tmp_path / "run").exists()
    assert {path.split("/")[-2] for path in tree(cache)} <= {"precision"}
    capsys.readouterr()
    spoken = {**COMMON, "quiet": False}
    run = tk.finetune(pictures, "mini", output=tmp_path / "run", unfreeze="last:1", **spoken)
    assert any(line.startswith("6 test pictures: a score") for line in capsys.readouterr().err.splitlines()[:4])
    assert plan.parts == run.manifest["data"]["parts"]
    assert (plan.pictures, plan.classes) == (40, {"a": 20, "b": 20})
    assert [phase.parameters for phase in plan.outlook.phases] == [p["parameters"] for p in run.manifest["phases"]]
    steps = -(-plan.parts["train"] // 8) * 2
    assert [phase.steps for phase in plan.outlook.phases] == [steps, steps]
    rows = 2 * plan.parts["train"] + plan.parts["val"]
    assert [(kind.rows, kind.cached) for kind in plan.outlook.stored] == [(rows, 0), (rows, 0)]
    stored = sum(len(content) for path, content in tree(cache / "features").items() if path.endswith(".npy"))
    assert stored == pytest.approx(plan.needed, rel=0.1, abs=4096)
    again = tk.finetune(pictures, "mini", output=tmp_path / "b", unfreeze="last:1", dry_run=True, **COMMON)
    assert [kind.cached for kind in again.outlook.stored] == [rows, rows]
    assert again.needed == again.outlook.features == 0
    assert again.frozen_layers == again.layers - 1


@pytest.mark.extended
def test_of_a_vision_transformer_tokens_and_what_is_adapted_are_said(pictures: Path, tmp_path: Path) -> None:
    plan = tk.finetune(
        pictures, str(FIXTURES / "dinov2_registers"), output=tmp_path / "run", image_size=56, unfreeze="from:block2",
        adapt="lora", head="linear", dry_run=True, epochs=2, views=1, batch_size=8, quiet=True,
    )  # fmt: skip
    assert plan.tokens == 4 * 4 + 5
    text = " ".join(str(plan).split())
    assert "looks at 56×56 pixels, 21 tokens" in text
    assert "LoRA of rank 8 in the layers from block2_norm1 on" in text
    head, tail = plan.outlook.phases
    dense = 4 * 8 * (32 + 32) + 2 * 8 * (32 + 128)
    assert tail.parameters == head.parameters + dense


def test_from_the_command_line(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    common = ("finetune", pictures, "--backbone", "mini", "--epochs", 2, "--dryrun")
    said = call(*common)
    assert said.code == 0, said.err
    assert all(len(line) < 80 for line in said.out.splitlines() if str(tmp_path) not in line)
    for words in ("nothing has been trained", "40 pictures", "28 train, 6 validation, 6 test", "6 test pictures",
                  "the whole network", "the head", "none of them in the cache", "(not made)"):  # fmt: skip
        assert words in " ".join(said.out.split())
    found = json.loads(call(*common, "--json", "--no-cache").out)
    assert (found["cache"], found["needed"]) == (None, 0)
    assert found["seconds"] >= found["outlook"]["features"] > 0
    assert not (tmp_path / "runs").exists()


def test_what_is_wrong_fails_as_in_the_real_run(pictures: Path, tmp_path: Path) -> None:
    (pictures / "a" / "bad.png").write_text("no picture")
    for settings, kind in (({"epochs": 0}, ConfigError), ({}, DataError), ({"unfreeze": "last:999"}, ConfigError)):
        told = []
        for dry in (True, False):
            with pytest.raises((ConfigError, DataError)) as caught:
                tk.finetune(pictures, "mini", output=tmp_path / "run", dry_run=dry, quiet=True, **settings)
            told.append((type(caught.value), str(caught.value)))
        assert told[0] == told[1]
        assert issubclass(told[0][0], kind)
    with pytest.raises(ConfigError, match="--dry-run says"):
        tk.finetune(pictures, "mini", output=tmp_path / "run", dry_run=True, resume=True, quiet=True)


def test_weights_that_are_not_here_are_named_and_not_fetched(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr("transferkit.backbones.weights.fetch", None)
    plan = tk.finetune(pictures, "mobilenet_0.25", output=tmp_path / "run", image_size=32, dry_run=True, **COMMON)
    assert "is to be fetched" in plan.weights
    assert not (tmp_path / "keras").exists()
