"""Ctrl-C while a process of ours is still being imported. In processes of their own, stopped in the middle of that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fresh import Fresh

ROOT = Path(__file__).parents[1]
SCRIPT = Path(sys.executable).with_name("transferkit")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent as on POSIX systems")


def _importing(words: list[str], folder: Path, seconds: float = 1) -> subprocess.Popen[str]:
    """A process of ours in the middle of its imports, where it stays for a while."""
    (folder / "click.py").write_text(
        f"import time; print('importing', flush=True); time.sleep({seconds}); raise SystemExit(7)"
    )
    (folder / "pickle.py").write_text((folder / "click.py").read_text())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    started = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stdout.readline() == "importing\n"
    return started


@pytest.mark.parametrize("words", [[str(SCRIPT)], [sys.executable, "-m", "transferkit"]], ids=["script", "module"])
def test_a_command_that_is_still_being_imported_ends_as_it_does_later(words: list[str], tmp_path: Path) -> None:
    with _importing([*words, "data", "summary"], tmp_path, seconds=50) as started:
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=60)
    assert (started.returncode, said) == (130, "\ninterrupted\n")


def test_a_worker_leaves_it_to_the_search_from_its_first_moment(tmp_path: Path) -> None:
    with _importing([sys.executable, "-P", "-m", "transferkit.tuning.executors.worker"], tmp_path) as started:
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=60)
    assert (started.returncode, said) == (7, "")


def test_a_command_begun_without_ctrl_c_goes_on_without_it(tmp_path: Path) -> None:
    """As `nohup` and a shell's `&` begin one."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        started = _importing([sys.executable, "-m", "transferkit"], tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    with started:
        started.send_signal(signal.SIGINT)
        assert started.wait(60) == 7


def test_a_users_own_program_keeps_its_ctrl_c(fresh: Fresh) -> None:
    done = fresh("import signal, transferkit.cli; print(signal.getsignal(signal.SIGINT))")
    assert "default_int_handler" in done.stdout
