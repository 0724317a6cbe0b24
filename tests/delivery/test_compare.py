"""Runs are compared on the same pictures or not at all; a difference is told from chance."""

import json
import shutil

import numpy as np
import pytest

import transferkit as tk
from tests.runs.sealing import reseal
from transferkit.cli import cli
from transferkit.cli._boundary import guarded
from transferkit.csv_files import read_csv, write_csv
from transferkit.errors import RunError
from transferkit.evaluation.intervals import mcnemar
from transferkit.files import read_json, write_json

NAMES = [str(d) for d in range(10)]


def rewrite(path, change):
    rows = [row for row in (change(dict(row)) for row in read_csv(path)) if row]
    write_csv(path, list(rows[0]), [list(row.values()) for row in rows])
    reseal(path.parent)


def worse(row, rng):
    """A coin decides whether the answer moves to the next class."""
    if rng.random() < 0.5:
        row |= {f"p_{n}": "0" for n in NAMES} | {f"p_{(int(row['label']) + 1) % 10}": "1"}
    return row


@pytest.fixture
def runs(digits_run, tmp_path):
    """Three runs on one test split: the original, its equal, and one that is wrong half the time."""
    folders = [shutil.copytree(digits_run.folder, tmp_path / name) for name in ("good", "same", "bad")]
    rng = np.random.default_rng(0)
    rewrite(folders[2] / "predictions.csv", lambda row: worse(row, rng))
    metrics = read_json(folders[2] / "metrics.json")
    metrics["test"]["accuracy"] = 0.5
    write_json(folders[2] / "metrics.json", metrics)
    reseal(folders[2])
    return folders


def hits(folder):
    rows = read_csv(folder / "predictions.csv")
    guess = [max(NAMES, key=lambda n: float(row[f"p_{n}"])) for row in rows]
    return np.array([g == row["label"] for g, row in zip(guess, rows, strict=True)])


def test_a_worse_run_is_told_and_an_equal_one_is_not_accused(runs):
    found = tk.compare(*runs)
    pairs = {(p["a"], p["b"]): p for p in found.pairs}
    assert len(pairs) == 3
    same = pairs[("good", "same")]
    assert same["difference"] == 0
    assert same["p_mcnemar"] == same["p_adjusted"] == 1.0
    bad = pairs[("good", "bad")]
    assert bad["difference"] == pytest.approx(hits(runs[0]).mean() - hits(runs[2]).mean())
    assert bad["low"] > 0
    assert bad["p_mcnemar"] == pytest.approx(mcnemar(hits(runs[0]), hits(runs[2])))
    assert bad["p_mcnemar"] < bad["p_adjusted"] == min(1, 3 * bad["p_mcnemar"])  # Holm, three pairs
    assert (bad["only_a_right"], bad["only_b_right"]) == (int((hits(runs[0]) & ~hits(runs[2])).sum()), 0)
    assert found.runs[-1]["run"] == "bad"
    text = str(found)
    assert "good against same: accuracy +0.000" in text
    assert "no clear difference" in text
    assert "+0.000 to +0.000" not in text
    assert "a real difference" in text


def test_the_order_of_predictions_does_not_matter(runs):
    before = tk.compare(runs[0], runs[2]).pairs
    rows = read_csv(runs[2] / "predictions.csv")[::-1]
    write_csv(runs[2] / "predictions.csv", list(rows[0]), [list(row.values()) for row in rows])
    reseal(runs[2])
    assert tk.compare(runs[0], runs[2]).pairs == before


def test_another_test_split_is_refused_with_the_pictures_that_differ(runs):
    moved = next(row["path"] for row in read_csv(runs[1] / "splits.csv") if row["split"] == "test")
    rewrite(runs[1] / "splits.csv", lambda row: row | {"split": "train"} if row["path"] == moved else row)
    with pytest.raises(RunError, match=r"test splits of good and same differ: 1 of good's .* not in same's") as error:
        tk.compare(runs[0], runs[1])
    assert moved in str(error.value)
    assert "--seed" in str(error.value)


@pytest.mark.parametrize(
    ("column", "value", "reason"), [("sha256", "0" * 64, "other content"), ("label", "7", "another label")]
)
def test_changed_pictures_and_labels_are_refused(runs, column, value, reason):
    seen = []

    def change(row):
        if row["split"] == "test" and row["label"] != "7" and not seen:
            seen.append(row["path"])
            row[column] = value
        return row

    rewrite(runs[1] / "splits.csv", change)
    with pytest.raises(RunError, match=f"1 pictures have {reason}"):
        tk.compare(runs[0], runs[1])


def test_other_classes_and_other_tasks_are_refused(runs):
    metrics = read_json(runs[1] / "metrics.json")
    renamed = metrics | {"classes": [*NAMES[:9], "nine"]}
    write_json(runs[1] / "metrics.json", renamed)
    reseal(runs[1])
    with pytest.raises(RunError, match=r"different classes \(9, nine\)"):
        tk.compare(runs[0], runs[1])
    write_json(runs[1] / "metrics.json", metrics | {"task": "regress", "test": {"n": 30, "mae": 1.0}})
    reseal(runs[1])
    with pytest.raises(RunError, match="differ in kind"):
        tk.compare(runs[0], runs[1])


def test_one_run_and_the_same_run_twice_are_refused(runs):
    for given in ([runs[0]], [runs[0], runs[0]]):
        with pytest.raises(RunError, match="two or more different runs"):
            tk.compare(*given)


def test_runs_of_one_name_go_by_their_path(runs, tmp_path):
    shutil.copytree(runs[0], tmp_path / "elsewhere" / "good")
    found = tk.compare(runs[0], tmp_path / "elsewhere" / "good")
    assert {row["run"] for row in found.runs} == {str(runs[0]), str(tmp_path / "elsewhere" / "good")}


def test_the_command_prints_json_and_draws_the_curves(runs, tmp_path, capsys):
    figure = tmp_path / "curves.png"
    assert guarded(cli, ["compare", *map(str, runs), "--figure", str(figure), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["metric"] == "accuracy"
    assert [row["run"] for row in content["runs"]][-1] == "bad"
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert guarded(cli, ["compare", *map(str, runs), "--figure", "curves.svg"]) == 2
    assert "the figure is a PNG" in capsys.readouterr().err


def test_diagnose_names_state_evidence_and_what_more_pictures_bring(digits_run, capsys):
    assert guarded(cli, ["diagnose", str(digits_run.folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == digits_run.metrics["diagnosis"]["state"]
    assert found["more_pictures"]["gain_low"] <= found["more_pictures"]["gain_high"]
    assert guarded(cli, ["diagnose", str(digits_run.folder)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Diagnosis  {found['state']}")
    assert "twice the training pictures would bring" in text
    for remedy in found["remedies"]:
        assert remedy["command"] in text


def test_a_baseline_that_wins_is_said(digits_run, tmp_path, capsys):
    copy = shutil.copytree(digits_run.folder, tmp_path / "copy")
    metrics = read_json(copy / "metrics.json")
    rival = metrics["baselines"]["linear_probe"] | {"accuracy": 1.0}
    rival["against"]["accuracy"] = {"gain": -0.1, "low": -0.15, "high": -0.05, "p": 1e-4}
    metrics["baselines"] = {"linear_probe": rival}
    metrics["test"]["accuracy"] = 0.9
    write_json(copy / "metrics.json", metrics)
    reseal(copy)
    assert guarded(cli, ["diagnose", str(copy)]) == 0
    assert "the same network (linear probe) is better than this model, beyond chance" in capsys.readouterr().out
