"""Views drawn by processes beside this one, where an accelerator computes faster than the threads of one Python draw.

Decoding lets other threads run, but what is between takes turns: sixteen cores drew 1,300 views a second on threads of
one process and 6,300 by a process each. Every thread that asks leases a process of its own for one picture; what comes
back lies in memory that both see. Pixels are the same wherever they are drawn. Whatever a process cannot do is done
here. Linux only; elsewhere nothing is ever begun.
"""

from __future__ import annotations

import atexit
import mmap
import os
import pickle
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from transferkit import importing
from transferkit.data.augmentation.augment import AugmentationRanges, render
from transferkit.data.images.decode import DecodeSettings, PictureError, open_pixels
from transferkit.data.images.memory import LEAST, MEMORY, SHARE, keep_freed
from transferkit.data.samples import Pixels, Source
from transferkit.data.threads import machine_memory

ROOM = 16 << 20  # bytes of views that come back at a time
ENDING = 5.0  # seconds that it takes a process at most to end by itself
PROGRAM = "from transferkit.data.augmentation.processes import serve; serve()"


@dataclass(frozen=True)
class ViewDrawing:
    """How views are drawn, whatever the picture."""

    decode: DecodeSettings
    augmentation: AugmentationRanges
    mirrored: bool = False

    def draw(self, source: Source, seeds: Sequence[int]) -> Pixels:
        """uint8 [len(seeds), size, size, 3] of one picture, by this process. Raises PictureError."""
        with MEMORY.turn():
            found = render(open_pixels(source, self.decode), self.decode, self.augmentation, seeds)
        return np.ascontiguousarray(found[:, :, ::-1]) if self.mirrored else found


class _Process:
    """One that draws: a request is answered by None, once the views lie in the shared memory, or by what went wrong."""

    def __init__(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        shared = os.memfd_create("transferkit-views")
        os.ftruncate(shared, ROOM)
        self._memory = mmap.mmap(shared, ROOM)
        passed = theirs.fileno(), shared
        # A session of its own: an interrupt is for this process, which then closes the line, and that ends the other.
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, passed), str(number)], pass_fds=passed, stdin=subprocess.DEVNULL,
            env={**os.environ, **importing.variables()}, start_new_session=True,
        )  # fmt: skip
        self.pid = self._process.pid
        theirs.close()
        os.close(shared)
        self._line = Connection(ours.detach())

    def draw(self, how: bytes, source: Source, seeds: Sequence[int], shape: tuple[int, ...]) -> Pixels | None:
        """The views; None where it cannot. Raises PictureError, and EOFError or OSError where the process is gone."""
        self._line.send((how, source, list(seeds)))
        answer = self._line.recv()
        if isinstance(answer, PictureError):
            raise answer
        if answer is not None:
            return None
        return np.frombuffer(self._memory, np.uint8, int(np.prod(shape))).reshape(shape).copy()

    def close(self) -> None:
        """Close the line, which ends it."""
        self._line.close()

    def wait(self) -> None:
        """Until it has ended."""
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Drawers:
    """So many processes, which begin at once."""

    def __init__(self, count: int) -> None:
        self._all = [_Process(count) for _ in range(count)]
        self._free: queue.LifoQueue[_Process] = queue.LifoQueue()
        for one in self._all:
            self._free.put(one)

    def draw(self, how: ViewDrawing, known: bytes, source: Source, seeds: Sequence[int]) -> Pixels:
        """See `ViewDrawing.draw`; `known` is `how`, pickled."""
        shape = (len(seeds), how.decode.size, how.decode.size, 3)
        try:
            one = self._free.get_nowait() if int(np.prod(shape)) <= ROOM else None
        except queue.Empty:
            one = None
        if one is None:
            return how.draw(source, seeds)
        try:
            found = one.draw(known, source, seeds, shape)
        except (EOFError, OSError):  # it was killed; it is not asked again
            return how.draw(source, seeds)
        except BaseException as error:
            if isinstance(error, PictureError):
                self._free.put(one)
            raise
        self._free.put(one)
        return how.draw(source, seeds) if found is None else found

    def close(self) -> None:
        """End all."""
        for one in self._all:
            one.close()
        for one in self._all:
            one.wait()


_turn = threading.Lock()
_begun: list[Drawers] = []


def begin(count: int) -> None:
    """From now on views of files are drawn by `count` processes, until `end` or the end of this one."""
    with _turn:
        if not _begun and hasattr(os, "memfd_create"):
            try:
                _begun.append(Drawers(count))
            except OSError:  # no more processes or files may be had: threads do it
                return
            atexit.register(end)


def end() -> None:
    """Views are drawn here again."""
    with _turn:
        for drawers in _begun:
            drawers.close()
        _begun.clear()


def drawers() -> Drawers | None:
    """Those that have begun."""
    return _begun[0] if _begun else None


def serve() -> None:
    """What such a process does until the line is closed."""
    import cv2

    line, memory = Connection(int(sys.argv[1])), mmap.mmap(int(sys.argv[2]), ROOM)
    cv2.setNumThreads(1)  # the other cores have processes of their own
    keep_freed()
    MEMORY.most = max(LEAST, machine_memory() // SHARE // int(sys.argv[3]))
    room, known, how = np.frombuffer(memory, np.uint8), b"", None
    while True:
        try:
            given, source, seeds = line.recv()
        except (EOFError, OSError):
            return
        answer: Exception | str | None = None
        try:
            if given != known:
                known, how = given, pickle.loads(given)  # nosec B301  # from the process that began us
            views = how.draw(source, seeds)  # type: ignore[union-attr]
            room[: views.size] = views.ravel()
        except PictureError as error:
            answer = error
        except Exception as error:  # the asking process meets it again, and says it
            answer = repr(error)
        line.send(answer)
