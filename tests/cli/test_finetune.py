"""No option is silently ignored: each changes what training does, or is refused (see test_bad_input)."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from transferkit.config import Settings
from transferkit.runs.layout import Layout

pytestmark = pytest.mark.usefixtures("one_cache")
BASE: dict[str, Any] = {"epochs": 2, "views": 1, "head_width": 8, "batch_size": 16}
TAIL = {"unfreeze": "from:block3"}
CHANGES: dict[str, dict[str, Any]] = {
    "weights": {"weights": "random"},
    "image-size": {"image_size": 48},
    "resize": {"resize": "crop"},
    "unfreeze": {"unfreeze": "last:1"},
    "batchnorm": {"batchnorm": "train", **TAIL},
    "layer-decay": {"layer_decay": 0.1, **TAIL},
    "head": {"head": "linear", "head_width": None},
    "head-width": {"head_width": "8,8"},
    "dropout": {"dropout": 0.0},
    "l1": {"l1": 0.01},
    "l2": {"l2": 0.01},
    "pooling": {"pooling": "gem"},
    "augment": {"augment": "strong"},
    "views": {"views": 2},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "label-smoothing": {"label_smoothing": 0.0},
    "optimizer": {"optimizer": "momentum"},
    "learning-rate": {"learning_rate": 0.01},
    "weight-decay": {"weight_decay": 0.5},
    "schedule": {"schedule": "constant"},
    "batch-size": {"batch_size": 8},
    "epochs": {"epochs": 3},
    "class-weights": {"class_weights": "balanced"},
    "precision": {"precision": "bfloat16"},
    "split": {"split": ".6,.2,.2"},
    "seed": {"seed": 1},
    "ema": {"ema": False},
    "normalize": {"normalize": False},
}
# How each of the others takes effect is tested where it belongs.
ELSEWHERE = {
    "adapt": "tests/training/test_adapting.py",
    "unlabeled": "tests/runs/test_pool.py",
    "backbone": "tests/backbones", "scaling": "test_a_network_of_ones_own", "task": "test_regression…",
    "classes": "tests/tasks/test_ordinal_run.py",
    "loss": "below", "metric": "below", "patience": "below", "budget": "below",
    "folds": "test_folds_and_no_test_split", "exclude-file": "test_what_is_unreadable_or_excluded…",
    "exclude": "test_what_is_unreadable_or_excluded…", "on-bad-file": "test_what_is_unreadable_or_excluded…",
    **dict.fromkeys(
        ("reader", "image-column", "label-column", "group-column", "split-column", "path-template", "label-delimiter",
         "crop-boxes"), "tests/data/readers/test_hostile_forms.py",
    ),
    "frames": "tests/data/readers/test_frames.py", "class-level": "tests/data/readers/test_layouts.py",
    "intensity": "tests/data/images/test_decode.py",
    "max-latency": "tests/runs/test_limits.py", "max-size": "tests/runs/test_limits.py",
    "random-baseline": "tests/runs/test_random_baseline.py", "refit": "tests/runs/test_refit.py",
}  # fmt: skip


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three digits, not equally many of each, not square."""
    from PIL import Image

    from transferkit.data.digits import digit_pictures

    root = tmp_path_factory.mktemp("few")
    for name, pixels in digit_pictures(14).items():
        digit, number = name[0], int(name[4:8])
        if digit in "137" and (digit != "7" or number < 9):
            (root / digit).mkdir(exist_ok=True)
            Image.fromarray(pixels).resize((40, 32)).save(root / name)
    return root


class EnoughError(Exception):
    """Training is done: what follows is the same for all options."""


