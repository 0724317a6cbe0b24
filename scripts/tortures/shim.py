"""The preloaded library of shim.c: compiled once, where there is a compiler."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

LACKING = "no C compiler, or not Linux"
COUNTERS = struct.Struct("=8q")  # of shim.c: a number a folder


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
    made = library()
    if made is None:
        return {}
    if count is None:
        handle, name = tempfile.mkstemp(dir=made.parent)
        os.close(handle)
        count = Path(name)
    count.write_bytes(COUNTERS.pack(*[0] * 8))
    found = {"LD_PRELOAD": str(made), "TORTURE_UNDER": ":".join(map(str, under)), "TORTURE_COUNT": str(count)}
    return found | ({"TORTURE_AT": str(at), "TORTURE_DO": do} if do else {})


def counted(count: Path, folders: int = 1) -> list[int]:
    """The numbers of operations that were counted of all processes together, a folder each."""
    found = COUNTERS.unpack(count.read_bytes()) if count.exists() else [0] * folders
    return list(found[:folders])


def clock(seconds: int) -> dict[str, str]:
    """What an environment is given besides, for a time of day that is `seconds` later, or with a minus earlier."""
    return {} if library() is None else {"LD_PRELOAD": str(library()), "TORTURE_CLOCK": str(seconds)}
