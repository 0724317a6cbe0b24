"""Ordered work on threads, bounded memory: results come in input order, and only some of them exist at once.

Beside it how many processors this process may use.
"""

from __future__ import annotations

import functools
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from itertools import islice
from typing import Generic, TypeVar

from transferkit import importing

T = TypeVar("T")
R = TypeVar("R")


PATIENCE = 1.0  # seconds after which a thread that hands nothing on is looked after
_most = 0  # threads that this process was told to keep to; 0: no limit


def limit_threads(most: int) -> None:
    """Keep this process to `most` threads where it would take one for each core: others have the rest of them."""
    global _most
    _most = most


def available_threads() -> int:
    """CPU cores this process may use (cgroup pinning and `taskset` respected where the system tells)."""
    try:
        cores = max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # macOS, Windows
        cores = max(1, os.cpu_count() or 1)
    return min(cores, _most or cores)


@functools.cache
def one_core_each() -> None:
    """Let OpenCV compute on the thread that asks, where this process is ours: its own threads look for work between two
    pictures, which took 4 ms of processor time a picture on 16 cores, beside 2.5 for decoding it.
    """
    if importing.is_ours():
        import cv2

        cv2.setNumThreads(1)


def map_ordered(
    function: Callable[[T], R], items: Iterable[T], threads: int = 0, window: int = 0, bundle: int = 1
) -> Iterator[R]:
    """`map` on threads: results come in input order, `items` are pulled lazily.

    Args:
        function: is called on several threads at a time. An exception is raised at its place in the order, and what has
            not started by then is cancelled.
        items: its arguments.
        threads: how many; 0: one a usable core.
        window: most results that wait to be taken; 0: four bundles a thread.
        bundle: items that go to a thread at a time: where one takes less than a millisecond, handing over costs a sixth
            of it.

    Returns:
        Results, in order.
    """
    threads = threads or available_threads()
    if threads == 1:
        yield from map(function, items)
        return
    window = max(1, (window or 4 * threads * bundle) // bundle)
    pending: deque[Future[_Bundle[R]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="transferkit-data")
    source = iter(items)
    try:
        while some := list(islice(source, bundle)):
            pending.append(pool.submit(_Bundle, function, some))
            if len(pending) >= window:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Bundle(Generic[R]):
    """Results of `function` for some items up to the first error, which iterating raises after them."""

    def __init__(self, function: Callable[[T], R], items: list[T]) -> None:
        self._results: list[R] = []
        self._error: BaseException | None = None
        try:
            for item in items:
                self._results.append(function(item))
        except BaseException as error:
            self._error = error

    def __iter__(self) -> Iterator[R]:
        yield from self._results
        if self._error is not None:
            raise self._error


@contextmanager
def begun(work: Callable[[], R], name: str) -> Iterator[Callable[[], R]]:
    """Begin `work` on a thread of its own while the block does something else. A block that is left waits for it.

    Args:
        work: is called once. Where no thread can be had, that is when its result is asked for.
        name: of the thread.

    Yields:
        A function that gives the result, or raises what `work` raised.
    """
    pool = ThreadPoolExecutor(1, name)
    try:
        try:
            future = pool.submit(copy_context().run, work)
        except RuntimeError:
            yield work
        else:
            yield lambda: future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def ahead(items: Iterator[T], depth: int = 2) -> Generator[T]:
    """Pull items on a thread, ahead of the reader: making them overlaps with what the reader computes.

    Args:
        items: pulled by that thread alone; its exception is raised where the reader has come to it.
        depth: how many wait at most.
    """
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
            try:
                kind, value = line.get(timeout=PATIENCE)
            except queue.Empty:
                _require_alive(worker, line)
                continue
            if kind == "end":
                return
            if kind == "error":
                raise value  # type: ignore[misc]
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        worker.join()


def _require_alive(worker: threading.Thread, line: queue.Queue[tuple[str, object]]) -> None:
    """MemoryError where `worker` has ended, and left nothing in its line: without memory it cannot even say so."""
    if not worker.is_alive() and line.empty():
        raise MemoryError("a thread that prepares batches ended, most likely because memory was refused to it")
