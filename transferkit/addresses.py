"""How many bytes of addresses this process may take (`ulimit -v`), and how many are left. Imports nothing heavy."""

from __future__ import annotations

import os
from contextlib import suppress

GB = 1 << 30
AMPLE = 4 * GB  # bytes that TensorFlow and a small run take, and some beside
PER_CORE = 128 << 20  # bytes that OpenBLAS takes for a core: a stack and 32 MB of its own, in three libraries' copies


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


def spare() -> None:
    """Keep BLAS to one thread where the threads of all cores would take much of a bound; to be called before NumPy is
    imported. A thread whose own memory is refused to it asks for it for ever, and is waited for.
    """
    most = bound()
    if most is not None and most < AMPLE + PER_CORE * (os.cpu_count() or 1):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
