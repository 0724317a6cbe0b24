"""How much a process may take, as a process with a bound sees it."""

import subprocess
import sys

import pytest

from transferkit import addresses

resource = pytest.importorskip("resource")
TELL = "from transferkit import addresses; print(addresses.bound(), addresses.left())"


def told(bound=None):
    lines = ["import resource", f"resource.setrlimit(resource.RLIMIT_AS, ({bound}, {bound}))"] if bound else []
    done = subprocess.run([sys.executable, "-c", "\n".join([*lines, TELL])], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(addresses.bound() is not None, reason="the tests themselves are bounded")
def test_without_a_bound_there_is_none():
    assert told() == ["None", "None"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds of addresses as Linux has them")
def test_what_is_left_is_the_bound_without_what_is_taken():
    bound, left = map(int, told(addresses.GB))
    assert bound == addresses.GB
    assert 0.5 * addresses.GB < left < addresses.GB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds of addresses as Linux has them")
def test_some_are_kept_for_the_error_that_says_that_there_are_none():
    code = """
import resource, sys
from transferkit import addresses
addresses.keep()
print(addresses._kept)  # nothing without a bound
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
addresses.keep()
taken = []
try:
    while True:
        taken.append(bytearray(1 << 20))
except MemoryError:
    before = addresses.left()
    addresses.let_go()
    print(addresses.left() - before >> 20, len(bytearray(8 << 20)) >> 20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n16 8\n"
