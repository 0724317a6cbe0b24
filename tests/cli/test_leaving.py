"""How a command's process ends: nothing that was to be done is left out."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys, threading, time, types
from transferkit.cli._leaving import leave

class Held:
    def __del__(self):
        print("let go")

def work():
    time.sleep(0.2)
    print("worked")

held = Held()
if sys.argv[1] == "keras":
    sys.modules["keras"] = types.ModuleType("keras")
atexit.register(print, "put in order")
threading.Thread(target=work).start()
print("said")
leave(3)
"""


@pytest.mark.parametrize(("used", "end"), [("keras", []), ("nothing", ["let go"])])
def test_threads_and_what_is_to_be_put_in_order_are_waited_for_and_memory_is_not(used: str, end: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, used], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.split("\n")[:-1] == ["said", "worked", "put in order", *end]


def test_an_output_that_is_closed_changes_nothing_of_how_it_ends() -> None:
    program = PROGRAM.replace("leave(3)", "sys.stdout.close(); leave(3)").replace('print("worked")', "pass")
    program = program.replace('atexit.register(print, "put in order")', "")
    done = subprocess.run([sys.executable, "-c", program, "keras"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "said\n", "")
