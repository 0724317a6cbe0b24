"""The main job, end to end on digits: the contract of the run directory, determinism, every form of data."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.data.pictures import photo
from tests.fresh import Fresh
from tests.runs.conftest import Made, again
from tests.runs.sealing import put_manifest
from transferkit.errors import BackboneError, ConfigError, DataError

FILES = {
    "run.json", "splits.csv", "history.csv", "metrics.json", "predictions.csv", "model.keras", "report.html",
    "figures", "CARD.md",
}  # fmt: skip


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def numbers(metrics: dict[str, Any]) -> dict[str, Any]:
    """metrics.json without what only advises (a command may name another output) and the count of runs."""
    return {key: value for key, value in metrics.items() if key not in ("diagnosis", "test_uses")}


# ------------------------------------------------------------------------------------------- the contract


def test_the_run_directory_holds_what_the_contract_names(made: Made) -> None:
    assert made.code == 0, made.errors
    names = {path.name for path in made.folder.iterdir()}
    assert names >= FILES
    assert not [name for name in names if name.startswith(".") or name == "checkpoints"]
    assert {path.suffix for path in (made.folder / "figures").iterdir()} == {".png"}
    splits, history = rows(made.folder / "splits.csv"), rows(made.folder / "history.csv")
    assert list(splits[0]) == ["path", "label", "split", "fold", "sha256"]
    assert len(splits) == 200
    assert list(history[0])[:3] == ["phase", "epoch", "loss"]
    assert [(row["phase"], row["epoch"]) for row in history] == [
        (p, str(e)) for p in ("head", "tail") for e in (1, 2, 3)
    ]
    predictions = rows(made.folder / "predictions.csv")
    assert list(predictions[0]) == ["path", "label", "predicted", "confidence", *(f"p_{d}" for d in range(10))]
    assert {row["path"] for row in predictions} == {row["path"] for row in splits if row["split"] == "test"}


def test_metrics_have_the_keys_of_the_contract(made: Made) -> None:
    metrics = read(made.folder / "metrics.json")
    assert {"task", "classes", "val", "test", "baselines", "diagnosis"} <= metrics.keys()
    test = metrics["test"]
    assert {"n", "accuracy", "accuracy_ci95", "macro_f1", "loss", "ece"} <= test.keys()
    low, high = test["accuracy_ci95"]
    assert 0 <= low <= test["accuracy"] <= high <= 1
    assert metrics["classes"] == [str(digit) for digit in range(10)]
    assert set(metrics["baselines"]) == {"majority", "linear_probe", "nearest_neighbours"}
    predictions = rows(made.folder / "predictions.csv")
    hits = sum(row["label"] == row["predicted"] for row in predictions)
    assert test["accuracy"] == pytest.approx(hits / len(predictions))


def test_the_manifest_says_what_was_done_with_what_on_what(made: Made) -> None:
    run = read(made.folder / "run.json")
    assert run["status"] == "complete"
    assert run["seed"] == 0
    assert run["config"]["epochs"] == 3
    assert {"transferkit", "python", "keras", "tensorflow", "numpy", "pillow"} <= run["versions"].keys()
    assert {"cpu", "cores", "memory_bytes", "system"} <= run["hardware"].keys()
    for value in (run["data"]["sha256"], run["split_sha256"], run["weights"]["sha256"]):
        assert len(value) == 64
    assert {"check", "splits", "backbone", "features", "head", "tail", "test", "total"} <= run["timings"].keys()
    assert all(seconds >= 0 for seconds in run["timings"].values())
    assert run["timings"]["total"] >= run["timings"]["features"]


def test_json_output_is_json_and_nothing_else(made: Made) -> None:
    content = json.loads(made.output)
    assert content["run"] == str(made.folder)
    assert numbers(content) | {"run": None} == numbers(read(made.folder / "metrics.json")) | {"run": None}


def test_only_output_cache_and_the_weights_store_are_written(made: Made) -> None:
    assert made.data_after == made.data_before
    assert list(made.work.iterdir()) == []
    written = {path.relative_to(made.home).as_posix() for path in made.home.rglob("*") if path.is_file()}
    assert written <= {".keras/keras.json"}  # Keras' own, beside the weights it shares with us
    assert any(made.cache.rglob("*.npy"))


@pytest.mark.usefixtures("unpublished")
def test_the_command_in_the_manifest_repeats_the_run(made: Made, tmp_path: Path) -> None:
    command = shlex.split(read(made.folder / "run.json")["command"])
    assert command[:2] == ["transferkit", "finetune"]
    assert command[-2:] == ["--output", str(made.folder)]
    assert call(*command[1:-1], tmp_path / "again", "--quiet").code == 0
    for name in ("splits.csv", "predictions.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (made.folder / name).read_bytes()
    assert numbers(read(tmp_path / "again" / "metrics.json")) == numbers(read(made.folder / "metrics.json"))


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
def test_another_seed_gives_another_split_and_other_numbers(made: Made, digits: Path, tmp_path: Path) -> None:
    result = again(digits, tmp_path / "other", "--seed", 1)
    assert result.err == ""  # --quiet
    assert result.out.startswith("Result ")
    assert call("summary", tmp_path / "other").out == result.out
    assert (tmp_path / "other" / "splits.csv").read_bytes() != (made.folder / "splits.csv").read_bytes()
    here, there = (read(folder / "metrics.json") for folder in (tmp_path / "other", made.folder))
    assert here["val"]["loss"] != there["val"]["loss"]


PLAIN = """
import csv, json, sys
import numpy as np, keras
from PIL import Image
run, data = sys.argv[1:]
model = keras.saving.load_model(run + "/model.keras", safe_mode=True)
assert model.input_shape[1:] == (32, 32, 3) and model.inputs[0].dtype == "uint8", model.input_shape
with open(run + "/predictions.csv", newline="") as handle:
    rows = list(csv.DictReader(handle))
