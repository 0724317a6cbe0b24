"""Importing, help and argument errors are cheap: no TensorFlow, no Keras."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import transferkit

HEAVY = ("tensorflow", "keras", "jax", "sklearn", "matplotlib", "scipy", "keras_tuner")
RUN = """
import json, sys
from transferkit.cli import cli
from transferkit.cli._boundary import guarded
codes = [guarded(cli, arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps([codes, sorted(sys.modules)]), file=sys.__stdout__)
"""


def modules(code: str, *commands: Sequence[object]) -> tuple[list[int], set[str]]:
    """Exit codes of `commands`, and names of all modules that they imported in one fresh process."""
    words = json.dumps([[*map(str, command)] for command in commands])
    done = subprocess.run([sys.executable, "-c", code, words], capture_output=True, text=True, timeout=100, check=True)
    ended, names = json.loads(done.stdout.splitlines()[-1])
    return ended, set(names)


def test_importing_the_package_imports_next_to_nothing() -> None:
    code = "import json, sys, transferkit as tk; dir(tk); print(json.dumps([[], sorted(sys.modules)]))"
    _, names = modules(code)
    assert not names & {*HEAVY, "numpy", "pydantic", "click", "rich"}


def test_every_public_name_is_found() -> None:
    code = (
        "import json, sys, transferkit as tk\n"
        "for name in tk.__all__:\n"
        "    if name != 'HyperModel': getattr(tk, name)\n"  # a subclass of Keras Tuner's
        "print(json.dumps([[], sorted(sys.modules)]))"
    )
    _, names = modules(code)
    assert not names & set(HEAVY)
    assert set(transferkit.__all__) <= set(dir(transferkit))
    with pytest.raises(AttributeError, match="no attribute 'finetine'"):
        transferkit.finetine  # noqa: B018


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["predict", "--help"], ["data", "check", "--help"],
     ["finetune", "--help"], ["best", "--help"], ["tune", "--help-all"]],
)  # fmt: skip
def test_help_imports_nothing_that_computes(arguments: list[str]) -> None:
    codes, names = modules(RUN, arguments)
    assert codes == [0]
    # The options of these are made of the settings, which are pydantic's.
    made = set() if arguments[0] in ("finetune", "best", "tune", "data") else {"pydantic"}
    assert not names & {*HEAVY, "numpy", "rich", "PIL", *made}


def test_errors_of_arguments_and_data_never_import_tensorflow(tmp_path: Path) -> None:
    from tests.data.pictures import folder_of_classes

    data = folder_of_classes(tmp_path / "data", {"a": 8, "b": 2})
    run = tmp_path / "run"
    codes, names = modules(
        RUN,
        ["finetune", data, "--backbone", "vgg61", "--epochs", "0", "--metric", "nothing", "--output", run],
        ["finetune", tmp_path / "absent", "--backbone", "mini", "--output", run],
        ["finetune", data, "--backbone", "mini", "--output", run],  # a class too small for the split
        ["predict", run, data],
        ["evaluate", run],
    )
    assert codes == [2] * 5
    assert not names & {"tensorflow", "keras", "jax"}
    assert not run.exists()
