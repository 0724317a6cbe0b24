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
from contextlib import suppress
from types import FrameType

from transferkit import addresses
from transferkit.addresses import GB
from transferkit.cli._common import complain

CRASHES = tuple(
    getattr(signal, name) for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE") if hasattr(signal, name)
)
FORWARDED = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
_PR_SET_PDEATHSIG = 1


def watched() -> None:
    """Return, where addresses are bounded in a child only; the parent ends as its child does, or tells of its crash."""
    bound = addresses.bound()
    if bound is None:
        return
    parent = os.getpid()
    # Nothing that asks either to end is lost, nor ends the one without the other.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, *FORWARDED))
    try:
        child = os.fork()
        if child:
            _hand_on(child)
        else:
            _end_with(parent)
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


def _hand_on(child: int) -> None:
    """What asks this process to end is handed on to the child."""

    def send(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child by itself
    for number in FORWARDED:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, send)


def _told(code: int, bound: int) -> int:
    """The exit code for a child that ended with `code`; its signal ends this process too, a crash is said."""
    if code >= 0:
        return code
    if -code not in CRASHES:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    complain(
        f"error: a library crashed ({signal.Signals(-code).name}), most likely because memory was refused to it: this "
        f"shell lets a process take {bound / GB:.1f} GB of addresses (ulimit -v {bound // 1024})\n"
        "TensorFlow alone takes about 2 GB of them: raise the bound, or lift it (ulimit -v unlimited) and bound the "
        "memory of a container instead. A run that was begun is gone on with by transferkit resume RUN."
    )
    return 1