pictures = np.stack([np.asarray(Image.open(f"{data}/{row['path']}").convert("RGB")) for row in rows])
wanted = np.array([[float(row[f"p_{d}"]) for d in range(10)] for row in rows])
found = np.asarray(model.predict(pictures, verbose=0))
assert "transferkit" not in sys.modules
print(json.dumps(float(np.abs(found - wanted).max())))
"""


def test_the_model_loads_with_plain_keras_and_gives_the_reported_numbers(
    made: Made, digits: Path, fresh: Fresh
) -> None:
    result = fresh(PLAIN, made.folder, digits)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) <= 1e-4


# --------------------------------------------------------------------------------- evaluate and predict


def test_evaluate_finds_the_test_scores_again_from_any_folder(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("evaluate", made.folder, "--json")
    assert result.code == 0
    wanted = read(made.folder / "metrics.json")["test"]
    for name, value in json.loads(result.out).items():
        assert value == wanted[name] or value == pytest.approx(wanted[name], abs=1e-5), name


def test_evaluate_on_a_folder_of_some_classes(made: Made, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "7").symlink_to(digits / "7")
    result = call("evaluate", made.folder, tmp_path / "some", "--json")
    scores = json.loads(result.out)
    assert scores["n"] == 20
    predicted = tk.predict(made.folder, digits / "7", quiet=True)
    assert scores["accuracy"] == pytest.approx(np.mean([p.label == "7" for p in predicted]))


def test_evaluate_notices_changed_test_pictures(made: Made, digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits, tmp_path / "digits")
    shutil.copytree(made.folder, tmp_path / "run")
    manifest = read(tmp_path / "run" / "run.json")
    manifest["data"]["path"] = str(tmp_path / "digits")
    put_manifest(tmp_path / "run", manifest)
    victim = rows(made.folder / "predictions.csv")[0]["path"]
    photo(5, 32, 32).save(tmp_path / "digits" / victim)
    result = call("evaluate", tmp_path / "run")
    assert result.code == 2
    assert f"1 of the run's 30 test pictures are missing or changed: {victim}" in result.err


def test_predict_equals_predictions_csv(made: Made, digits: Path) -> None:
    wanted = rows(made.folder / "predictions.csv")
    result = call("predict", made.folder, *(digits / row["path"] for row in wanted), "--format", "csv", "--quiet")
    found = list(csv.DictReader(result.out.splitlines()))
    assert [row["predicted"] for row in found] == [row["predicted"] for row in wanted]
    for name in ("confidence", *(f"p_{d}" for d in range(10))):
        assert [float(row[name]) for row in found] == pytest.approx([float(row[name]) for row in wanted], abs=1e-6)


# ------------------------------------------------------------------------------------- every form of data


def small(folder: Path, digits: Path, **settings: Any) -> tk.Run:
    """A quick run."""
    given = {"epochs": 2, "augment": "none", "head_width": 16, "quiet": True, "patience": 1, **settings}
    return tk.finetune(digits, given.pop("backbone", "mini"), output=folder, **given)


def table(path: Path, digits: Path, header: str, line: Any) -> Path:
    pictures = [p for d in range(10) for p in sorted((digits / str(d)).iterdir())[:6]]
    path.write_text("\n".join([header, *(line(p, int(p.parent.name)) for p in pictures)]) + "\n")
    return path


@pytest.mark.usefixtures("unpublished")
def test_a_folder_with_its_own_split(digits: Path, tmp_path: Path) -> None:
    for number, part in enumerate(("train", "val", "test")):
        for digit in ("1", "4"):
            (tmp_path / "parts" / part / digit).mkdir(parents=True)
            for picture in sorted((digits / digit).iterdir())[6 * number : 6 * number + 6]:
                (tmp_path / "parts" / part / digit / picture.name).write_bytes(picture.read_bytes())
    run = small(tmp_path / "run", tmp_path / "parts")
    assert run.manifest["data"]["parts"] == {"train": 12, "val": 12, "test": 12}
    assert {(r["path"].split("/")[0], r["split"]) for r in rows(run.folder / "splits.csv")} == {
        (part, part) for part in ("train", "val", "test")
    }


@pytest.mark.usefixtures("unpublished")
def test_a_csv_of_single_labels_with_groups(digits: Path, tmp_path: Path) -> None:
    source = table(tmp_path / "t.csv", digits, "path,label,group", lambda p, d: f"{p},{d % 2},{p.stem[-1]}{d}")
    run = small(tmp_path / "run", source)
    assert run.metrics["task"] == "classify"
    assert run.metrics["test"]["n"] > 0


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
def test_a_csv_of_several_labels(digits: Path, tmp_path: Path) -> None:
    names = lambda d: ";".join([*(["odd"] if d % 2 else ["even"]), *(["large"] if d > 4 else [])])  # noqa: E731
    source = table(tmp_path / "t.csv", digits, "path,label", lambda p, d: f"{p},{names(d)}")
    run = small(tmp_path / "run", source)
    assert run.metrics["task"] == "multilabel"
    assert {"map", "micro_f1", "hamming", "subset_accuracy"} <= run.metrics["test"].keys()
    assert len(run.metrics["thresholds"]) == 3
    outputs = np.array([[v for _, v in sorted(p.scores)] for p in run.predict(digits / "3")])
    assert ((outputs >= 0) & (outputs <= 1)).all()
    text = call("predict", run.folder, digits / "3", "--quiet").out.splitlines()[0]
    assert "odd" in text
    assert "[" in text
    assert run.evaluate()["map"] == pytest.approx(run.metrics["test"]["map"], abs=1e-5)


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
def test_regression_answers_in_the_users_units(digits: Path, tmp_path: Path) -> None:
    source = table(tmp_path / "t.csv", digits, "path,label", lambda p, d: f"{p},{1000 + 10 * d}")
    run = small(tmp_path / "run", source, task="regress", epochs=20, patience=19, head_width=64, learning_rate=0.01)
    assert {"mae", "rmse", "r2", "mae_ci95"} <= run.metrics["test"].keys()
    answers = np.array([float(p.label) for d in range(10) for p in run.predict(digits / str(d))])
    assert 990 < answers.mean() < 1100
    assert run.metrics["test"]["mae"] < run.metrics["baselines"]["majority"]["mae"]
    predictions = rows(run.folder / "predictions.csv")
    assert list(predictions[0]) == ["path", "label", "predicted", "confidence", "y_label"]
    error = np.mean([abs(float(r["label"]) - float(r["predicted"])) for r in predictions])
    assert run.metrics["test"]["mae"] == pytest.approx(error, rel=1e-4)
    assert "off by" in run.summary()


@pytest.mark.usefixtures("unpublished")
def test_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 120, (40, 32, 32, 3), dtype=np.uint8)
    x[20:] += 120
    y = np.repeat([0, 1], 20)
    run = small(tmp_path / "run", (x, y))  # type: ignore[arg-type]
    assert run.metrics["test"]["n"] == 6
    command = run.manifest["command"]
    assert command.startswith("transferkit.finetune((x, y), backbone='mini', ")
    repeated = eval(command.replace(str(tmp_path / "run"), str(tmp_path / "two")), {"transferkit": tk, "x": x, "y": y})
    assert repeated.metrics["test"] == run.metrics["test"]
    assert [p.label for p in run.predict(x[:1])] == [p.label for p in run.predict([x[0]])]
    with pytest.raises(DataError, match="trained on arrays"):
        run.evaluate()
    assert run.evaluate((x, y))["n"] == 40


def test_folds_and_no_test_split(digits: Path, tmp_path: Path) -> None:
    run = small(tmp_path / "run", digits, folds=3, split="150,50,0")
    assert run.manifest["data"]["parts"] == {"train": 150, "val": 50, "test": 0}
    folds = run.metrics["folds"]
    assert len(folds["scores"]) == 3
    assert folds["mean"] == pytest.approx(np.mean(folds["scores"]))
    assert {row["fold"] for row in rows(run.folder / "splits.csv")} == {"0", "1", "2"}
    assert "over 3 folds" in run.summary()
    assert run.metrics["test"] == {"n": 0}
    assert rows(run.folder / "predictions.csv") == []
    assert "without a test split" in run.summary()
    assert run.layout.report.exists()
    with pytest.raises(DataError, match="no test split"):
        run.evaluate()


@pytest.mark.extended
def test_what_is_unreadable_or_excluded_is_left_out_and_listed(digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits, tmp_path / "digits")
    (tmp_path / "digits" / "3" / "page.jpg").write_text("<html>")
    (tmp_path / "out.txt").write_text("# mine\n1/1_0000.png\n")
    more = {"on_bad_file": "skip", "exclude": ["7", "0/*"], "exclude_file": tmp_path / "out.txt"}
    run = small(tmp_path / "run", tmp_path / "digits", **more)
    (entry,) = run.manifest["data"]["skipped"]
    assert entry["path"] == "3/page.jpg"
    assert entry["reason"]
    assert run.metrics["classes"] == ["1", "2", "3", "4", "5", "6", "8", "9"]
    assert run.manifest["data"]["n"] == 159
    assert "1 picture could not be read" in run.summary()
    assert "page.jpg" in run.layout.report.read_text()
    assert run.evaluate()["accuracy"] == pytest.approx(run.metrics["test"]["accuracy"])


@pytest.mark.usefixtures("unpublished")
def test_a_network_of_ones_own(digits: Path, tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((24, 24, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="first")(inputs)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="second")(x)
    keras.Model(inputs, x).save(tmp_path / "own.keras")
    run = small(tmp_path / "run", digits, backbone=str(tmp_path / "own.keras"), scaling="unit", unfreeze="from:second")
    assert {row["phase"] for row in rows(run.folder / "history.csv")} == {"head", "tail"}
    assert run.model().input_shape == (None, 24, 24, 3)
    for settings, problem in (({"unfreeze": "from:third"}, "third"), ({"image_size": 30}, "30")):
        with pytest.raises(BackboneError, match=problem):
            small(tmp_path / "no", digits, backbone=str(tmp_path / "own.keras"), **settings)
    more = {"unfreeze": "from:second", "batchnorm": "train"}
    with pytest.raises(BackboneError, match="no BatchNorm"):
        small(tmp_path / "no", digits, backbone=str(tmp_path / "own.keras"), **more)
    assert not (tmp_path / "no").exists()


@pytest.mark.usefixtures("unpublished")
def test_split_and_seed_of_load_data_are_used_or_contradicted(digits: Path, tmp_path: Path) -> None:
    data = tk.load_data(digits, split=(0.6, 0.2, 0.2), seed=4)
    assert len(data) == 200
    run = small(tmp_path / "run", data)  # type: ignore[arg-type]
    assert run.manifest["data"]["parts"] == {"train": 120, "val": 40, "test": 40}
    assert run.manifest["seed"] == 4
    with pytest.raises(ConfigError, match="seed=5 contradicts load_data, which was given seed=4"):
        small(tmp_path / "no", data, seed=5)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="rosse"):
        small(tmp_path / "no", data, exclude=["rosse"])  # type: ignore[arg-type]
