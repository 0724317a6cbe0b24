"""One thread for small arithmetic, and working memory for BLAS while there is any.

Spreading steps that small over cores costs more than it saves. Which libraries have threads is looked up once a
process; `threadpoolctl.threadpool_limits` looks each time, which takes as long as many of the steps themselves.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Literal

import numpy as np

from transferkit import addresses

SMALL = 20_000_000  # numbers up to which one thread fits a model of them fastest
BUFFER = 48 << 20  # bytes of addresses that OpenBLAS asks for at its first product (measured: 32 MB), and some beside
SIDE = 256  # of a product that is too large to be computed without


@cache
def _controller() -> Any:
    # What has threads of its own has to be there to be found: SciPy's BLAS is not NumPy's, OpenMP is scikit-learn's.
    import sklearn.utils  # noqa: F401
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    claim()
    return ThreadpoolController()


def one_thread(kind: Literal["blas"] | None = "blas") -> AbstractContextManager[Any]:
    """One thread inside.

    Args:
        kind: "blas", or None for OpenMP's loops too.
    """
    found: AbstractContextManager[Any] = _controller().limit(limits=1, user_api=kind)
    return found


def few_threads(numbers: int) -> AbstractContextManager[Any]:
    """One BLAS thread inside, where a model is fitted to little.

    Args:
        numbers: in its features.
    """
    return nullcontext() if numbers > SMALL else one_thread()


def claim() -> None:
    """Under a bound on addresses (`ulimit -v`): let NumPy's BLAS and SciPy's take their working memory now, for good.

    OpenBLAS takes it at the first product, or the first triangular system of an L-BFGS fit, and keeps it. Where it is
    refused, OpenBLAS up to 0.3.30 asks for it again for ever, and a later one ends the process.

    Raises:
        MemoryError: there is no room for it.
    """
    if addresses.bound() is not None:
        _claimed()


@cache
def _claimed() -> None:
    one = np.ones((SIDE, SIDE), order="F")
    _require("NumPy")
    one @ one
    from scipy.linalg.blas import dgemm

    _require("SciPy")
    dgemm(1.0, one, one)


def _require(name: str) -> None:
    left = addresses.left()
    if left is not None and left < BUFFER:
        raise MemoryError(
            f"the linear algebra of {name} needs {BUFFER >> 20} MB of addresses, and {max(0, left) >> 20} MB are left"
        )
