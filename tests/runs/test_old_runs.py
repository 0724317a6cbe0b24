"""Runs that earlier versions wrote still read, predict, evaluate, report and compare, and are refused by name where
they must be."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

import transferkit as tk
from tests.cli.calls import call
from transferkit.config import make
from transferkit.errors import ConfigError, DataError
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.files import read_json, write_json
from transferkit.runs.layout import Layout
from transferkit.runs.resumption import check_settings
from transferkit.runs.run_record import RunRecord

ARCHIVE = Path(__file__).parents[1] / "data_runs" / "schema-0.tar.xz"
NAMES = ("chosen", "trained")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both runs and their pictures, which are found where they lie now. Read only."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    for name in NAMES:
        path = folder / name / "run.json"
        content = read_json(path)
        content["data"]["path"] = str(folder / "digits")  # run.json itself is not sealed
        write_json(path, content)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_files_of_old_runs_are_records_and_come_back_byte_for_byte(kept: Path, name: str) -> None:
    for path, kind in ((kept / name / "run.json", RunRecord), (kept / name / "metrics.json", MetricsRecord)):
        record = kind.read(read_json(path))
        assert record.schema_version == 0
        assert json.dumps(record.as_json()) == json.dumps(read_json(path))
        assert record.model_extra == {}, "a key that this version does not know of its own past"


def test_what_was_chosen_and_what_was_trained_is_known(kept: Path) -> None:
    chosen, trained = (Layout(kept / name) for name in NAMES)
    candidate = chosen.read_metrics().chosen_candidate
    assert candidate is not None
    assert candidate.classifier in chosen.complete().phases[-1].trained or candidate.classifier == "mlp"
    assert trained.read_metrics().chosen_candidate is None
    assert [phase.name for phase in trained.complete().phases] == ["head"]
    assert trained.complete().config.as_json()["head_width"] == [16]
    assert trained.complete().hardware.cores


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_no_network_still_works(kept: Path, name: str) -> None:
    run = tk.load_run(kept / name)
    assert run.metrics == read_json(kept / name / "metrics.json")
    assert f"{100 * run.metrics['test']['accuracy']:.1f} %" in run.summary()
    for command in (
        ("summary",),
        ("summary", "--verbose"),
        ("summary", "--json"),
        ("diagnose",),
        ("data", "check", "--run"),
    ):
        assert call(*command, kept / name).code == 0, command
    assert call("compare", kept / "chosen", kept / "trained").code == 0


@pytest.mark.parametrize("name", NAMES)
def test_old_models_predict_and_evaluate_to_the_numbers_of_then(kept: Path, name: str, tmp_path: Path) -> None:
    run = tk.load_run(shutil.copytree(kept / name, tmp_path / name))
    assert run.evaluate()["accuracy"] == run.metrics["test"]["accuracy"]
    table = run.layout.read_predictions()
    found = run.predict([kept / "digits" / path for path in table.paths])
    assert [p.label for p in found] == list(table.predicted)
    run.report()
    assert "transferkit" in run.layout.report.read_text("utf-8")
    assert run.layout.card.exists()


@pytest.mark.extended
def test_an_old_run_is_reproduced(kept: Path, tmp_path: Path) -> None:
    run = tk.load_run(kept / "trained")
    again = run.reproduce(output=tmp_path / "again", offline=True)
    changed = [name for name, *_ in again.differences if "schema" in name or "test_uses" in name]
    assert changed == [], "what the version wrote is no difference of the result"
    assert again.splits_same


def test_an_old_run_whose_pictures_have_changed_is_not_reproduced(kept: Path, tmp_path: Path) -> None:
    run = tk.load_run(kept / "trained")
    data = shutil.copytree(kept / "digits", tmp_path / "digits")
    next(data.rglob("*.png")).unlink()
    with pytest.raises(DataError, match=r"is not what run .* was trained on"):
        run.reproduce(data, output=tmp_path / "third", offline=True)


def with_gone(run: Path, to: Path, value: float, only: bool = False, joined: str = " ") -> Path:
    """A copy of a run that was given `clip_norm`, as versions that had it wrote it; with `only`, nothing else of how a
    head is trained."""
    folder = shutil.copytree(run, to)
    content = read_json(folder / "run.json")
    content["command"] += f" --clip-norm{joined}{value:g}"
    content["given"] += ["clip_norm"]
    content["config"]["clip_norm"] = value
    if only:
        content["command"] = content["command"].replace("--head mlp --head-width 16 ", "").replace("--epochs 4 ", "")
        content["given"] = ["backbone", "clip_norm", "views"]
        content["config"] |= {"head": "auto", "head_width": [256], "epochs": 30}
    content["command"] = content["command"].replace("--head mlp", f"--head{joined}mlp")
    write_json(folder / "run.json", content)
    return folder


@pytest.mark.usefixtures("unpublished")
@pytest.mark.parametrize(("only", "joined"), [(False, "="), (True, " ")], ids=["among others, one word", "alone, two"])
def test_a_setting_that_is_gone_and_had_its_default_stops_nobody(
    kept: Path, tmp_path: Path, only: bool, joined: str
) -> None:
    folder = with_gone(kept / "trained", tmp_path / "run", 5.0, only, joined)
    result = call("resume", folder)
    assert result.code == 0, result.err
    assert "complete already; nothing to resume" in result.err + result.out
    assert call("summary", folder).code == 0
    shown = call("config", "show", folder).out
    assert "clip_norm" not in shown
    assert 'head = "mlp"' in shown, "what was trained by gradients is trained so again"


def test_a_setting_that_is_gone_and_had_another_value_is_refused_in_one_sentence(kept: Path, tmp_path: Path) -> None:
    folder = with_gone(kept / "trained", tmp_path / "run", 0.05)
    assert call("summary", folder).code == 0
    for words in (("resume",), ("reproduce", "--output", tmp_path / "again"), ("config", "show")):
        result = call(*words, folder)
        assert result.code == 2, words
        assert "no setting any more: the norm of the whole gradient is always held to 5" in result.err, words
        assert result.err.count("clip") == 1, result.err
    with pytest.raises(ConfigError, match=r"started with clip_norm 0.05, no setting any more"):
        check_settings(Layout(folder).read_manifest(), make({"backbone": "mini"}))


def test_keys_of_other_versions_are_kept_and_newer_schemas_refused(kept: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(kept / "trained", tmp_path / "run")
    content = read_json(folder / "run.json")
    content["precision"]["of_tomorrow"] = content["of_tomorrow"] = {"x": [1, 2.5]}
    write_json(folder / "run.json", content)
    assert Layout(folder).complete().as_json() == content
    write_json(folder / "run.json", {**content, "schema_version": 99})
    result = call("summary", folder)
    assert result.code == 2
    assert "written by a newer transferkit (schema version 99; this one reads up to 1)" in result.err


def test_arrays_of_old_runs_have_no_path(kept: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(kept / "trained", tmp_path / "run")
    content = read_json(folder / "run.json")
    content["data"]["path"] = "arrays"
    write_json(folder / "run.json", content)
    assert Layout(folder).complete().data.path is None
    result = call("reproduce", folder, "--output", tmp_path / "again")
    assert result.code == 2
    assert "was trained on arrays" in result.err
