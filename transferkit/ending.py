"""The end of a process that is ours alone, without clearing memory that the system takes back anyway."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process with `code`: at once where it holds so much that this takes long, and nobody (a profiler, say)
    waits for the end of the program to tell what he saw of it.
    """
    if "keras" in sys.modules and not _traced():
        at_once(code)
    sys.exit(code)


def at_once(code: int) -> NoReturn:
    """End the process with `code`.

    Where Keras was taken into use, Python takes a third of a second to let go of all objects, one by one. What was to
    be done at the end (`atexit`) is done, threads are waited for, and what was written is handed on; then it ends.
    """
    with suppress(KeyboardInterrupt):  # asked to end, it ends
        threading._shutdown()  # type: ignore[attr-defined]  # as Python itself does first
    _on_requests_to_end(signal.SIG_IGN)  # putting things in order takes a moment, and is not left half done
    atexit._run_exitfuncs()
    _on_requests_to_end(signal.SIG_DFL)  # the reader of the output may not take it
    handed = _handed_on()  # of a command that failed as well: what it said before tells why
    os._exit(code or handed)


def _traced() -> bool:
    """Whether a profiler, a debugger or a tool that measures coverage follows this program."""
    if sys.gettrace() is not None or sys.getprofile() is not None:
        return True
    tools = getattr(sys, "monitoring", None)  # from Python 3.12 on they may use that instead
    return tools is not None and any(tools.get_tool(number) is not None for number in range(6))


def _on_requests_to_end(action: signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError):  # not the main thread
            signal.signal(number, action)


def _handed_on() -> int:
    """0 once all output is with the system; 120, as Python has it, where some of it could not be."""
    code = 0
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = 120
        except ValueError:  # closed, and with it handed on
            pass
    with suppress(OSError, AttributeError, TypeError):  # what libraries wrote by themselves
        ctypes.CDLL(None).fflush(None)
    return code
