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
    """What stands behind `label`, and below it."""
    found, inside = [], False
    for line in text.splitlines():
        inside = line.startswith(f"{label:<10} ") or (inside and line.startswith(" "))
        if inside:
            found.append(line[11:])
    return found


def test_the_answer_comes_first(tmp_path: Path) -> None:
    text = summary(run(tmp_path / "run"))
    assert text.splitlines()[0] == (
        "Result     40 of 45 test pictures right: 90.0 % (likely range 80.0 to 95.0 %, 95 % interval); never used "
        "before"
    )
    assert lines(text, "Problem") == ["it does better on training pictures than on new ones (overfitting): a gap"]
    assert lines(text, "Use") == [f"transferkit predict {tmp_path / 'run'} PICTURES"]
    for label in ("Data", "Network", "Training", "Time", "Files"):
        assert not lines(text, label), "details are for --verbose"


def test_details_on_request(tmp_path: Path) -> None:
    text = summary(run(tmp_path / "run"), verbose=True)
    assert lines(text, "Data") == ["/data/flowers: 300 pictures, 2 classes; 210 training, 45 validation, 45 test"]
    assert lines(text, "Network") == ["vgg16, ImageNet weights; frozen, with a new classifier (head) trained on it"]
    assert lines(text, "Training") == [
        "new classifier (head): accuracy 0.900 on validation; 1,234 weights, 1 epoch (best: 1), 1.5 s"
    ]
    assert lines(text, "Time") == ["1 min 15 s"]
    assert not lines(text, "Details")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_a_terminal_with_hanging_indents(width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    baselines = {
        "majority": {"accuracy": 0.5},
        "linear_probe": {"accuracy": 0.85},
        "nearest_neighbours": {"accuracy": 0.86},
    }
    layout = run(Path("run"), baselines=baselines, test_uses={"run": 3})
    whole, text = summary(layout, verbose=True), summary(layout, verbose=True, width=width)
    assert " ".join(text.split()) == " ".join(whole.split()), "wrapping changed more than spaces"
    commands = [line for line in text.splitlines() if "transferkit " in line]
    assert all(len(line) <= width for line in text.splitlines() if line not in commands)
    long = [line for line in text.splitlines() if line.startswith(" ")]
    assert long
    assert all(line.startswith(" " * 11) for line in long)
    assert "\n                   " in text or width > 80, "a baseline's words stand below each other"
    assert len(summary(layout, width=80).splitlines()) <= 20


def test_advice_is_short_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = "transferkit finetune flowers --backbone vgg16 --unfreeze none --epochs 5 --dropout 0.1"
    remedies = [
        {"why": "a smaller head", "command": f"{given} --head-width 64"},
        {"why": "more dropout", "command": given.replace("0.1", "0.5")},
        {"why": "look", "command": "transferkit data summary flowers"},
        {"why": "a fourth", "command": f"{given} --l2 1e-4"},
    ]
    settings = {"backbone": "vgg16", "unfreeze": "none", "epochs": 5, "dropout": 0.1}
    layout = run(
        Path("run"), diagnosis={"state": "overfitting", "evidence": [], "remedies": remedies},
        run_config=settings, run_given=list(settings),
    )  # fmt: skip
    assert lines(summary(layout), "Next") == [
        "a smaller head:", "  transferkit finetune flowers --config run --head-width 64",
        "more dropout:", "  transferkit finetune flowers --config run --dropout 0.5",
        "look:", "  transferkit data summary flowers",
    ]  # fmt: skip


def test_a_good_run_is_told_what_is_worth_a_look(tmp_path: Path) -> None:
    layout = run(tmp_path / "run", diagnosis={"state": "good fit", "evidence": ["all agree"], "remedies": []})
    where = tmp_path / "run"
    assert lines(summary(layout), "Problem") == ["none found (good fit): all agree"]
    assert [line.strip() for line in lines(summary(layout), "Next")[1::2]] == [
        f"transferkit open {where} mistakes", f"transferkit data check --run {where}", f"transferkit explain {where}",
    ]  # fmt: skip


def test_a_step_is_advised_only_where_it_shows_something(tmp_path: Path) -> None:
    """No mistakes to look at where there are none; no pictures where the run was made from arrays."""

    def advised(name: str, **changes: Any) -> list[str]:
        text = summary(run(tmp_path / name, diagnosis={}, **changes))
        return [line.strip().replace(str(tmp_path / name), "RUN") for line in lines(text, "Next")[1::2]]

    perfect: dict[str, Any] = {"test": {"n": 45, "accuracy": 1.0}}
    arrays: dict[str, Any] = {"run_data": {"path": "arrays", "n": 9, "parts": {"train": 5, "test": 4}}}
    look, labels, where = "transferkit open RUN mistakes", "transferkit data check --run RUN", "transferkit explain RUN"
    assert advised("errs") == [look, labels, where]
    assert advised("perfect", **perfect) == [labels, f"{where} PICTURES"]
    assert advised("arrays", **arrays) == [look, f"{where} PICTURES"]
    assert advised("both", **perfect, **arrays) == [f"{where} PICTURES"]
    exact = {"task": "multilabel", "goal": "map", "test": {"n": 40, "map": 0.99, "subset_accuracy": 1.0}}
    assert advised("labels", **exact, baselines={}) == [labels, f"{where} PICTURES"]
    numbers = {"task": "regress", "goal": "mae", "test": {"n": 40, "mae": 2.0}, "baselines": {}}
    assert advised("numbers", **numbers) == [look, where]
    assert "look at its largest errors:" in summary(Layout(tmp_path / "numbers"))


def classes(*found: tuple[str, int, int]) -> dict[str, Any]:
    rows = [{"class": name, "recall": hits / n, "support": n} for name, hits, n in found]
    right, total = sum(f[1] for f in found), sum(f[2] for f in found)
    return {"n": total, "accuracy": right / total, "per_class": rows}


def test_classes_are_called_weak_only_with_evidence(tmp_path: Path) -> None:
    near = summary(run(tmp_path / "near", test=classes(("a", 6, 8), ("b", 8, 8), ("c", 7, 8))))
    assert lines(near, "Weakest") == ["no clear difference between classes; lowest here: a (6 of 8), c (7 of 8)"]
    clear = summary(run(tmp_path / "clear", test=classes(("a", 10, 50), ("b", 48, 50), ("c", 45, 50))))
    assert lines(clear, "Weakest") == ["a (10 of 50): found less often than the others, beyond chance"]
    perfect = summary(run(tmp_path / "perfect", test=classes(("a", 8, 8), ("b", 8, 8), ("c", 8, 8))))
    assert not lines(perfect, "Weakest")


def test_a_class_without_test_pictures_is_named(tmp_path: Path) -> None:
    test = classes(("a", 8, 8), ("b", 7, 8))
    assert not lines(summary(run(tmp_path / "whole", test=test)), "Untested")
    test["per_class"].append({"class": "c", "recall": None, "support": 0})
    found = lines(summary(run(tmp_path / "part", test=test)), "Untested")
    assert found == ["no test picture shows c: how well it is recognised is not known"]


def test_test_pictures_of_few_groups_are_no_more_evidence_than_these(tmp_path: Path) -> None:
    test = {"n": 45, "accuracy": 0.9, "accuracy_ci95": [0.8, 0.95]}
    told = " ".join(lines(summary(run(tmp_path / "films", test=test | {"groups": 9})), "Result"))
    assert "these 45 pictures are of 9 groups or films" in told
    assert "ranges and p-values" in told
    assert "alike" not in summary(run(tmp_path / "single", test=test | {"groups": 44}))


def test_other_tasks_have_words_of_their_own(tmp_path: Path) -> None:
    test = {"n": 40, "map": 0.8, "map_ci95": [0.7, 0.9], "subset_accuracy": 0.5}
    many = summary(
        run(tmp_path / "many", task="multilabel", goal="map", test=test, baselines={"majority": {"map": 0.3}})
    )
    assert lines(many, "Result") == [
        "every label right on 20 of 40 test pictures; mean average precision 0.800 (likely range 0.700 to 0.900, 95 % "
        "interval); never used before"
    ]
    assert lines(many, "Compared")[0].startswith(" 0.300  every label as often as in training")
    test = {
        "n": 40,
        "mae": 3.0,
        "mae_ci95": [2.5, 3.5],
        "per_target": [{"target": "x", "mae": 1.0}, {"target": "y", "mae": 5.0}],
    }
    numbers = summary(
        run(tmp_path / "numbers", task="regress", goal="mae", test=test, baselines={"majority": {"mae": 9.0}})
    )
    assert lines(numbers, "Result") == [
        "off by 3.000 on average (mean absolute error) on 40 test pictures (likely range 2.500 to 3.500, 95 % "
        "interval); never used before",
        "by target: x 1.000, y 5.000",
    ]
    assert lines(numbers, "Compared") == [" 9.000  always the median of training: clearly worse"]


def test_a_baseline_within_the_interval_is_no_gain(tmp_path: Path) -> None:
    majority, probe = lines(summary(run(tmp_path / "run")), "Compared")
    assert majority == "50.0 %  always the most frequent class: clearly worse"
    assert probe == "85.0 %  simplest classifier on the same network (linear probe): no clear difference"


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.04, "; better than logistic regression on the last layer (gain +0.040, +0.020 to +0.060)"),
        (0.01, "; no clear difference to logistic regression on the last layer (gain +0.010, -0.0096 to +0.030)"),
        (None, ""),  # of a run that did not record it
    ],
)
def test_what_the_choice_brought_is_said_with_its_interval(gain: float | None, words: str, tmp_path: Path) -> None:
    """What is to be expected is below the winner's own score: beside another's own score it would look a loss."""
    rows = [
        {"name": "kernel on all", "features": "all", "classifier": "kernel", "score": 0.9, "chosen": True},
        {"name": "logistic on last", "features": "last", "classifier": "logistic", "score": 0.88},
    ]
    judged = {"metric": "accuracy", "score": 0.87, "ci95": [0.8, 0.9], "n": 100}
    if gain is not None:
        judged |= {"simplest": "logistic on last", "gain": gain, "gain_se": 0.01}
    told = lines(summary(run(tmp_path / "run", candidates=rows, cross_validation=judged)), "Chosen")
    what = "kernel machine on all depths, of 2 candidates by cross-validation"
    assert told == [f"{what}: accuracy 0.870 (0.800 to 0.900){words}"]


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
    found = lines(summary(run(tmp_path / "run", task=task, test=test, baselines=baselines, goal=name)), "Compared")
    assert "the training lost against it" in found[0]
    assert found[1].endswith("clearly worse")


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
    text = summary(run(tmp_path / "run", run_config={"backbone": "vgg16", "unfreeze": policy}), verbose=True)
    assert words in lines(text, "Network")[0]


