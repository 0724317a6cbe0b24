"""Requests to end that come while a library is imported."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from transferkit.signals import held_back


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_comes_at_the_end_once_and_swallows_nothing() -> None:
    reached = []

    def work() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["the end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_comes_although_the_block_fails() -> None:
    def work() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            raise ImportError

    with pytest.raises(KeyboardInterrupt):
        work()


def test_what_nobody_handles_is_left_alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held_back():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_are_let_be() -> None:
    found = []

    def work() -> None:
        with held_back():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_who_listens_to_signals_hears_once_of_one_that_was_held_back() -> None:
    """Not again when it is delivered: a process that passes requests on would count two."""
    told, tells = os.pipe()
    os.set_blocking(tells, False)
    before = signal.set_wakeup_fd(tells)
    try:
        with pytest.raises(KeyboardInterrupt), held_back():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.set_wakeup_fd(before) == tells
        os.close(tells)
        assert os.read(told, 8) == bytes([signal.SIGINT])
    finally:
        os.close(told)
