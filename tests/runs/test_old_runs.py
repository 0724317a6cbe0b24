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
from transferkit.errors import DataError
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.files import read_json, write_json
from transferkit.runs.layout import Layout
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