def test_missing_parts(tmp_path: Path) -> None:
    layout = run(tmp_path / "run", test={"n": 0}, baselines={}, diagnosis={})
    text = summary(layout)
    assert "unknown" in lines(text, "Result")[0]
    assert not lines(text, "Compared")
    assert not lines(text, "Problem")
    undefined = {"n": 3, "map": None}
    assert "undefined" in summary(run(tmp_path / "two", task="multilabel", test=undefined))


def test_names_cannot_break_lines(tmp_path: Path) -> None:
    data = {"path": "/data/a\nTest 1.000", "n": 1, "parts": {"train": 1}, "skipped": [{"path": "x", "reason": "y"}]}
    text = summary(run(tmp_path / "run", run_data=data), verbose=True)
    assert "/data/a\\nTest 1.000: 1 picture" in text
    assert "1 picture could not be read" in text


def test_an_unfinished_run_has_no_summary(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"was killed, not complete; finish it with:\n  transferkit resume \S+run$"):
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
    assert lines(text, "Compared") == [
        "72.2 %  simplest classifier on the same network (linear probe): no clear difference (p = 0.6)"
    ]
    clear = {
        "majority": {"accuracy": 0.5, **against(0.4, 1e-9)},
        "linear_probe": {"accuracy": 0.95, **against(-0.05, 0.004)},
        "nearest_neighbours": {"accuracy": 0.93, **against(-0.03, 0.06)},
    }
    text = summary(run(tmp_path / "clear", baselines=clear))
    # Three baselines: Holm's method leaves the second without evidence.
    assert lines(text, "Note") == [
        "a baseline wins: the simplest classifier on the same network (linear probe) is better than this model (0.950 "
        "against 0.900; p = 0.008, in pairs on the same pictures)"
    ]
    assert [
        line.rpartition(": ")[2] if "lost" not in line else line.partition("):")[2] for line in lines(text, "Compared")
    ] == [
        "clearly worse (p < 0.0001)",
        " better: the training lost against it (p = 0.008)",
        "no clear difference (p = 0.06)",
    ]


