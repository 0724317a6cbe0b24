"""How a command's process ends: nothing that was to be done is left out."""

from __future__ import annotations

import pstats
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import atexit, sys, threading, time, types
from transferkit.ending import leave

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


def _ended(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("used", "end"), [("keras", []), ("nothing", ["let go"])])
def test_threads_and_what_is_to_be_put_in_order_are_waited_for_and_memory_is_not(used: str, end: list[str]) -> None:
    done = _ended(PROGRAM, used)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.split("\n")[:-1] == ["said", "worked", "put in order", *end]


def test_a_profile_is_written_and_so_is_what_a_tracer_saw(tmp_path: Path) -> None:
    program, profile = tmp_path / "program.py", tmp_path / "profile"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "cProfile", "-o", str(profile), str(program), "keras"]
    subprocess.run(command, capture_output=True, check=False)
    assert any(name == "leave" for _, _, name in pstats.Stats(str(profile)).stats)  # type: ignore[attr-defined]
    traced = "sys.settrace(lambda *_: None)\ntry:\n    leave(3)\nfinally:\n    print('to be told')\n"
    done = _ended(PROGRAM.replace("leave(3)", traced), "keras")
    assert done.returncode == 3
    assert "to be told" in done.stdout


def test_an_output_that_is_closed_changes_nothing_of_how_it_ends() -> None:
    program = PROGRAM.replace("leave(3)", "sys.stdout.close(); leave(3)").replace('print("worked")', "pass")
    program = program.replace('atexit.register(print, "put in order")', "")
    done = _ended(program, "keras")
    assert (done.returncode, done.stdout, done.stderr) == (3, "said\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux's")
def test_output_that_nobody_got_is_an_exit_code() -> None:
    program = "import sys, types; sys.modules['keras'] = types.ModuleType('keras'); print('said'); "
    program += "from transferkit.ending import leave; leave(0)"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=full, check=False)
    assert done.returncode == 120


@pytest.mark.skipif(sys.platform == "win32", reason="by a signal")
def test_asked_to_end_while_it_ends_a_command_ends_as_it_would_have() -> None:
    program = PROGRAM.replace("time.sleep(0.2)", "time.sleep(0.2); os.kill(os.getpid(), signal.SIGINT); time.sleep(5)")
    program = program.replace("import atexit,", "import os, signal, atexit,").replace("leave(3)", "leave(0)")
    program = program.replace("held = Held()", "signal.signal(signal.SIGINT, signal.default_int_handler)")
    done = _ended(program, "keras")
    assert (done.returncode, done.stderr) == (0, "")
    assert "put in order" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="by a signal")
def test_asked_to_end_while_it_puts_things_in_order_it_does_so() -> None:
    program = PROGRAM.replace("atexit.register(print, ", "atexit.register(order, ").replace(
        "import atexit,", "import atexit, os, signal,"
    )
    program = program.replace(
        "held = Held()",
        """
def order(text):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    print(text)
""",
    )
    done = _ended(program, "keras")
    assert (done.returncode, done.stderr) == (3, "")
    assert "put in order" in done.stdout
