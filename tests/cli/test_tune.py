"""`transferkit tune` as people type it."""

import json
import sys

import pytest

from tests.cli.calls import call, spawn


def test_help_names_every_algorithm_and_needs_no_tensorflow():
    result = spawn("tune", "--help-all", env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin", "KERAS_BACKEND": "none"})
    assert result.returncode == 0
    for word in ("grid", "random", "bayesian", "hyperband", "--search", "--folds", "--workers", "--resume", "Example:"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--weights", "a.h5"), "--weights a.h5 needs --backbone"),
        (("--backbone", "vgg61"), "'vgg16'"),
        (("--backbone", "mini", "--search", "lerning_rate=1e-3:1e-2"), "learning_rate"),
        (("--backbone", "mini", "--search", "dropout=0:0.5", "--space", "x.toml"), "--search and --space"),
        (("--backbone", "mini", "--algorithm", "bayes"), "--algorithm bayes"),
        (("--backbone", "mini", "--trials", "0"), "--trials 0"),
        (("--backbone", "mini", "--resume"), "--resume needs --output"),
        (("--backbone", "mini", "--engine", "local", "--address", "auto"), "--address has no effect"),
    ],
)
def test_what_cannot_be_is_refused_at_once(digits, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    result = call("tune", digits, *options, "--offline")
    assert result.code == 2, result.err
    assert message in result.err
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("tune",), ("best", "--budget", "1m")])
def test_that_ray_is_not_installed_is_told_with_all_else(words, digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = call(*words, digits, "--engine", "ray", "--metric", "acuracy", "--output", tmp_path / "x", "--offline")
    assert result.code == 2
    assert "--engine ray needs Ray, which is not installed; pip install 'transferkit[ray]'" in result.err
    assert "accuracy" in result.err
    assert not (tmp_path / "x").exists()


def test_all_problems_are_told_at_once(digits, tmp_path):
    wrong = ("--backbone", "vgg61", "--trials", "0", "--metric", "acuracy")
    result = call("tune", digits, *wrong, "--output", tmp_path / "x")
    assert result.code == 2
    assert all(word in result.err for word in ("vgg16", "--trials 0", "accuracy"))


def test_a_search_prints_its_verdict_and_json(digits, tmp_path, unpublished):
    arguments = (
        "tune",
        digits,
        "--backbone",
        "mini",
        "--offline",
        "--augment",
        "none",
        "--epochs",
        "2",
        "--patience",
        "1",
    )
    arguments += ("--search", "head_width=8,16", "--seeds", "1", "--output", tmp_path / "run", "--quiet")
    result = call(*arguments)
    assert result.code == 0, result.err
    assert "grid: 2 trials" in result.out, "so few combinations are all tried"
    assert "winner: trial" in result.out or "winner: the default" in result.out
    again = call(*arguments, "--resume", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["search"]["trials"] == 2
    refused = call(*arguments)
    assert refused.code == 2
    assert "holds a search" in refused.err


@pytest.mark.extended
def test_several_backbones_are_a_setting(digits, tmp_path, unpublished):
    arguments = ["--backbone", "mini", "--backbone", "mobilenet_0.25", "--weights", "random", "--image-size", "32"]
    arguments += ["--search", "learning_rate=0.001,0.01", "--offline", "--augment", "none", "--epochs", "2"]
    arguments += ["--patience", "1", "--seeds", "1", "--json", "--exclude", "[4-9]/*"]
    result = call("tune", digits, *arguments, "--output", tmp_path / "run")
    assert result.code == 0, result.err
    assert json.loads(result.out)["search"]["trials"] == 4
