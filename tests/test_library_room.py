"""Where addresses are short, an import is refused that would not come back; with room it is as ever."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from transferkit import addresses
from transferkit.library_room import ROOM

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds of addresses as Linux has them")
THREADS = "OPENBLAS_NUM_THREADS"
GB = 1 << 30
LOADING = """
import resource, sys
def bound(megabytes):
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (megabytes << 20), resource.RLIM_INFINITY))
{bounded}
import transferkit
print(any("library_room" in type(finder).__module__ for finder in sys.meta_path))
{first}
{then}
try:
    import {module}
    print("imported")
except MemoryError as error:
    print("refused:", error)
"""


def loaded(module: str, room: int | None, first: str = "", threads: str = "1") -> str:
    """What a program says that imports `first`, and then, with `room` MB left, the module."""
    bounds = ("", "") if room is None else ("bound(2000)", f"bound({room})")
    code = LOADING.format(module=module, first=first, bounded=bounds[0], then=bounds[1])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, THREADS: threads}
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("module", "library"), [("numpy", "NumPy"), ("cv2", "OpenCV"), ("scipy.stats", "SciPy"), ("scipy.special", "SciPy")]
)
def test_an_import_comes_back_whatever_room_there_is(module: str, library: str) -> None:
    first, _ = ROOM[library]
    before = "" if library == "NumPy" else "import numpy"
    assert f"refused: {library} needs {first} MB of addresses" in loaded(module, first - 10, before)
    assert "imported" in loaded(module, first + 100, before)


def test_each_thread_takes_room_of_its_own() -> None:
    first, more = ROOM["NumPy"]
    assert f"NumPy needs {first + 3 * more} MB" in loaded("numpy", first + 40, threads="4")


@pytest.mark.skipif(addresses.bound() is not None, reason="the tests themselves are bounded")
def test_without_a_bound_nothing_is_looked_at() -> None:
    assert loaded("numpy", None) == "False\nimported\n"
    assert loaded("numpy", 1000) == "True\nimported\n"


@pytest.mark.parametrize(("most", "given", "told"), [(3 * GB, None, "1"), (3 * GB, "2", "2"), (900 * GB, None, "None")])
def test_under_a_tight_bound_openblas_has_one_thread(most: int, given: str | None, told: str) -> None:
    code = (
        f"import os, resource; resource.setrlimit(resource.RLIMIT_AS, ({most}, {most}))\n"
        f"from transferkit import library_room; library_room.spare(); print(os.environ.get('{THREADS}'))"
    )
    environment = {key: value for key, value in os.environ.items() if key != THREADS}
    environment |= {} if given is None else {THREADS: given}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == told
