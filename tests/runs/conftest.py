"""Finished runs that several tests read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.calls import Result, call, tree
from tests.fresh import Fresh

OPTIONS = (
    "--backbone", "mini", "--head", "mlp", "--unfreeze", "from:block4", "--views", "1", "--epochs", "3", "--offline",
)  # fmt: skip


COMMAND = "from transferkit.cli import main\nmain()"


@dataclass(frozen=True)
class Made:
    """A run that a process of its own made, and what lay around it before and after."""

    folder: Path
    output: str
    errors: str
    code: int
    data_before: dict[str, bytes]
    data_after: dict[str, bytes]
    home: Path
    cache: Path
    work: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, digits: Path, fresh: Fresh) -> Made:
    """`transferkit finetune … --json` on the digits, in a fresh process with an empty home. Read only."""
    base = tmp_path_factory.mktemp("made")
    home, work, cache = base / "home", base / "work", base / "cache"
    home.mkdir()
    work.mkdir()
    environment = {
        **os.environ,
        "HOME": str(home),
        "TRANSFERKIT_CACHE": str(cache),
        "TRANSFERKIT_STATE": str(base / "state"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "KERAS_HOME", "MPLCONFIGDIR"):
        environment.pop(name, None)
    before = tree(digits)
    arguments = ("finetune", digits, *OPTIONS, "--seed", "0", "--output", base / "run", "--json")
    result = fresh(COMMAND, *arguments, env=environment, cwd=work)
    after = tree(digits)
    return Made(base / "run", result.stdout, result.stderr, result.returncode, before, after, home, cache, work)


def again(digits: Path, output: Path, *more: object) -> Result:
    """The run of `made`, in this process, into another folder."""
    return call("finetune", digits, *OPTIONS, *more, "--output", output, "--quiet")
