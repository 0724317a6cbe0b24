"""Ordered work on threads, bounded memory: results come in input order, only a window of them exists."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def available_threads() -> int:
    """CPU cores this process may use (cgroup pinning and `taskset` respected where the system tells)."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # macOS, Windows
        return max(1, os.cpu_count() or 1)


def map_ordered(function: Callable[[T], R], items: Iterable[T], threads: int = 0, window: int = 0) -> Iterator[R]:
    """`map` on threads: yields in input order, holds at most `window` results, pulls `items` lazily.

    `threads` 0 means one per usable core, `window` 0 means four per thread. An exception of `function` is
    raised at its place in the order; what has not started by then is cancelled.
    """
    threads = threads or available_threads()
    if threads == 1:
        yield from map(function, items)
        return
    window = window or 4 * threads
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="transferkit-data")
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
