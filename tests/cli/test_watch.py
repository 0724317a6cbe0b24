"""Under `ulimit -v`: what a crash of a library leaves the user with, and that a watched command is as any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.data.pictures import folder_of_classes

resource = pytest.importorskip("resource")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds of addresses as Linux has them")
pytestmark = linux
GB = 1 << 30
BOUNDED = (
    f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({3 * GB}, resource.getrlimit(resource.RLIMIT_AS)[1]))"
)
# In the background of a shell, where tests may run, interrupts are ignored.
HEEDING = "import os, signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)"
WATCHED = "from transferkit.cli import _watch; _watch.watched()"


def program(*lines: str, bounded: bool = True) -> subprocess.Popen[bytes]:
    code = "\n".join([BOUNDED if bounded else "", HEEDING, WATCHED, *lines])
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


@pytest.mark.parametrize(
    ("ending", "name"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("os._exit(127)", "exit code 127"),  # as the C library does
    ],
)
def test_a_crash_under_a_bound_is_one_clear_error(ending: str, name: str) -> None:
    with program(ending) as process:
        said = process.communicate()[1].decode()
    assert process.returncode == 1
    assert name in said
    assert "3.0 GB" in said
    assert f"ulimit -v {3 * GB // 1024}" in said
    assert "ulimit -v unlimited" in said


@pytest.mark.parametrize(
    ("ending", "code"),
    [("sys.exit(0)", 0), ("sys.exit(2)", 2), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)],
)
def test_any_other_end_is_the_end_of_the_command(ending: str, code: int) -> None:
    with program("print('out', flush=True)", ending) as process:
        assert process.communicate() == (b"out\n", b"")
    assert process.returncode == code


def test_without_a_bound_nobody_watches() -> None:
    with program("print(os.getpid())", bounded=False) as process:
        assert int(process.communicate()[0]) == process.pid


WORKING = (
    "from transferkit.cli._boundary import Terminated, heed_termination; heed_termination()",
    # Not one long sleep: a signal that comes just before it begins would be heard at its end.
    "try: print(os.getpid(), flush=True); [time.sleep(0.05) for _ in range(1200)]",
    "except KeyboardInterrupt as stop:",
    "    time.sleep(0.8)  # a second one would end it hard",
    "    sys.exit(143 if isinstance(stop, Terminated) else 130)",
)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("whole_group", [False, True], ids=["the process", "its group"])
def test_what_asks_a_command_to_end_reaches_it(number: int, whole_group: bool, code: int) -> None:
    with program(*WORKING) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) != process.pid
        (os.killpg if whole_group else os.kill)(process.pid, number)
        process.wait(30)
    assert process.returncode == code


def test_a_command_ends_with_the_process_that_was_started() -> None:
    with program(*WORKING) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        until = time.monotonic() + 30
        while _alive(child) and time.monotonic() < until:
            time.sleep(0.05)
        assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.extended
def test_training_under_a_bound_comes_through_or_says_that_memory_was_refused(tmp_path: Path) -> None:
    flowers = folder_of_classes(tmp_path / "flowers", {"rose": 12, "tulip": 12})
    bound = int(2.7 * GB)  # libraries fit, training hardly does
    words = ("finetune", flowers, "--backbone", "mini", "--head", "linear", "--unfreeze", "all", "--epochs", 1)
    said = subprocess.run(
        [sys.executable, "-m", "transferkit", *map(str, words), "--output", str(tmp_path / "run")],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (bound, bound)),
    )  # fmt: skip
    assert said.returncode in (0, 1), said.stderr
    assert said.returncode == 0 or "memory" in said.stderr.partition("error: ")[2], "a warning names it, too"
