"""Libraries that would never come back from their import where addresses are short (`ulimit -v`) are refused before.

OpenBLAS takes 32 MB for each of its threads as soon as it is loaded, and where they are refused it asks again without
end (up to 0.3.30) or ends the process. NumPy, OpenCV and SciPy bring a copy each. Imports nothing heavy: `import
transferkit` comes here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from transferkit import addresses

THREADS = "OPENBLAS_NUM_THREADS"
# Megabytes of addresses that the import of a library takes with one thread of OpenBLAS, and with each more (measured
# with the wheels of 2026: 74 + 40, 170 + 136, 94 + 40), and some beside; for NumPy those of its first product too. And
# the modules that load it.
ROOM = {
    "NumPy": (120, 48),
    "OpenCV": (200, 144),
    "SciPy": (130, 48),
}
FIRST = {
    "numpy._core._multiarray_umath": "NumPy", "cv2": "OpenCV", "scipy.linalg": "SciPy", "scipy.special": "SciPy",
}  # fmt: skip


AMPLE = 4 << 30  # bytes of addresses that TensorFlow and a small run take, and some beside


def spare() -> None:
    """Keep OpenBLAS to one thread where the threads of all cores would take much of a bound."""
    most = addresses.bound()
    if most is not None and most < AMPLE + (os.cpu_count() or 1) * sum(more << 20 for _, more in ROOM.values()):
        os.environ.setdefault(THREADS, "1")


def require() -> None:
    """From now on an import without room is a MemoryError, in a process with a bound on addresses."""
    if addresses.bound() is not None and not any(isinstance(finder, _Guard) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Guard())


class _Guard(MetaPathFinder):
    """Finds nothing; looks at what is left before others find it."""

    def __init__(self) -> None:
        self._passed: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        library = FIRST.get(fullname)
        if library is not None and library not in self._passed:
            first, more = ROOM[library]
            self._check(library, first + more * (_threads() - 1))
            self._passed.add(library)
        return None

    @staticmethod
    def _check(library: str, needed: int) -> None:
        left = addresses.left()
        if left is not None and left < needed << 20:
            raise MemoryError(f"{library} needs {needed} MB of addresses, and {max(0, left) >> 20} MB are left")


def _threads() -> int:
    """That OpenBLAS will have."""
    told = os.environ.get(THREADS, "")
    return max(1, int(told)) if told.isdigit() else os.cpu_count() or 1
