"""A cache that has what is needed and may not be written: what only reads it goes on, all else is one clear error."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.calls import tree
from tests.fresh import Fresh
from tests.runs.conftest import OPTIONS, Made
from tests.runs.test_resume import DRIVER, MOMENTS, result_of

ORDINARY = "from tests.marks import be_ordinary_user\nbe_ordinary_user()\n"
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def store(made: Made, cache: Path) -> Path:
    """A copy of the cache that `made` filled, in the place where this test's is."""
    shutil.copytree(made.cache, cache)
    return cache


@pytest.fixture
def command(fresh: Fresh) -> Command:
    """The command line as an ordinary user."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    program = f"{ORDINARY}from transferkit.cli import main\nmain()"
    return lambda *words: fresh(program, *words, env=environment)


def forbid(folder: Path) -> None:
    """Nothing below may be written any more."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def refused(done: subprocess.CompletedProcess[str], store: Path) -> None:
    """One error: the variable, its folder, why, and the way without."""
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(errors) == 1, done.stderr
    assert f"TRANSFERKIT_CACHE={store} cannot be used (Permission denied)" in errors[0]
    assert "--no-cache" in errors[0]
    assert "Traceback" not in done.stderr


@pytest.mark.extended
@pytest.mark.slow
def test_a_cache_that_may_not_be_written_is_one_error_and_no_hindrance_to_what_needs_none(
    made: Made, digits: Path, store: Path, command: Command, tmp_path: Path
) -> None:
    forbid(store)
    before, words = tree(store), ("finetune", digits, *OPTIONS, "--seed", "0", "--output", tmp_path / "run")
    refused(command(*words), store)
    assert not (tmp_path / "run").exists()
    done = command("predict", made.folder, digits / "3", "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 20
    done = command(*words, "--no-cache")
    assert done.returncode == 0, done.stderr
    assert result_of(tmp_path / "run")["test"] == result_of(made.folder)["test"]
    assert tree(store) == before


@pytest.mark.extended
@pytest.mark.slow
def test_features_that_may_only_be_read_are_read_by_a_run_and_by_one_that_is_resumed(
    made: Made, digits: Path, store: Path, command: Command, fresh: Fresh, tmp_path: Path
) -> None:
    forbid(store / "features")
    before, words = tree(store / "features"), ("finetune", digits, *OPTIONS, "--seed", "0", "--output")
    moment = MOMENTS["before the test"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = (moment[0], moment[1], moment[2], moment[3], "SIGKILL", *words, tmp_path / "killed")
    assert fresh(ORDINARY + DRIVER, *arguments, env=environment).returncode == -9
    for done, run in (
        (command(*words, tmp_path / "run"), tmp_path / "run"),
        (command("resume", tmp_path / "killed"), tmp_path / "killed"),
    ):
        assert done.returncode == 0, done.stderr
        assert result_of(run)["test"] == result_of(made.folder)["test"]
    assert tree(store / "features") == before


@pytest.mark.extended
@pytest.mark.slow
def test_an_interrupted_run_whose_cache_may_not_be_written_any_more_says_so_and_resumes_once_it_may(
    made: Made, digits: Path, store: Path, command: Command, fresh: Fresh, tmp_path: Path
) -> None:
    folder, moment = tmp_path / "killed", MOMENTS["before the test"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = ("finetune", digits, *OPTIONS, "--seed", "0", "--output", folder)
    assert fresh(DRIVER, *moment, "SIGKILL", *arguments, env=environment).returncode == -9
    store.chmod(0o555)
    refused(command("resume", folder), store)
    store.chmod(0o755)
    assert command("resume", folder).returncode == 0
    assert result_of(folder)["test"] == result_of(made.folder)["test"]
