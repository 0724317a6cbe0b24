"""Ctrl-C and requests to end that cannot get lost while a library is imported.

Python raises KeyboardInterrupt wherever it happens to be, and large libraries swallow it there: a callback from C, an
`except:` around an optional import. The work then goes on as if nothing had been asked.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ASKING: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """What asks this process to end while the block runs is delivered at its end.

    Only what Python itself would handle is held back: a signal that is ignored, or ends the process at once, goes on
    doing so. Outside the main thread, which no signal reaches, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in ASKING}
    ours = {number: handler for number, handler in before.items() if callable(handler)}
    for number in ours:
        signal.signal(number, lambda sent, frame: came.append(sent))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(came):
            heard = signal.set_wakeup_fd(-1)  # who listens there heard of it when it came
            try:
                signal.raise_signal(number)
            finally:
                if heard != -1:
                    signal.set_wakeup_fd(heard, warn_on_full_buffer=False)


@contextmanager
def undisguised() -> Iterator[None]:
    """An interrupt that a library made another error of while it was imported leaves the block as what it is.

    Compiled modules tell "ImportError: initialization failed" of whatever was raised meanwhile, and keep it as cause.
    """
    try:
        yield
    except Exception as error:
        behind: list[BaseException] = [error]
        while (inner := behind[-1].__cause__ or behind[-1].__context__) is not None and inner not in behind:
            if isinstance(inner, KeyboardInterrupt):
                raise inner from None
            behind.append(inner)
        raise
