"""Under a bound on addresses (`ulimit -v`) a command is watched: a crash of a library ends in one clear error.

TensorFlow and oneDNN do not check every allocation. Where one is refused, they may end the process by SIGSEGV or
SIGABRT, and nothing inside it can tell the user. So the work is done by a child, and the process that was started waits
for it. Without a bound nothing is forked. Imports nothing heavy: every command comes here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from types import FrameType

from transferkit import addresses, library_room
from transferkit.addresses import GB
from transferkit.cli._boundary import complain

CRASHES = tuple(
    getattr(signal, name) for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE") if hasattr(signal, name)
)
ENDING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
NO_ROOM = 127  # with which the C library ends a process that cannot have memory for a new thread's own variables
PAUSE = 0.5  # seconds in which a signal to a whole group has reached each of it
_PR_SET_PDEATHSIG = 1


def watched() -> None:
    """Return, where addresses are bounded in a child only; the parent ends as its child does, or tells of its crash."""
    bound = addresses.bound()
    if bound is None:
        return
    library_room.spare()
    parent, (heard, hear) = os.getpid(), os.pipe()
    os.set_blocking(heard, False)
    os.set_blocking(hear, False)
    # Nothing that asks either to end is lost, nor ends the one without the other.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        child = os.fork()
        if child:
            _hand_on(child, heard)
        else:
            signal.set_wakeup_fd(hear, warn_on_full_buffer=False)
            _end_with(parent)
            addresses.keep()
    except OSError:  # no more processes: unwatched, as without a bound
        child = 0
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if child:
        sys.exit(_told(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), bound))


def _end_with(parent: int) -> None:
    """Let the child end where its parent is killed, as one process would (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was killed before that
        os._exit(1)


def _hand_on(child: int, heard: int) -> None:
    """What asks this process to end is handed on to the child, unless it came to both, as Ctrl-C does: a second one
    would end the child hard. `heard` gives a byte for each signal that the child got.
    """
    asked, got = Counter[int](), Counter[int]()

    def send(number: int, frame: FrameType | None) -> None:
        asked[number] += 1
        time.sleep(PAUSE)
        with suppress(BlockingIOError):
            got.update(os.read(heard, 1000))
        if got[number] < asked[number]:
            with suppress(ProcessLookupError):
                os.kill(child, number)

    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, send)


def _told(code: int, bound: int) -> int:
    """The exit code for a child that ended with `code`; its signal ends this process too, a crash is said."""
    if code >= 0 and code != NO_ROOM:
        return code
    if code < 0 and -code not in CRASHES:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    how = f"exit code {code}" if code > 0 else signal.Signals(-code).name
    complain(
        f"error: a library crashed ({how}), most likely because memory was refused to it: this shell lets a process "
        f"take {bound / GB:.1f} GB of addresses (ulimit -v {bound // 1024})\n"
        "TensorFlow takes 2.5 GB of them before it computes anything: raise the bound, or lift it (ulimit -v "
        "unlimited) and bound the memory of a container instead. transferkit resume RUN goes on with a run."
    )
    return 1
