"""Marks that several rooms' tests share, and the user as whom some are made."""

import ctypes
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def extended(values: Iterable[Any], those: Collection[Any], spread: bool = False) -> list[Any]:
    """`values` as parameters of a test, `those` among them marked `extended`: run in CI and when asked for.

    With `spread` a value is a tuple, for a test that has a parameter for each of its entries.
    """
    marked = []
    for value in values:
        marks = [pytest.mark.extended] if value in those else []
        marked.append(pytest.param(*(value if spread else (value,)), marks=marks))
    return marked


# For tests on real clusters of Ray, which opens its log files and pipes and leaves their closing to the end of the
# process. The fixture `parted` of `conftest` lets no connection go on to the next test.
RAY = [
    pytest.mark.extended,
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.usefixtures("parted"),
    pytest.mark.filterwarnings("ignore:unclosed file.*:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray.*"),
]


# Of Linux' superuser: to pass over permissions, and to read and search any folder.
CAPABILITIES = 1 << 1 | 1 << 2


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Permissions count for this thread and those that it starts, though it be the superuser's."""
    if not _is_superuser():
        yield
        return
    kept = _without(effective=True)
    try:
        yield
    finally:
        _give_back(kept)


def as_ordinary_user(work: Callable[[], T]) -> T:
    """What `work` gives in a thread for which permissions count for good, so that `os.access` says so as well."""

    def bound() -> T:
        be_ordinary_user()
        return work()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(bound).result()


def be_ordinary_user() -> None:
    """Permissions count from now on for this thread, and for those that it starts."""
    if _is_superuser():
        _without(effective=True, permitted=True)


def _is_superuser() -> bool:
    if os.name != "posix" or os.getuid() != 0:
        return False
    if sys.platform != "linux":
        pytest.skip("the superuser reads everything")
    return True


def _system() -> tuple[ctypes.CDLL, Any]:
    return ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread


def _without(effective: bool, permitted: bool = False) -> Any:
    """Take `CAPABILITIES` from this thread; gives what it had."""
    library, head = _system()
    kept = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert library.capget(head, kept) == 0
    without = type(kept)(*kept)
    for place, taken in enumerate((effective, permitted)):
        without[place] &= ~CAPABILITIES if taken else ~0
    assert library.capset(head, without) == 0
    return kept


def _give_back(kept: Any) -> None:
    library, head = _system()
    assert library.capset(head, kept) == 0