def test_runs_without_pairs_say_no_more_than_their_interval(tmp_path: Path) -> None:
    """Runs of earlier versions hold scores alone."""
    ahead = {"linear_probe": {"accuracy": 0.93}, "nearest_neighbours": {"accuracy": 0.99}}
    text = summary(run(tmp_path / "ahead", baselines=ahead))
    assert lines(text, "Note") == [
        "a baseline wins: going by the most similar training pictures (nearest neighbours) is better than this model "
        "(0.990 against 0.900)"
    ]
    lower = {"test": {"n": 9, "mae": 3.0}, "baselines": {"majority": {"mae": 2.0}}, "task": "regress", "goal": "mae"}
    assert not lines(summary(run(tmp_path / "lower", **lower)), "Note")


def test_earlier_looks_at_the_test_pictures_are_said(tmp_path: Path) -> None:
    text = summary(run(tmp_path / "third", test_uses={"run": 3}))
    assert "never used" not in text
    assert "3rd run scored on these pictures: the best of several looks better than it is" in text
    assert "never used" not in summary(run(tmp_path / "old", test_uses=None))
    again = summary(run(tmp_path / "again", test_uses={"run": 1, "runs": 3}))
    assert "never used" not in again
    assert "1st of 3 runs scored on these pictures: the best of several looks better than it is" in again


