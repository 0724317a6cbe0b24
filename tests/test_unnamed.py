"""A run without `--backbone`: the network is chosen, said, recorded as if given, and taken again on --resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from transferkit.config import Settings, make
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import Manifest, command_line
from transferkit.tuning.journal import Journal

from .cli.calls import call


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty weights folder, and a folder to work in."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Layout, Settings]]:
    """The runs that would be made, instead of making them."""
    found: list[tuple[Layout, Settings]] = []
    monkeypatch.setattr("transferkit.api.train._finetune", lambda job, _: found.append((job.layout, job.settings)))
    return found


def test_the_network_is_chosen_said_and_becomes_a_setting(begun: list[Any], digits: Path, capsys: Any) -> None:
    tk.finetune(digits, epochs=3)
    ((layout, settings),) = begun
    assert (settings.backbone, layout.folder.name) == ("mini", "digits-mini")
    said = capsys.readouterr().err.splitlines()[1]
    assert "backbone: mini, because the pictures have 32 pixels" in said
    assert said.endswith(f"others: transferkit backbones recommend {digits}")
    assert f"finetune {digits} --backbone mini --epochs 3" in command_line(str(digits), settings, "x")


def test_arrays_loaded_data_and_config_files_choose_too(begun: list[Any], digits: Path, tmp_path: Path) -> None:
    pictures = np.zeros((6, 90, 80, 3), np.uint8)
    tk.finetune((pictures, [0, 1] * 3), quiet=True)
    tk.finetune(tk.load_data(digits), quiet=True)
    (tmp_path / "run.toml").write_text("image_size = 96\n")
    call("finetune", digits, "--config", tmp_path / "run.toml")
    assert [settings.backbone for _, settings in begun] == ["efficientnet_lite0", "mini", "efficientnet_lite0"]


def test_what_is_excluded_is_not_measured_and_no_hindrance(begun: list[Any], digits: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("3", "4"):
        (tmp_path / "data" / name).symlink_to(digits / name)
    (tmp_path / "data" / "loose.png").write_bytes(b"")
    call("finetune", tmp_path / "data", "--exclude", "loose.png")
    assert [settings.backbone for _, settings in begun] == ["mini"]


def test_data_that_cannot_be_read_is_all_that_is_said(tmp_path: Path) -> None:
    result = call("finetune", tmp_path / "absent")
    assert result.code == 2
    assert result.err.splitlines()[1].startswith("error: ")
    assert "does not exist" in result.err


def test_a_resumed_run_keeps_its_network(begun: list[Any], digits: Path, tmp_path: Path, capsys: Any) -> None:
    layout = Layout(tmp_path / "run")
    Manifest.start(layout, str(digits), make({"backbone": "mobilenet_0.25", "weights": "random"}), "x").write()
    tk.finetune(digits, output=layout.folder, resume=True, weights="random")
    assert begun[0][1].backbone == "mobilenet_0.25"
    assert "backbone: mobilenet_0.25, as the run was begun with" in capsys.readouterr().err
    # Another one is refused by name, as ever.
    assert "backbone: mobilenet_0.25 then, mini now" in call(
        "finetune", digits, "--resume", "--output", layout.folder, "--weights", "random", "--backbone", "mini"
    ).err  # fmt: skip


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, str]]:
    """Base settings and command of the searches that would be made."""
    found: list[tuple[Settings, str]] = []
    monkeypatch.setattr("transferkit.tuning.tune.SearchJob.run", lambda self: found.append((self.base, self.command)))
    monkeypatch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
    return found


def test_a_search_chooses_and_keeps_its_network(searched: list[Any], digits: Path, tmp_path: Path, capsys: Any) -> None:
    tk.tune(digits, output=tmp_path / "search")
    assert "backbone: mini, because " in capsys.readouterr().err
    (tmp_path / "old").mkdir()
    base = make({"backbone": "efficientnet_lite0"}).model_dump(mode="json")
    Journal.open(Layout(tmp_path / "old").journal, {"settings": base}, resume=False).close()
    tk.tune(digits, output=tmp_path / "old", resume=True, quiet=True)
    tk.tune(digits, ["vgg16", "mini"], weights="random", output=tmp_path / "named", quiet=True)
    assert [base.backbone for base, _ in searched] == ["mini", "efficientnet_lite0", "vgg16"]
    assert " --backbone mini " in searched[0][1]
