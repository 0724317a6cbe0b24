"""Whether a folder may become a run directory, is one, and is whole."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from transferkit.errors import RunError, StorageError
from transferkit.runs.directory import check_new, free_name, is_run, require_whole, run_lock
from transferkit.runs.layout import Layout


def test_free_names(tmp_path: Path) -> None:
    assert free_name(tmp_path, "a").name == "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2").mkdir()
    assert free_name(tmp_path, "a").name == "a-3"


def test_an_empty_folder_or_one_with_leftovers_may_be_used(tmp_path: Path) -> None:
    assert check_new(tmp_path / "new" / "deep", resume=False) == []
    (tmp_path / ".lock").touch()
    assert check_new(tmp_path, resume=False) == check_new(tmp_path, resume=True) == []


@pytest.mark.parametrize(("name", "resume", "said"), [
    ("other.txt", False, "exists and is not empty"),
    ("run.json", False, "add --resume to finish the run"),
    ("other.txt", True, "holds no run that could be resumed"),
])  # fmt: skip
def test_what_is_in_a_folder_is_not_written_over(name: str, resume: bool, said: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    (problem,) = check_new(tmp_path, resume)
    assert said in problem


def test_a_run_that_goes_on_is_found_by_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "run.json").touch()
    assert check_new(tmp_path, resume=True) == []
    assert not is_run(tmp_path)  # any program may have a file of this name
    (tmp_path / "trials.jsonl").touch()
    assert is_run(tmp_path)


def test_what_is_gone_of_a_run_is_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for path in (layout.splits, layout.history, layout.metrics, layout.model):
        path.touch()
    require_whole(layout, False)
    with pytest.raises(RunError, match=r"worked on: predictions\.csv of it are gone"):
        require_whole(layout, True)
    with pytest.raises(RunError, match=r"worked on: trials\.jsonl of it are gone"):
        require_whole(layout, False, layout.journal)


def test_a_folder_that_may_not_be_written_any_more_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "run"))

    monkeypatch.setattr(Path, "mkdir", refuse)
    said = r"cannot write .*run.*Permission denied.*another --output"
    with pytest.raises(StorageError, match=said), run_lock(Layout(tmp_path / "run")):
        pass
