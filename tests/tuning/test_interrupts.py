"""Ctrl-C that somebody swallowed. In processes of their own: one that is interrupted amiss is not that of the tests."""

from __future__ import annotations

import signal
import threading

from tests.fresh import Fresh
from transferkit.tuning.interrupts import heeded

BEGINNING = """
import os, signal
from transferkit.tuning.interrupts import heeded

def interrupted(work, *arguments):
    try:
        work(*arguments)
    except KeyboardInterrupt:
        return True
    return False
"""


def test_an_interrupt_that_somebody_swallowed_is_raised_again(fresh: Fresh) -> None:
    done = fresh(
        BEGINNING
        + """
with heeded() as check:
    check()
    assert interrupted(os.kill, os.getpid(), signal.SIGINT)  # as a callback's caller would
    assert interrupted(check)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
print("done")
"""
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_ignored_signals_stay_ignored(fresh: Fresh) -> None:
    done = fresh(
        BEGINNING
        + """
signal.signal(signal.SIGINT, signal.SIG_IGN)
with heeded() as check:
    os.kill(os.getpid(), signal.SIGINT)
    check()
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
print("done")
"""
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_other_threads_are_let_be() -> None:
    found, before = [], signal.getsignal(signal.SIGINT)

    def work() -> None:
        with heeded() as check:
            check()
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
