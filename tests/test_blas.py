"""One thread inside, as many as before outside, in every library that has any; and no fit that waits for memory."""

import os
import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from transferkit import addresses
from transferkit.compute.blas import one_thread

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds of addresses as Linux has them")


def threads() -> dict[str, int]:
    return {row["filepath"]: row["num_threads"] for row in threadpool_info()}


def test_no_library_has_more_than_one_thread_inside_and_all_have_theirs_again() -> None:
    with one_thread():  # the libraries are there from now on
        pass
    with threadpool_limits(2):
        before = threads()
        with one_thread(None):
            assert set(threads().values()) == {1}
        assert threads() == before
        with one_thread():
            inside = {row["user_api"]: row["num_threads"] for row in threadpool_info()}
        assert inside["blas"] == 1
        assert threads() == before


# A logistic regression by SciPy's L-BFGS, whose second step is the first to solve triangular systems.
FIT = """
import resource, numpy as np
from scipy.linalg import cho_factor
from scipy.optimize import minimize
from transferkit import addresses
from transferkit.compute import blas
def bound(megabytes):
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (megabytes << 20), resource.RLIM_INFINITY))
bound({room})
try:
    blas.claim()
except MemoryError as error:
    print("refused:", error)
else:
    bound(4)
    x = np.random.default_rng(0).normal(size=(200, 64))
    def loss(w):
        z = x @ w
        sigmoid = 1 / (1 + np.exp(-z))
        return np.logaddexp(0, z).mean() - z[:50].mean() + 0.01 * w @ w, x.T @ sigmoid / 200 + 0.02 * w
    print("steps:", minimize(loss, np.zeros(64), method="L-BFGS-B", jac=True, options={{"maxiter": 60}}).nit)
"""


@linux
@pytest.mark.parametrize(
    ("room", "said"), [(20, "refused: the linear algebra of NumPy needs"), (60, "of SciPy needs"), (200, "steps: ")]
)
def test_a_fit_ends_or_is_refused_where_addresses_run_out(room: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIT.format(room=room)], capture_output=True, text=True, timeout=60,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


@pytest.mark.skipif(addresses.bound() is not None, reason="the tests themselves are bounded")
def test_without_a_bound_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    from transferkit.compute import blas

    monkeypatch.setattr(blas, "_claimed", lambda: pytest.fail("claimed"))
    blas.claim()
