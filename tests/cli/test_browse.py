"""`runs`, `open` and `resume`: finding, showing and going on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.data.pictures import folder_of_classes
from tests.holder import held
from tests.runs.sealing import put_manifest
from transferkit.delivery.invocation import beginning
from transferkit.delivery.overview import overview
from transferkit.errors import RunError
from transferkit.runs.layout import Layout


@pytest.fixture
def runs(digits_run: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    shutil.copytree(digits_run.folder, folder / "done")
    (folder / "deep" / "er").mkdir(parents=True)
    stopped = folder / "deep" / "er" / "stopped"
    stopped.mkdir()
    manifest = json.loads((folder / "done" / "run.json").read_text())
    manifest |= {"status": "interrupted", "started": "2020-01-01T00:00:00+0000"}
    put_manifest(stopped, manifest)
    broken = folder / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    return folder


def test_runs_lists_every_run_the_newest_first(runs: Path) -> None:
    rows = {Path(row.folder).name: row for row in overview(runs)}
    assert next(Path(row.folder).name for row in overview(runs)) == "done"
    metrics = json.loads((runs / "done" / "metrics.json").read_text())
    assert rows["done"].score == metrics["test"]["accuracy"]
    assert list(rows["done"].interval or ()) == metrics["test"]["accuracy_ci95"]
    assert rows["done"].size == sum(f.stat().st_size for f in (runs / "done").rglob("*") if f.is_file())
    assert (rows["stopped"].status, rows["stopped"].score) == ("interrupted", None)
    assert rows["broken"].status == "damaged"
    assert "run.json" in str(rows["broken"].problem)


HOLDER = (
    "from transferkit.runs.directory import run_lock\n"
    "from transferkit.runs.layout import Layout\n"
    "with run_lock(Layout(Path(sys.argv[1]))): print('held', flush=True); time.sleep(60)"
)


@pytest.mark.skipif(os.name != "posix", reason="whether a lock is held can be seen on POSIX systems")
def test_a_run_is_running_while_somebody_works_on_it_and_else_was_killed(runs: Path) -> None:
    place = runs / "deep" / "er" / "stopped"
    manifest = json.loads((place / "run.json").read_text())
    put_manifest(place, manifest | {"status": "running"})

    def status() -> str:
        return next(row.status for row in overview(runs) if row.folder == str(place))

    assert status() == "killed"
    with held(HOLDER, place):
        assert status() == "running"
        assert "is running, not complete" in call("summary", place).err
    assert (place / ".lock").exists()  # nobody took it away
    assert status() == "killed"
    said = call("summary", place)
    assert (said.code, "was killed, not complete" in said.err, "transferkit resume" in said.err) == (2, True, True)
    (place / ".lock").unlink()
    os.mkfifo(place / ".lock")  # whoever opens it to read waits for a writer
    assert status() in ("killed", "running")


def test_runs_is_a_table_for_people_and_json_for_machines(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = call("runs", runs).out
    assert all(word in text for word in ("done", "interrupted", "damaged", "mini", "accuracy 0."))
    assert max(map(len, text.splitlines())) <= 80
    assert len(json.loads(call("runs", runs, "--json").out)) == 3
    (runs / "empty").mkdir()
    assert "no runs in" in call("runs", runs / "empty").out


def test_before_the_first_run_there_is_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("runs")
    assert result.code == 0
    assert "make one with: transferkit finetune DATA" in result.out
    assert json.loads(call("runs", "--json").out) == []


def test_runs_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no folder"):
        overview(tmp_path / "none")


def test_open_shows_the_report_at_a_section(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: shown.append(address) or True)
    assert call("open", runs / "done", "mistakes").code == 0
    assert call("open", f"{runs / 'done'}#training").code == 0
    assert [address.partition("#")[2] for address in shown] == ["mistakes", "training"]
    assert shown[0].startswith("file:///")
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    assert "report.html" in call("open", runs / "done").out
    (runs / "done" / "report.html").unlink()
    assert json.loads(call("open", runs / "done", "--json").out)["report"].endswith("report.html")
    assert (runs / "done" / "report.html").is_file()  # made again


def test_open_names_what_is_not_finished(runs: Path) -> None:
    result = call("open", runs / "deep" / "er" / "stopped")
    assert result.code == 2
    assert "interrupted" in result.err


@pytest.mark.usefixtures("unpublished")
def test_resume_goes_on_from_anywhere_with_the_settings_of_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of_classes(tmp_path / "pictures", {"a": 8, "b": 8})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    given = ("--backbone", "mini", "--epochs", "2", "--views", "0", "--augment", "none", "--seed", "3")
    given += ("--offline", "--tensorboard", "--no-cache")
    with monkeypatch.context() as patch:
        patch.setattr("transferkit.runs.packaging.Packaging.ship", _interrupt)
        stopped = call("finetune", "pictures", *given, "--output", "run")
        assert stopped.code == 130
        assert "interrupted\ngo on with:  transferkit resume run\n" in stopped.err
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = call("resume", tmp_path / "run", "-q")
    assert result.code == 0, result.err
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (manifest["status"], manifest["resumed"], manifest["config"]["seed"]) == ("complete", 1, 3)
    assert (manifest["options"], manifest["cache"]) == ({"offline": True, "track": ["tensorboard"]}, False)
    assert list((tmp_path / "run").rglob("events.out.tfevents.*"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "nothing to resume" in call("resume", tmp_path / "run").err


def test_a_run_that_does_not_say_how_it_was_run_is_resumed_as_it_is(runs: Path) -> None:
    path = runs / "deep" / "er" / "stopped" / "run.json"
    content = json.loads(path.read_text()) | {"command": "transferkit finetune flowers"}
    content.pop("options", None)
    put_manifest(path.parent, content)
    assert beginning(Layout(path.parent)).options == {}


@pytest.mark.parametrize("damage", ["x", {"offline": "yes", "track": [3], "cache": 1}, {"track": "mlflow"}])
def test_damaged_options_are_not_guessed_at(runs: Path, damage: Any) -> None:
    path = runs / "deep" / "er" / "stopped" / "run.json"
    content = json.loads(path.read_text()) | {"command": "transferkit finetune flowers"}
    put_manifest(path.parent, content | {"options": damage})
    with pytest.raises(RunError, match=r"run.json is damaged \(options"):
        beginning(Layout(path.parent))


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_an_interrupt_before_anything_was_made_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of_classes(tmp_path / "pictures", {"a": 8, "b": 8})
    (tmp_path / "run").mkdir()  # the user's own, empty
    monkeypatch.setattr("transferkit.runs.intake.readable", _interrupt)
    stopped = call("finetune", tmp_path / "pictures", "--backbone", "mini", "--output", tmp_path / "run", "--quiet")
    assert stopped.code == 130
    assert stopped.err.strip() == "interrupted\nno run was begun, nothing is left behind; repeat the command to start"


@pytest.mark.usefixtures("unpublished")
def test_what_a_script_began_goes_on_by_its_own_call(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 255, (24, 32, 32, 3), np.uint8), np.arange(24) % 2
    settings: dict[str, Any] = {
        "output": tmp_path / "run",
        "epochs": 1,
        "augment": "none",
        "head_width": 4,
        "quiet": True,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transferkit.runs.packaging.Packaging.ship", _interrupt)
        with pytest.raises(KeyboardInterrupt) as caught:
            tk.finetune(data, "mini", **settings)
    assert caught.value.__notes__ == [f"go on with the same call and:  output={str(tmp_path / 'run')!r}, resume=True"]
    assert tk.finetune(data, "mini", resume=True, **settings).manifest["status"] == "complete"


def test_resume_refuses_what_only_a_script_can_go_on_with(runs: Path) -> None:
    path = runs / "deep" / "er" / "stopped" / "run.json"
    for command in (
        "transferkit.finetune((x, y), backbone='mini')",
        "rm -rf x",
        "transferkit cache clear",
        "transferkit 'x",
    ):
        put_manifest(path.parent, json.loads(path.read_text()) | {"command": command})
        result = call("resume", path.parent)
        assert result.code == 2
        assert "begun by a script" in result.err


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
def test_resume_goes_on_with_a_search_from_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of_classes(tmp_path / "pictures", {"a": 8, "b": 8})
    monkeypatch.chdir(tmp_path)
    given = (
        "--backbone",
        "mini",
        "--epochs",
        "2",
        "--views",
        "0",
        "--augment",
        "none",
        "--trials",
        "2",
        "--seeds",
        "1",
    )
    with monkeypatch.context() as patch:
        patch.setattr("transferkit.tuning.search.Search.finals", _interrupt)
        searched = ("--search", "head_width=8,16", "--output", "search")
        stopped = call("tune", "pictures", *given, *searched, "--no-cache", "--offline")
        assert stopped.code == 130
        assert "go on with:  transferkit resume search" in stopped.err
    assert not (tmp_path / "search" / "run.json").exists()
    told = " ".join(call("summary", "search").err.split())
    assert "a search that has not ended, so there is no run in it yet; go on with `transferkit resume search`" in told
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = call("resume", tmp_path / "search")
    assert result.code == 0, result.err
    assert "2 trials are done already" in result.err
    manifest = json.loads((tmp_path / "search" / "run.json").read_text())
    assert (manifest["status"], manifest["options"]["offline"], manifest["cache"]) == ("complete", True, False)
