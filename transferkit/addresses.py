"""How many bytes of addresses this process may take (`ulimit -v`), and how many are left. Imports nothing heavy."""

from __future__ import annotations

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
