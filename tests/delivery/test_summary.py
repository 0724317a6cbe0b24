"""The closing summary says what a person needs, and no more than is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from transferkit.delivery.summary import summary
from transferkit.errors import RunError
from transferkit.runs.layout import Layout


def run(folder: Path, **changes: Any) -> Layout:
    """A run directory of numbers alone. `changes` go to metrics, or with `run_` in front to the manifest."""
    phase = {"name": "head", "trained": "head only", "parameters": 1234, "epochs": 1, "best_epoch": 1, "score": 0.9,
             "loss": 0.3, "seconds": 1.5, "source": "cached"}  # fmt: skip
    manifest = {
        "status": "complete", "command": "transferkit finetune x", "config": {"backbone": "vgg16", "unfreeze": "none"},
        "data": {"path": "/data/flowers", "n": 300, "parts": {"train": 210, "val": 45, "test": 45}},
        "weights": {"source": "imagenet"}, "phases": [phase], "chosen": "head", "timings": {"total": 75.0},
    }  # fmt: skip
    metrics = {
        "task": "classify", "classes": ["iris", "rose"], "goal": "accuracy",
        "test": {"n": 45, "accuracy": 0.9, "accuracy_ci95": [0.8, 0.95]}, "test_uses": {"run": 1},
        "baselines": {"majority": {"accuracy": 0.5}, "linear_probe": {"accuracy": 0.85}},
        "diagnosis": {"state": "overfitting", "evidence": ["a gap"], "remedies": [{"why": "more", "command": "cmd"}]},
    }  # fmt: skip
    for name, value in changes.items():
        target = manifest if name.startswith("run_") else metrics
        target[name.removeprefix("run_")] = value
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(manifest))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return Layout(folder)


def lines(text: str, label: str) -> list[str]:
    return [line.removeprefix(f"{label:<10} ") for line in text.splitlines() if line.startswith(f"{label:<10} ")]


def test_it_reads_well(tmp_path: Path) -> None:
    text = summary(run(tmp_path / "run"))
    assert lines(text, "Data") == ["/data/flowers: 300 pictures, 2 classes; 210 train, 45 val, 45 test"]
    assert lines(text, "Network") == ["vgg16, ImageNet weights; frozen, a new head was trained on it"]
    (phase,) = lines(text, "Phase")
    assert phase.endswith("accuracy 0.900 on validation; 1,234 weights, 1 epoch (best: 1), 1.5 s")
    assert lines(text, "Test") == ["accuracy 0.900 (95 % interval 0.800 to 0.950) on 45 pictures never used before"]
    assert lines(text, "Diagnosis") == ["overfitting: a gap"]
    assert lines(text, "Try") == ["more:"]
    assert lines(text, "Time") == ["1 min 15 s"]


def test_a_baseline_within_the_interval_is_no_gain(tmp_path: Path) -> None:
    majority, probe = lines(summary(run(tmp_path / "run")), "Baseline")
    assert majority == "0.500  always the most frequent class"
    assert "no clear difference" in probe


@pytest.mark.parametrize(
    ("task", "name", "score", "better", "worse"),
    [
        ("classify", "accuracy", 0.9, 0.97, 0.5),
        ("multilabel", "map", 0.9, 0.97, 0.5),
        ("regress", "mae", 3.0, 1.0, 9.0),
    ],
)
def test_a_better_baseline_is_admitted(
    task: str, name: str, score: float, better: float, worse: float, tmp_path: Path
) -> None:
    test = {"n": 45, name: score, f"{name}_ci95": [score - 0.05, score + 0.05]}
    baselines = {"linear_probe": {name: better}, "nearest_neighbours": {name: worse}}
    found = lines(summary(run(tmp_path / "run", task=task, test=test, baselines=baselines, goal=name)), "Baseline")
    assert "the training lost against it" in found[0]
    assert "←" not in found[1]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("all", "trained from its first layer"),
        ("from:block5", "trained from block5 up"),
        ("last:1", "its last 1 layer trained"),
        ("last:3", "its last 3 layers trained"),
        ("gradual", "stage by stage"),
    ],
)
def test_what_was_trained(policy: str, words: str, tmp_path: Path) -> None:
    text = summary(run(tmp_path / "run", run_config={"backbone": "vgg16", "unfreeze": policy}))
    assert words in lines(text, "Network")[0]


def test_missing_parts(tmp_path: Path) -> None:
    layout = run(tmp_path / "run", test={"n": 0}, baselines={}, diagnosis={})
    text = summary(layout)
    assert "unknown" in lines(text, "Test")[0]
    assert not lines(text, "Baseline")
    assert not lines(text, "Diagnosis")
    undefined = {"n": 3, "map": None}
    assert "undefined" in summary(run(tmp_path / "two", task="multilabel", test=undefined))


def test_names_cannot_break_lines(tmp_path: Path) -> None:
    data = {"path": "/data/a\nTest 1.000", "n": 1, "parts": {"train": 1}, "skipped": [{"path": "x", "reason": "y"}]}
    text = summary(run(tmp_path / "run", run_data=data))
    assert "/data/a\\nTest 1.000: 1 picture" in text
    assert "1 picture could not be read" in text


def test_an_unfinished_run_has_no_summary(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is running, not complete; finish it with:\n  transferkit finetune x --resume"):
        summary(run(tmp_path / "run", run_status="running"))


def against(gain: float, p: float, key: str = "accuracy") -> dict[str, Any]:
    return {"against": {key: {"gain": gain, "low": gain - 0.05, "high": gain + 0.05, "p": p}}}


def test_a_baseline_wins_only_with_evidence_on_the_same_pictures(tmp_path: Path) -> None:
    assert not lines(summary(run(tmp_path / "none")), "Note")
    # 26 against 24 of 36: nothing that two pictures could not turn.
    near = {"linear_probe": {"accuracy": 26 / 36, **against(-2 / 36, 0.6)}}
    test = {"n": 36, "accuracy": 24 / 36, "accuracy_ci95": [0.5, 0.8]}
    text = summary(run(tmp_path / "near", test=test, baselines=near))
    assert "a baseline wins" not in text
    assert lines(text, "Baseline") == [
        "0.722  linear probe on the pretrained features  ← no clear difference (p = 0.6)"
    ]
    clear = {
        "majority": {"accuracy": 0.5, **against(0.4, 1e-9)},
        "linear_probe": {"accuracy": 0.95, **against(-0.05, 0.004)},
        "nearest_neighbours": {"accuracy": 0.93, **against(-0.03, 0.06)},
    }
    text = summary(run(tmp_path / "clear", baselines=clear))
    # Three baselines: Holm's method leaves the second without evidence.
    assert lines(text, "Note") == [
        "a baseline wins: the simplest classifier on the same network (linear probe) is better than this model (0.950 against 0.900; p = 0.008, in pairs on the same "
        "pictures)"
    ]
    assert [line.partition("←")[2] for line in lines(text, "Baseline")] == [
        "",
        " better: the training lost against it (p = 0.008)",
        " no clear difference (p = 0.06)",
    ]


def test_runs_without_pairs_say_no_more_than_their_interval(tmp_path: Path) -> None:
    """Runs of earlier versions hold scores alone."""
    ahead = {"linear_probe": {"accuracy": 0.93}, "nearest_neighbours": {"accuracy": 0.99}}
    text = summary(run(tmp_path / "ahead", baselines=ahead))
    assert lines(text, "Note") == [
        "a baseline wins: going by the most similar training pictures (nearest neighbours) is better than this model (0.990 against 0.900)"
    ]
    lower = {"test": {"n": 9, "mae": 3.0}, "baselines": {"majority": {"mae": 2.0}}, "task": "regress", "goal": "mae"}
    assert not lines(summary(run(tmp_path / "lower", **lower)), "Note")


def test_earlier_looks_at_the_test_pictures_are_said(tmp_path: Path) -> None:
    text = summary(run(tmp_path / "third", test_uses={"run": 3}))
    assert "never used" not in text
    assert "3rd run scored on these pictures: the best of several looks better than it is" in text
    assert "never used" not in summary(run(tmp_path / "old", test_uses=None))


def test_broken_promises_are_said_as_what_they_are(tmp_path: Path) -> None:
    rows = [
        {"accuracy": 0.95, "threshold": 0.8, "coverage": 0.7, "test_accuracy": 0.86, "test_accuracy_ci95": [0.8, 0.91]},
        {"accuracy": 0.9, "threshold": 0.7, "coverage": 0.8, "test_accuracy": 0.89, "test_accuracy_ci95": [0.83, 0.93]},
        {"accuracy": 0.99, "threshold": None, "coverage": 0.0},
    ]
    test = {"n": 200, "accuracy": 0.8, "ece": 0.06, "ece_uncalibrated": 0.04}
    worse = {"gain": -0.02, "low": -0.03, "high": -0.01, "p": 0.001}
    text = summary(run(tmp_path / "run", test=test, abstention=rows, calibration=worse, temperature=0.7, baselines={}))
    assert lines(text, "Note") == [
        "calibration on validation made the calibration error on test larger: 0.060 instead of 0.040, beyond chance",
        "answers above confidence 0.800 were to be right in 95 % and were in 86.0 % on test, 95 % interval 80.0 to "
        "91.0 %: missed beyond chance",
        "answers above confidence 0.700 were to be right in 90 % and were in 89.0 % on test, 95 % interval 83.0 to "
        "93.0 %: no clear difference from the promise",
    ]


def test_small_numbers_keep_their_digits(tmp_path: Path) -> None:
    test = {"n": 9, "mae": 1.234e-7, "mae_ci95": [1e-7, 2e-7]}
    rivals = {"majority": {"mae": 2.5e-7, **against(1.3e-7, 1e-3, "mae")}}
    text = summary(run(tmp_path / "run", task="regress", goal="mae", test=test, baselines=rivals))
    assert lines(text, "Test")[0].startswith("mean absolute error 1.23e-07 (95 % interval 1e-07 to 2e-07)")
    assert lines(text, "Baseline") == ["2.5e-07  always the median of training"]


def test_the_goal_is_said_where_it_is_another_score(tmp_path: Path) -> None:
    test = {"n": 45, "accuracy": 0.9, "roc_auc": 0.987, "roc_auc_ci95": [0.95, 0.99]}
    text = summary(run(tmp_path / "run", test=test, goal="auc"))
    assert lines(text, "Goal") == ["auc 0.987 (95 % interval 0.950 to 0.990) on the same pictures"]
    assert not lines(summary(run(tmp_path / "usual")), "Goal")
