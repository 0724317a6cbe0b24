"""`transferkit explain`: overlays of the pictures that are named, or of the worst mistakes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.calls import call
from tests.data.containers.test_films import film
from tests.runs.sealing import put_manifest, reseal
from transferkit.cli import cli
from transferkit.cli._boundary import guarded
from transferkit.csv_files import read_csv
from transferkit.delivery.explain import Explaining, Explanation, worst
from transferkit.errors import ConfigError
from transferkit.files import read_json, write_json
from transferkit.runs.layout import Layout


def test_the_command_writes_one_overlay_a_picture(digits_run, digits, tmp_path, capsys):
    some = [str(p) for p in sorted(digits.glob("3/*.png"))[:3]]
    assert guarded(cli, ["explain", str(digits_run.folder), *some, "--output", str(tmp_path / "out"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in rows] == some
    for row in rows:
        image = np.asarray(Image.open(row["overlay"]))
        assert image.shape == (32, 32, 3)
        assert np.ptp(image.astype(int), axis=2).max() > 20  # there is heat
    predicted = [p.label for p in digits_run.predict(some)]
    assert [row["predicted"] for row in rows] == [row["explained"] for row in rows] == predicted


def test_of_a_film_what_training_saw_of_one_is_explained(digits_run, tmp_path, capsys):
    run = shutil.copytree(digits_run.folder, tmp_path / "run")
    record = read_json(run / "run.json")
    record["config"]["frames"] = "every:2s"
    write_json(run / "run.json", record)
    words = [str(reseal(run)), str(film(tmp_path / "a.mp4", 3)), "--output", str(tmp_path / "out"), "--json"]
    assert guarded(cli, ["explain", *words]) == 0
    overlays = [Path(row["overlay"]).name for row in json.loads(capsys.readouterr().out)]
    assert overlays == ["001-a_0s.png", "002-a_2s.png"]


def test_without_paths_the_most_confident_mistakes_are_explained(digits_run, tmp_path, capsys):
    rows = read_csv(digits_run.layout.predictions)
    wrong = sorted((r for r in rows if r["label"] != r["predicted"]), key=lambda r: -float(r["confidence"]))
    assert wrong, "this run is meant to make mistakes"
    assert [p.name for p in worst(digits_run.layout)] == [r["path"].split("/")[1] for r in wrong][:12]
    assert guarded(cli, ["explain", str(digits_run.folder), "--output", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == min(len(wrong), 12)


def test_of_a_model_without_mistakes_what_it_was_least_sure_of_is_explained(digits_run, monkeypatch):
    """By the confidence of its answers, which for several labels is not the highest probability."""
    table = digits_run.layout.read_predictions()
    confidence = np.random.default_rng(0).permutation(len(table)) / len(table)
    faultless = replace(table, predicted=table.labels, confidence=confidence)
    monkeypatch.setattr(Layout, "read_predictions", lambda _: faultless)
    found = [f"{path.parent.name}/{path.name}" for path in worst(digits_run.layout, 5)]
    assert found == [table.paths[i] for i in np.argsort(confidence)[:5]]


def test_a_picture_that_changed_since_the_run_is_not_shown_as_its_mistake(digits_run, tmp_path):
    copy = shutil.copytree(digits_run.layout.folder, tmp_path / "run", ignore=shutil.ignore_patterns("exports"))
    data = shutil.copytree(digits_run.manifest["data"]["path"], tmp_path / "data")
    manifest = json.loads((copy / "run.json").read_text())
    manifest["data"]["path"] = str(data)
    put_manifest(copy, manifest)
    before = worst(Layout(copy))
    before[0].write_bytes(before[1].read_bytes())
    assert worst(Layout(copy)) == before[1:]


def test_a_run_that_is_renamed_meanwhile_does_not_get_its_old_folder_back(digits_run, digits, tmp_path, monkeypatch):
    run = shutil.copytree(digits_run.folder, tmp_path / "run")
    save = Explanation.save
    monkeypatch.setattr(Explanation, "save", lambda self, to: run.rename(tmp_path / "renamed") and save(self, to))
    said = call("explain", run, digits / "3")
    assert said.code == 2
    assert said.err.endswith("run was moved or removed meanwhile; explain it where it is now\n")
    assert not run.exists()


def test_another_class_has_another_map(digits_run, digits):
    picture = sorted(digits.glob("8/*.png"))[0]
    explaining = Explaining.of(digits_run.layout)
    (three,), (eight,) = (list(explaining.stream([picture], name)) for name in ("3", "8"))
    assert (three.output, eight.output) == ("3", "8")
    assert np.abs(three.heat - eight.heat).max() > 0.1


def test_an_unknown_class_is_named_with_the_known_ones(digits_run, digits):
    with pytest.raises(ConfigError, match="'seven' is no output of this model; known: 0, 1, 2"):
        list(Explaining.of(digits_run.layout).stream([digits / "3" / "3_0000.png"], "seven"))


def test_a_picture_on_its_side_gets_its_map_on_its_side(digits_run, tmp_path):
    """The heat lies over the upright picture, whatever its shape."""
    path = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 90, 3), np.uint8)).save(path)
    (found,) = Explaining.of(digits_run.layout).stream([path])
    assert found.heat.shape == (40, 90)
    assert found.overlay.shape == (40, 90, 3)


def test_run_explain_takes_files_and_arrays(digits_run, digits):
    path = sorted(digits.glob("5/*.png"))[0]
    from_file = digits_run.explain(path)
    from_array = digits_run.explain(np.asarray(Image.open(path).convert("RGB")))
    assert from_array.path == "array"
    assert np.array_equal(from_file.heat, from_array.heat)
    assert from_file._repr_png_().startswith(b"\x89PNG")
