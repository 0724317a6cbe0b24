"""Requests to end that come while a library is imported. In processes of their own: one that is interrupted amiss is
not that of the tests."""

from __future__ import annotations

import signal
import threading

import pytest

from tests.fresh import Fresh
from transferkit.signals import held_back, undisguised

BEGINNING = """
import os, signal
from transferkit.signals import held_back

def ask():
    os.kill(os.getpid(), signal.SIGINT)
"""
AT_THE_END = """
reached = []
try:
    with held_back():
        ask()
        ask()
        reached.append("the end")
except KeyboardInterrupt:
    reached.append("interrupted")
assert reached == ["the end", "interrupted"]
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
FAILING = """
try:
    with held_back():
        ask()
        raise ImportError
except KeyboardInterrupt as error:
    assert isinstance(error.__context__, ImportError)
else:
    raise AssertionError
"""
IGNORED = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
with held_back():
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ask()
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
"""
# Not again when it is delivered: a process that passes requests on would count two.
LISTENED_TO = """
told, tells = os.pipe()
os.set_blocking(tells, False)
before = signal.set_wakeup_fd(tells)
try:
    with held_back():
        ask()
except KeyboardInterrupt:
    assert signal.set_wakeup_fd(before) == tells
    os.close(tells)
    assert os.read(told, 8) == bytes([signal.SIGINT])
else:
    raise AssertionError
"""


@pytest.mark.parametrize(
    "program", [AT_THE_END, FAILING, IGNORED, LISTENED_TO], ids=["at the end", "failing", "ignored", "listened to"]
)
def test_a_request_to_end_comes_at_the_end_once_if_anybody_heeds_it(fresh: Fresh, program: str) -> None:
    done = fresh(BEGINNING + program + "print('done')")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_other_threads_are_let_be() -> None:
    found, before = [], signal.getsignal(signal.SIGINT)

    def work() -> None:
        with held_back():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_an_interrupt_that_a_library_made_another_error_of_is_an_interrupt() -> None:
    asked, told = KeyboardInterrupt(), ImportError("initialization failed")
    told.__cause__ = asked
    with pytest.raises(KeyboardInterrupt) as found, undisguised():
        raise ValueError from told
    assert found.value is asked


def test_all_other_errors_stay_what_they_are() -> None:
    one, other = ValueError("one"), KeyError("other")
    one.__context__, other.__context__ = other, one  # a ring
    with pytest.raises(ValueError, match="one"), undisguised():
        raise one
