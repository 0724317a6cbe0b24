"""The preloaded library of shim.c: compiled once, where there is a compiler."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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


def faults(*under: Path, at: int = 0, do: str = "", count: Path | None = None) -> dict[str, str]:
    """What an environment is given besides, for the fault `do` at the operation `at` below a folder, or for a count
    of the operations below each of several.
    """
    if library() is None:
        return {}
    found = {"LD_PRELOAD": str(library()), "TORTURE_UNDER": ":".join(map(str, under))}
    found |= {"TORTURE_AT": str(at), "TORTURE_DO": do} if do else {}
    if count is not None:
        count.write_text("0")
        found["TORTURE_COUNT"] = str(count)
    return found


def counted(count: Path, folders: int = 1) -> list[int]:
    """The numbers of operations that were counted, a folder each."""
    found = [int(number) for number in count.read_text().split()]
    return (found + [0] * folders)[:folders]


def clock(seconds: int) -> dict[str, str]:
    """What an environment is given besides, for a time of day that is `seconds` later, or with a minus earlier."""
    return {} if library() is None else {"LD_PRELOAD": str(library()), "TORTURE_CLOCK": str(seconds)}
