"""A run that is killed, interrupted or left alone resumes to the same result; two processes never share one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.fresh import Fresh
from tests.holder import held
from tests.marks import extended
from tests.runs.conftest import OPTIONS, Made, again
from transferkit.errors import RunError
from transferkit.runs.directory import run_lock
from transferkit.runs.layout import Layout

# The real command in a real process that ends itself, by the signal given, when `name` of `module` is called for the
# n-th time: a kill at a chosen moment rather than after so many seconds.
DRIVER = """
import importlib, os, signal, sys
from transferkit.cli import main
# A shell that starts tests in the background makes them ignore this signal, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
module, owner, name, number, what = sys.argv[1:6]
home = importlib.import_module(module)
home = getattr(home, owner) if owner else home
original, calls = getattr(home, name), 0
def counted(*args, **kwargs):
    global calls
    calls += 1
    if calls == int(number):
        os.kill(os.getpid(), getattr(signal, what))
    return original(*args, **kwargs)
setattr(home, name, counted)
sys.argv = ["transferkit", *sys.argv[6:]]
main()
"""
MOMENTS = {
    "between two epochs of the tail": ("transferkit.training.fit", "Loop", "_train", 5),
    "before the test": ("transferkit.runs.scoring", "", "predictions", 1),
    "while metrics are written": ("transferkit.runs.assessment", "", "write_json", 1),
}


def driven(
    fresh: Fresh, moment: tuple[str, str, str, int], what: str, digits: Path, folder: Path
) -> subprocess.CompletedProcess[str]:
    module, owner, name, number = moment
    arguments = ["finetune", str(digits), *OPTIONS, "--seed", "0", "--output", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return fresh(DRIVER, module, owner, name, number, what, *arguments, env=environment)


def result_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text("utf-8"))
    return content


@pytest.mark.usefixtures("unpublished")
@pytest.mark.slow
@pytest.mark.parametrize("moment", extended(MOMENTS, ["before the test", "while metrics are written"]))
def test_a_killed_run_resumes_to_the_same_result(
    moment: str, made: Made, digits: Path, fresh: Fresh, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    killed = driven(fresh, MOMENTS[moment], "SIGKILL", digits, folder)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    refused = call("evaluate", folder)
    assert refused.code == 2
    assert "was killed, not complete" in refused.err
    assert again(digits, folder, "--seed", 0).code == 2  # not without --resume
    resumed = again(digits, folder, "--seed", 0, "--resume")
    assert resumed.code == 0, resumed.err
    assert result_of(folder) == result_of(made.folder)
    assert (folder / "predictions.csv").read_bytes() == (made.folder / "predictions.csv").read_bytes()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["resumed"] == 1


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
@pytest.mark.slow
def test_interrupt_ends_with_130_and_a_run_that_resumes(made: Made, digits: Path, fresh: Fresh, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stopped = driven(fresh, MOMENTS["between two epochs of the tail"], "SIGINT", digits, folder)
    assert stopped.returncode == 130
    assert "interrupted\ngo on with:  transferkit resume " in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    assert again(digits, folder, "--seed", 0, "--resume").code == 0
    assert result_of(folder) == result_of(made.folder)


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
def test_a_failure_is_recorded_and_the_run_resumes(
    made: Made, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("transferkit.runs.scoring.predictions", lambda *_: 1 / 0)
        failed = again(digits, folder, "--seed", 0)
    assert failed.code == 1
    assert "unexpected ZeroDivisionError" in failed.err
    assert "--debug" in failed.err
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["status"] == "failed"
    assert manifest["error"].startswith("ZeroDivisionError")
    assert again(digits, folder, "--seed", 0, "--resume").code == 0
    assert result_of(folder) == result_of(made.folder)
    assert "error" not in json.loads((folder / "run.json").read_text())


def test_resuming_a_complete_run_says_so_and_changes_nothing(made: Made, digits: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")}
    result = call("finetune", digits, *OPTIONS, "--seed", 0, "--output", made.folder, "--resume")
    assert result.code == 0
    assert "is complete already" in result.err
    assert "never used before" in result.out
    assert {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")} == before


def test_a_report_that_a_kill_prevented_is_written_on_resume(made: Made, digits: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(made.folder, tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    assert again(digits, tmp_path / "run", "--seed", 0, "--resume").code == 0
    assert (tmp_path / "run" / "report.html").exists()


def test_resume_refuses_data_that_changed(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    data, folder = tmp_path / "digits", tmp_path / "run"
    shutil.copytree(digits, data)
    settings: dict[str, Any] = {"epochs": 1, "augment": "none", "output": folder, "quiet": True}
    with monkeypatch.context() as patch:
        patch.setattr("transferkit.runs.scoring.predictions", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tk.finetune(data, "mini", **settings)
    (data / "3" / "3_0000.png").unlink()
    with pytest.raises(ValueError, match=r"not what the run was started with.*1 pictures.*3/3_0000.png") as caught:
        tk.finetune(data, "mini", resume=True, **settings)
    assert "another --output" in str(caught.value)


def test_a_second_process_is_refused_while_the_first_works(digits: Path, tmp_path: Path) -> None:
    holder = (
        "from transferkit.runs.directory import run_lock\n"
        "from transferkit.runs.layout import Layout\n"
        "with run_lock(Layout(Path(sys.argv[1]))): print('held', flush=True); time.sleep(60)"
    )
    folder = tmp_path / "run"
    with held(holder, folder):
        result = call("finetune", digits, *OPTIONS, "--output", folder, "--quiet")
        assert result.code == 2
        assert "another process is working on" in result.err
    # A killed process holds nothing, and what it left does not count as content.
    with run_lock(Layout(folder)):
        pass
    assert list(folder.iterdir()) == []


def test_the_lock_clears_what_a_killed_process_left_half_written(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "run")
    layout.folder.mkdir()
    (layout.folder / ".model.123-abcd.tmp.keras").write_bytes(b"half")
    (layout.folder / "metrics.json").write_text("{}")
    with run_lock(layout):
        assert not list(layout.folder.glob(".model*"))
        with pytest.raises(RunError, match="another process"), run_lock(layout):
            pass
    assert [path.name for path in layout.folder.iterdir()] == ["metrics.json"]


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    extended(
        [("transferkit.runs.scoring", "predictions"), ("transferkit.runs.assessment", "write_json")],
        [("transferkit.runs.scoring", "predictions")],
    ),
)
def test_a_folder_that_is_removed_while_the_run_works_is_an_error(
    moment: tuple[str, str], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib
    import shutil

    folder, (module, name) = tmp_path / "run", moment
    original = getattr(importlib.import_module(module), name)

    def removed(*given: Any, **named: Any) -> Any:
        shutil.rmtree(folder, ignore_errors=True)
        return original(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.{name}", removed)
        done = again(digits, folder, "--seed", 0)
    assert done.code == 2
    assert "was removed or changed while the run was worked on: splits.csv, history.csv" in done.err
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"
    assert again(digits, folder, "--seed", 0, "--resume").code == 0
    assert all((folder / name).is_file() for name in ("splits.csv", "history.csv", "predictions.csv", "model.keras"))
