"""The preloaded library of shim.c: compiled once, where there is a compiler."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tortures.trying import Session

LACKING = "no C compiler, or not Linux"


@functools.cache
def library() -> Path | None:
    """The compiled library; None where it cannot be made: no C compiler, or not Linux."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    folder = tempfile.mkdtemp(prefix="transferkit-shim-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = Path(folder) / "shim.so"
    source = Path(__file__).with_suffix(".c")
    done = subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", str(made), str(source), "-ldl"], capture_output=True, check=False
    )
    return made if done.returncode == 0 else None


def environment(session: Session, under: Path, at: int = 0, do: str = "", count: Path | None = None) -> dict[str, str]:
    """The session's environment with the fault `do` at the operation `at` below `under`."""
    found = session.environment()
    if library() is not None:
        found |= {"LD_PRELOAD": str(library()), "TORTURE_UNDER": str(under)}
        found |= {"TORTURE_AT": str(at), "TORTURE_DO": do} if do else {}
        found |= {"TORTURE_COUNT": str(count)} if count else {}
    return found


@contextmanager
def counting(count: Path) -> Iterator[None]:
    """A count that begins at nothing."""
    count.write_text("0")
    yield