def test_broken_promises_are_said_as_what_they_are(tmp_path: Path) -> None:
    rows = [
        {"accuracy": 0.95, "threshold": 0.8, "coverage": 0.7, "test_accuracy": 0.86, "test_accuracy_ci95": [0.8, 0.91]},
        {"accuracy": 0.9, "threshold": 0.7, "coverage": 0.8, "test_accuracy": 0.89, "test_accuracy_ci95": [0.83, 0.93]},
        {"accuracy": 0.99, "threshold": None, "coverage": 0.0},
    ]
    test = {"n": 200, "accuracy": 0.8, "ece": 0.06, "ece_uncalibrated": 0.04}
    worse = {"gain": -0.02, "low": -0.03, "high": -0.01, "p": 0.001}
    text = summary(
        run(tmp_path / "run", test=test, abstention=rows, calibration=worse, temperature=0.7, baselines={}),
        verbose=True,
    )
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
    assert lines(text, "Result")[0].startswith(
        "off by 1.23e-07 on average (mean absolute error) on 9 test pictures (likely"
    )
    assert lines(text, "Compared") == ["2.5e-07  always the median of training: clearly worse (p = 0.001)"]


def test_the_goal_is_said_where_it_is_another_score(tmp_path: Path) -> None:
    test = {"n": 45, "accuracy": 0.9, "roc_auc": 0.987, "roc_auc_ci95": [0.95, 0.99]}
    text = summary(run(tmp_path / "run", test=test, goal="auc"))
    assert lines(text, "Goal") == ["ROC AUC 0.987 (likely range 0.950 to 0.990, 95 % interval) on the same pictures"]
    assert not lines(summary(run(tmp_path / "usual")), "Goal")


def test_where_the_screen_is_full_fewer_steps_are_suggested_but_one(tmp_path: Path) -> None:
    advice = [{"why": f"reason {i}", "command": f"transferkit summary {i}"} for i in range(3)]

    def steps(words: int) -> int:
        evidence = ["word " * words]
        diagnosis = {"state": "overfitting", "evidence": evidence, "remedies": advice}
        text = summary(run(tmp_path / str(words), diagnosis=diagnosis), width=80)
        assert words > 300 or len(text.splitlines()) <= 22
        return sum(f"reason {i}:" in text for i in range(3))

    assert [steps(words) for words in (1, 130, 400)] == [3, 2, 1]
