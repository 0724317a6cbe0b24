"""One thread for small arithmetic: spreading steps that small over cores costs more than it saves.

Which libraries have threads is looked up once a process; `threadpoolctl.threadpool_limits` looks each time, which takes
as long as many of the steps themselves.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Literal


@cache
def _controller() -> Any:
    # What has threads of its own has to be there to be found: SciPy's BLAS is not NumPy's, OpenMP is scikit-learn's.
    import sklearn.utils  # noqa: F401
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def one_thread(kind: Literal["blas"] | None = "blas") -> AbstractContextManager[Any]:
    """One thread inside.

    Args:
        kind: "blas", or None for OpenMP's loops too.
    """
    found: AbstractContextManager[Any] = _controller().limit(limits=1, user_api=kind)
    return found
