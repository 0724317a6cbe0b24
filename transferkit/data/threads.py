"""Ordered work on threads, bounded memory: results come in input order, and only some of them exist at once."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
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


def ahead(items: Iterator[T], depth: int = 2) -> Generator[T]:
    """Pull `items` on a thread, `depth` ahead of the reader: making them overlaps with what the reader computes."""
    line: queue.Queue[tuple[str, object]] = queue.Queue(depth)
    stop = threading.Event()

    def offer(entry: tuple[str, object]) -> bool:
        while not stop.is_set():
            try:
                line.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def pull() -> None:
        try:
            for item in items:
                if not offer(("item", item)):
                    return
            offer(("end", None))
        except BaseException as error:  # handed to the reader, who raises it
            offer(("error", error))

    worker = threading.Thread(target=pull, name="transferkit-ahead", daemon=True)
    worker.start()
    try:
        while True:
            kind, value = line.get()
            if kind == "end":
                return
            if kind == "error":
                raise value  # type: ignore[misc]
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        worker.join()
