"""evaluate proves that it scores what training left unseen, and says so where it does not."""

import csv
import json
import shutil
from types import SimpleNamespace

import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.data.readers import forms
from tests.runs.sealing import put_manifest
from transferkit.csv_files import read_csv, write_csv
from transferkit.data.digits import write_digits
from transferkit.data.readers.request import Reading
from transferkit.delivery.evaluate import _read_as_then
from transferkit.errors import DataError, RunError
from transferkit.files import read_json


def written(path, rows):
    write_csv(path, list(rows[0]), [list(row.values()) for row in rows])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on a CSV of digits, in whose folder an excluded class and a path as on Windows lie too."""
    base = tmp_path_factory.mktemp("evaluated")
    data = write_digits(base / "data", 12)
    kept = sorted(p for d in "127" for p in (data / d).iterdir())
    with open(data / "all.csv", "w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["path", "label"])
        # One row as Windows writes it.
        table.writerows(["/\\"[i == 3].join(p.parts[-2:]), p.parent.name] for i, p in enumerate(kept))
        table.writerows([f"9/{p.name}", "nine"] for p in sorted((data / "9").iterdir()))
    (base / "out.txt").write_text("".join(f"9/{p.name}\n" for p in sorted((data / "9").iterdir())))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(base / "cache"))
        patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
        tk.finetune(data / "all.csv", "mini", output=base / "run", epochs=3, augment="none",
                    exclude_file=base / "out.txt", quiet=True)  # fmt: skip
    return base


@pytest.fixture
def copy(made, tmp_path):
    """The run and its data, to be changed."""
    for name in ("data", "run"):
        shutil.copytree(made / name, tmp_path / name)
    manifest = read_json(tmp_path / "run" / "run.json")
    manifest["data"]["path"] = str(tmp_path / "data" / "all.csv")
    put_manifest(tmp_path / "run", manifest)
    return tmp_path


def test_an_option_that_it_does_not_take_is_not_advised_alone(copy):
    (copy / "data" / "empty").mkdir()
    result = call("evaluate", copy / "run", copy / "data")
    assert (result.code, "holds no picture" in result.err) == (2, True)
    said = " ".join(result.err.split())
    assert (
        f"evaluate has no such options: write the data with them first, transferkit data convert {copy / 'data'}"
        in said
    )


def test_a_damaged_picture_of_other_data_is_named_with_what_lists_them_all(copy):
    picture = next((copy / "data" / "1").iterdir())
    for other in ("2", "9"):
        (copy / "data" / other).rename(copy / f"away-{other}")
    picture.write_bytes(picture.read_bytes()[: picture.stat().st_size // 2])
    rest = [f"{p.parent.name}/{p.name},{p.parent.name}" for d in "17" for p in sorted((copy / "data" / d).iterdir())]
    (copy / "data" / "some.csv").write_text("\n".join(["path,label", *rest, ""]))
    result = call("evaluate", copy / "run", copy / "data" / "some.csv")
    said = " ".join(result.err.split())
    assert (result.code, picture.name in said) == (2, True)
    assert "`transferkit data check` lists all such files of the data" in said


def test_its_own_test_split_needs_no_exclusion_file(made, copy):
    assert (made / "out.txt").rename(copy / "moved.txt")
    try:
        result = call("evaluate", copy / "run", "--json")
    finally:
        (copy / "moved.txt").rename(made / "out.txt")
    assert result.code == 0, result.err
    assert json.loads(result.out)["accuracy"] == read_json(copy / "run" / "metrics.json")["test"]["accuracy"]


def test_what_is_wrong_with_new_data_of_the_runs_columns_is_told(tmp_path):
    corpus = forms.Corpus()
    forms.flat(corpus, tmp_path)
    rows = [(f"{name}.png", label, label.upper()) for name, label, _ in corpus]
    facts = SimpleNamespace(task="classify", classes=list(forms.CLASSES))
    then = Reading(image_column="file", label_column=("kind",))

    def read(header, rows):
        return _read_as_then(forms.write_rows(tmp_path / "a.csv", header, iter(rows)), then, facts)

    assert read(["file", "kind", "sort"], rows).label(0) == "daisy"
    assert read(["path", "label"], [row[:2] for row in rows]).label(0) == "daisy"
    with pytest.raises(DataError, match=r"image.column.*kind.*line 122: gone\.png"):
        read(["file", "kind", "sort"], [*rows, ("gone.png", "rose", "ROSE")])
    with pytest.raises(DataError, match=r"itself: .*line 122: gone\.png"):
        read(["path", "label"], [*(row[:2] for row in rows), ("gone.png", "rose")])
    with pytest.raises(DataError, match=r"^[^\n]*nowhere\.csv does not exist[^\n]*$"):
        _read_as_then(tmp_path / "nowhere.csv", then, facts)


def test_labels_that_changed_since_are_refused(copy):
    rows = read_csv(copy / "data" / "all.csv")
    written(
        copy / "data" / "all.csv",
        [{**row, "label": {"1": "2", "2": "1"}.get(row["label"], row["label"])} for row in rows],
    )
    result = call("evaluate", copy / "run")
    assert result.code == 2
    assert "test pictures have another label now" in result.err
    assert "1 → 2" in result.err


@pytest.mark.parametrize("swap", [{"train": "test", "test": "train"}, {"val": "test"}])
def test_a_split_that_is_not_that_of_training_is_refused(copy, swap):
    rows = read_csv(copy / "run" / "splits.csv")
    written(copy / "run" / "splits.csv", [{**row, "split": swap.get(row["split"], row["split"])} for row in rows])
    manifest = read_json(copy / "run" / "run.json")
    for files in (manifest["files"], {}):  # as older versions left it
        put_manifest(copy / "run", {**manifest, "files": files})
        for command in ("evaluate", "explain", "report", "export --format keras", "data check --run"):
            result = call(*command.split(), copy / "run")
            assert result.code == 2, command
            assert "splits.csv is not as the run wrote it" in result.err


def test_hashes_and_labels_in_splits_are_proved_as_well(copy):
    manifest = read_json(copy / "run" / "run.json")
    put_manifest(copy / "run", {**manifest, "files": {}})
    for column, value in (("sha256", "0" * 64), ("label", "7")):
        rows = read_csv(copy / "run" / "splits.csv")
        kept = dict(rows[0])
        rows[0][column] = value
        written(copy / "run" / "splits.csv", rows)
        assert "splits.csv is not as the run wrote it" in call("evaluate", copy / "run").err
        rows[0] = kept
        written(copy / "run" / "splits.csv", rows)


@pytest.mark.parametrize("command", ["evaluate", "predict", "explain", "export", "report"])
def test_another_model_in_its_place_is_refused(copy, digits_run, command):
    shutil.copy(digits_run.folder / "model.keras", copy / "run" / "model.keras")
    picture = next((copy / "data").glob("*/*.png"))
    more = {"predict": [picture], "explain": [picture], "export": ["--format", "keras"]}
    result = call(command, copy / "run", *more.get(command, []))
    assert (result.code, "model.keras is not as the run wrote it" in result.err) == (2, True), result.err
    with pytest.raises(RunError, match="not as the run wrote it"):
        tk.Run(copy / "run").model()


def test_pictures_of_training_are_counted_and_the_others_scored_apart(copy):
    new = write_digits(copy / "more", 16)
    for folder in new.iterdir():
        if folder.name not in "127":
            shutil.rmtree(folder)
    result = call("evaluate", copy / "run", new, "--json")
    assert result.code == 0, result.err
    scores = json.loads(result.out)
    saved = read_csv(copy / "run" / "splits.csv")
    assert {part: scores["overlap"][part] for part in ("train", "val", "test")} == {
        part: sum(row["split"] == part for row in saved) for part in ("train", "val", "test")
    }
    assert scores["n"] == scores["overlap"]["of"] == 48
    assert scores["new"]["n"] == 48 - scores["overlap"]["train"] - scores["overlap"]["val"]
    assert "were used in training this model" in result.err
    text = call("evaluate", copy / "run", new)
    assert f"the {scores['new']['n']} pictures alone that were not used in training:" in text.out


def test_where_nothing_is_new_that_is_said(copy):
    trained = [row for row in read_csv(copy / "run" / "splits.csv") if row["split"] == "train"]
    written(copy / "data" / "seen.csv", [{"path": row["path"], "label": row["label"]} for row in trained])
    result = call("evaluate", copy / "run", copy / "data" / "seen.csv", "--json")
    assert json.loads(result.out)["new"] is None
    assert "none of them is new" in result.err


def test_labels_of_known_pictures_that_differ_are_counted(copy):
    rows = read_csv(copy / "data" / "all.csv")[:36]
    test = {row["path"] for row in read_csv(copy / "run" / "splits.csv") if row["split"] == "test"}
    other = [{"path": row["path"], "label": "7"} for row in rows if row["path"] in test and row["label"] != "7"]
    written(copy / "data" / "other.csv", other)
    result = call("evaluate", copy / "run", copy / "data" / "other.csv", "--json")
    scores = json.loads(result.out)
    assert scores["overlap"]["relabelled"] == len(other)
    assert "new" not in scores
    assert "another label in this data than they had then" in result.err


def test_resuming_a_finished_run_says_what_changed(copy, made):
    settings = ("--backbone", "mini", "--epochs", 3, "--augment", "none", "--exclude-file", made / "out.txt", "--quiet")
    again = ("finetune", copy / "data" / "all.csv", *settings, "--output", copy / "run", "--resume")
    assert "changed" not in call(*again).err
    rows = read_csv(copy / "data" / "all.csv")
    rows[0]["label"] = "7"
    written(copy / "data" / "all.csv", [*rows[:5], *rows[6:]])
    result = call(*again)
    assert result.code == 0
    assert "the data has changed" in result.err
    assert "1 missing" in result.err
    assert "1 labelled otherwise" in result.err