def history(few: Path, folder: Path, **changes: Any) -> list[tuple[Any, ...]]:
    """Phase, loss and validation loss of every epoch; the run ends after training."""

    def enough(*_: Any) -> None:
        raise EnoughError

    settings = {k: v for k, v in {**BASE, **changes}.items() if v is not None}
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(EnoughError):
        patch.setattr("transferkit.runs.packaging.Packaging.ship", enough)
        tk.finetune(few, "mini", output=folder, quiet=True, **settings)
    return [(row["phase"], row["loss"], row["val_loss"]) for row in Layout(folder).read_history()]


@pytest.fixture(scope="module")
def bases(few: Path, tmp_path_factory: pytest.TempPathFactory, store: Path) -> dict[bool, list[tuple[Any, ...]]]:
    """What training the head alone, and head and tail, gives without the option."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(store))
        folder = tmp_path_factory.mktemp("base")
        return {True: history(few, folder / "tail", **TAIL), False: history(few, folder / "head")}


Bases = dict[bool, list[tuple[Any, ...]]]


def test_the_same_settings_give_the_same_numbers(few: Path, tmp_path: Path, bases: Bases) -> None:
    assert history(few, tmp_path / "run", **TAIL) == bases[True]
    assert bases[True][:2] == bases[False]


@pytest.mark.slow
@pytest.mark.parametrize("option", CHANGES)
def test_the_option_takes_effect(option: str, few: Path, tmp_path: Path, bases: Bases) -> None:
    changes = CHANGES[option]
    found, before = history(few, tmp_path / "run", **changes), bases[TAIL.items() <= changes.items()]
    assert found
    assert found != before


def test_every_option_is_covered() -> None:
    names = {name.replace("_", "-") for name in Settings.model_fields}
    assert names == CHANGES.keys() | ELSEWHERE.keys()


def test_patience_and_budget_end_a_phase(few: Path, tmp_path: Path) -> None:
    common = {"views": None, "augment": "none"}
    patient = history(few, tmp_path / "a", epochs=40, patience=1, learning_rate=1.0, ema=False, **common)
    assert len(patient) < 40
    assert len(history(few, tmp_path / "b", epochs=3000, budget="1s", **common)) < 3000


@pytest.mark.usefixtures("unpublished")
def test_the_metric_decides_and_is_named(few: Path, tmp_path: Path) -> None:
    run = tk.finetune(few, "mini", output=tmp_path / "run", quiet=True, metric="loss", **BASE)
    assert run.metrics["goal"] == "loss"
    best = min(run.history, key=lambda row: row["val_loss"])
    assert run.manifest["phases"][0]["best_epoch"] == best["epoch"]


def test_the_loss_of_regression_takes_effect(few: Path, tmp_path: Path) -> None:
    rows = [f"{path},{path.parent.name}" for path in sorted(few.rglob("*.png"))]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *rows]))
    common = {"task": "regress"}
    found = [history(tmp_path / "t.csv", tmp_path / loss, loss=loss, **common) for loss in ("squared", "absolute")]
    assert found[0] != found[1]


@pytest.mark.usefixtures("unpublished")
def test_options_override_the_config_file(few: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('backbone = "mini"\nepochs = 5\nhead_width = [8]\naugment = "none"\nseed = 3\n')
    arguments = ("--config", tmp_path / "run.toml", "--epochs", 1, "--no-cache", "--output", tmp_path / "run", "--json")
    result = call("finetune", few, *arguments)
    assert result.code == 0, result.err
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    config = manifest["config"]
    assert (config["epochs"], config["head_width"], config["seed"]) == (1, [8], 3)
    assert "--epochs 1" in manifest["command"]
    assert "--head-width 8" in manifest["command"]
    assert np.isfinite(json.loads(result.out)["test"]["accuracy"])


@pytest.mark.usefixtures("unpublished")
def test_without_output_a_free_name_is_taken(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / f"{few.name}-mini").mkdir(parents=True)
    arguments = ("--backbone", "mini", "--epochs", 1, "--augment", "none", "--head-width", 4, "--json")
    assert json.loads(call("finetune", few, *arguments).out)["run"] == f"runs/{few.name}-mini-2"
