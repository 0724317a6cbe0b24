"""Surroundings that change nothing (optimized bytecode, no standard input, a strict umask), and a quota."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import call, spawn
from tests.marks import extended

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a process is prepared before it starts")
AROUND: dict[str, dict[str, Any]] = {
    "PYTHONOPTIMIZE=2": {"env": {"PYTHONOPTIMIZE": "2"}},
    "standard input closed": {"preexec_fn": lambda: os.close(0)},
    "umask 077": {"preexec_fn": lambda: os.umask(0o077)},
}
COMMANDS: dict[str, Callable[[Path, Any], tuple[object, ...]]] = {
    "data summary": lambda data, run: ("data", "summary", data),
    "data split": lambda data, run: ("data", "split", data, "--seed", "0"),
    "predict": lambda data, run: ("predict", run.folder, data / "3", "--json"),
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("command", extended(COMMANDS, ["data split", "predict"]))
def test_a_command_says_and_writes_the_same_and_lets_nobody_else_read_it(
    command: str, around: str, digits: Path, digits_run: Any, tmp_path: Path
) -> None:
    words, options = COMMANDS[command](digits, digits_run), AROUND[around]
    usual = call(*words, *(["--output", tmp_path / "usual"] if command != "data summary" else []))
    assert usual.code == 0, usual.err
    output = tmp_path / "other"
    done = spawn(
        *words, *(["--output", output] if command != "data summary" else []),
        **{**options, "env": {**os.environ, **options.get("env", {})}},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace("other", "usual") == usual.out
    assert "Traceback" not in done.stderr
    if command == "data summary":
        return
    assert output.read_bytes() == (tmp_path / "usual").read_bytes()
    if around == "umask 077":
        assert output.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no quotas by this number")
@pytest.mark.parametrize("command", ["data split", "predict"])
def test_a_quota_that_is_used_up_is_one_error_with_the_file_and_leaves_nothing(
    command: str, digits: Path, digits_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = COMMANDS[command](digits, digits_run)

    def refuse(number: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", refuse)
    (tmp_path / "here").mkdir()
    done = call(*words, "--output", tmp_path / "here" / "out.csv")
    assert done.code == 1
    errors = [line for line in done.err.splitlines() if line.startswith("error")]
    assert len(errors) == 1, done.err
    assert "no space left" in errors[0]
    assert "out.csv" in errors[0]
    assert list((tmp_path / "here").iterdir()) == []
