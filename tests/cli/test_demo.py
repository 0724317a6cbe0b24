"""`transferkit demo`: what it does not show is said."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import call
from transferkit.api import Run


def test_the_command_that_it_ends_with_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(*_: object, output: Path, **__: Any) -> Run:
        return Run(output)

    monkeypatch.setattr("transferkit.api.finetune", trained)
    monkeypatch.setattr(Run, "summary", lambda *_: "fine")
    result = call("demo", "--output", tmp_path / "my demo")
    assert result.out.startswith("fine\n")
    words = shlex.split(result.out.splitlines()[-1])
    assert words[:3] == ["transferkit", "predict", str(tmp_path / "my demo" / "run")]
    assert len(list(Path(words[3]).iterdir())) > 100
    assert words[4:] == ["--top", "2"]


def test_who_asks_for_photographs_is_told_why_there_are_none_and_what_to_do() -> None:
    result = call("demo", "--photos")
    assert result.code == 2
    assert "no photographs ship with the package" in result.err
    assert "transferkit finetune photos/" in result.err
