"""Run the real command line, in this process or in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from transferkit.cli import cli
from transferkit.cli._boundary import guarded


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape", newline="")


def call(*arguments: object) -> Result:
    """The command in this process, through the error boundary that `transferkit` has."""
    out, err = _stream(), _stream()
    with redirect_stdout(out), redirect_stderr(err):
        code = guarded(cli, [os.fspath(a) if isinstance(a, Path) else str(a) for a in arguments])
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "surrogateescape"))  # type: ignore[attr-defined]
    return Result(code, *texts)


def spawn(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "transferkit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)  # type: ignore[call-overload,no-any-return]


def tree(*folders: Path) -> dict[str, bytes]:
    """Every file below `folders` with its content."""
    return {str(f): f.read_bytes() for folder in folders for f in sorted(folder.rglob("*")) if f.is_file()}
