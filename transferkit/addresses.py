"""How many bytes of addresses this process may take (`ulimit -v`), how many are left, and which errors say that there
were too few. Imports nothing heavy.
"""

from __future__ import annotations

import errno
import mmap
import os
from contextlib import suppress

GB = 1 << 30


def bound() -> int | None:
    """Bytes of addresses that this process may take; None where there is no bound."""
    try:
        import resource
    except ImportError:  # another system, which has no such bounds
        return None
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if most == resource.RLIM_INFINITY else most


def left() -> int | None:
    """Bytes of addresses that are left to this process; None where there is no bound, or nobody knows."""
    most = bound()
    if most is None:
        return None
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as handle:
        return most - int(handle.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return None


_kept: list[mmap.mmap] = []


def keep(count: int = 16 << 20) -> None:
    """Where there is a bound, keep `count` bytes of addresses until `let_go`: without any it could not be said that
    there are none. No memory is taken."""
    if bound() is not None and not _kept:
        with suppress(OSError, ValueError):
            _kept.append(mmap.mmap(-1, count))


def let_go() -> None:
    """Give back what was kept, for the error and for what is to be done at the end."""
    while _kept:
        _kept.pop().close()


# How the system's loader says that a library does not fit into memory.
_UNMAPPED = ("failed to map segment", "annot allocate memory")
# The same of a file that may not be run, and of other room than addresses.
_OTHERWISE = ("Operation not permitted", "static TLS")


def refused(error: BaseException) -> bool:
    """Whether `error` says that Python, a thread or a library could not have memory."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    said = str(error)
    if isinstance(error, ImportError):
        return any(words in said for words in _UNMAPPED) and not any(words in said for words in _OTHERWISE)
    # A thread needs addresses for its stack; Python says no more of it.
    return isinstance(error, RuntimeError) and "start new thread" in said
