"""Views drawn by processes beside this one, where an accelerator computes faster than the threads of one Python draw.

Decoding lets other threads run, but what is between takes turns: sixteen cores drew 1,300 views a second on threads of
one process and 6,300 by a process each. Every thread that asks reads the picture, holds it to its hash, and leases a
process of its own for it; what comes back lies in memory that both see. Pixels are the same wherever they are drawn.
Whatever a process cannot do is done here. Linux only; elsewhere nothing is ever begun.
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
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from transferkit import importing
from transferkit.data.augmentation.augment import AugmentationRanges, render
from transferkit.data.images.decode import DecodeSettings, open_pixels
from transferkit.data.images.decoder_input import content_of
from transferkit.data.images.memory import MEMORY, SHARE, keep_freed
from transferkit.data.samples import Pixels, Source
from transferkit.data.threads import machine_memory

ROOM = 16 << 20  # bytes of a picture's file that are handed over, and of views that come back, at a time
PATIENCE = 60.0  # seconds after which a process is given up, and the picture drawn here
ENDING = 5.0  # seconds that it takes processes at most to end by themselves
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
        try:
            os.ftruncate(shared, ROOM)
            self._memory = mmap.mmap(shared, ROOM)
            passed = theirs.fileno(), shared
            # A session of its own: an interrupt is for this process, which then closes the line, and that ends the
            # other. Nothing there is large enough for several threads to share.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, *map(str, passed), str(number)], pass_fds=passed,
                stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, **importing.variables(), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(shared)
        self.pid = self._process.pid
        self._line = Connection(ours.detach())

    def draw(self, how: bytes, content: bytes, seeds: Sequence[int], shape: tuple[int, ...]) -> Pixels | None:
        """The views of a picture, given as bytes; None where it cannot. EOFError or OSError: it is gone, or hangs."""
        self._memory[: len(content)] = content  # not by the line, which would be full before it is read
        self._line.send((how, len(content), list(seeds)))
        if not self._line.poll(PATIENCE):
            raise TimeoutError
        if self._line.recv() is not None:
            return None
        return np.frombuffer(self._memory, np.uint8, int(np.prod(shape))).reshape(shape).copy()

    def close(self) -> None:
        """Close the line, which ends it."""
        self._line.close()

    def wait(self, until: float) -> None:
        """Until it has ended, which it is made to at `until` (`time.monotonic`)."""
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except BaseException as error:
            self._process.kill()
            self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise


class Drawers:
    """So many processes, which begin at once."""

    def __init__(self, count: int) -> None:
        self._all: list[_Process] = []
        self._free: queue.LifoQueue[_Process] = queue.LifoQueue()
        try:
            for _ in range(count):
                self._all.append(_Process(count))
        except BaseException:
            self.close()
            raise
        for one in self._all:
            self._free.put(one)

    def draw(self, how: ViewDrawing, known: bytes, source: Source, seeds: Sequence[int]) -> Pixels:
        """See `ViewDrawing.draw`; `known` is `how`, pickled."""
        shape = (len(seeds), how.decode.size, how.decode.size, 3)
        content, _ = content_of(source)
        handed = isinstance(content, bytes) and max(len(content), int(np.prod(shape))) <= ROOM
        try:
            one = self._free.get_nowait() if handed else None
        except queue.Empty:
            one = None
        if one is None or not isinstance(content, bytes):
            return how.draw(source, seeds)
        try:
            found = one.draw(known, content, seeds, shape)
        except (EOFError, OSError):  # it was killed, or hangs; neither it nor its late answer is asked for again
            return how.draw(source, seeds)
        self._free.put(one)  # after no other error: its answer would be taken for the next picture's
        return how.draw(source, seeds) if found is None else found

    def leave(self) -> None:
        """Close the lines, and no more: in a process that was forked from the one they belong to."""
        for one in self._all:
            one.close()

    def close(self) -> None:
        """End all."""
        self.leave()
        until = time.monotonic() + ENDING
        for one in self._all:
            one.wait(until)


_turn = threading.Lock()
_begun: list[Drawers] = []
_refused = False  # whether processes were refused once: asking again at every batch would take as long as drawing


def begin(count: int) -> None:
    """From now on views of files are drawn by `count` processes, until `end` or the end of this one."""
    global _refused
    with _turn:
        if _begun or _refused or not hasattr(os, "memfd_create"):
            return
        try:
            _begun.append(Drawers(count))
        except (OSError, TypeError):  # no more processes or files, or no Python to start: threads do it
            _refused = True


def end() -> None:
    """Views are drawn here again."""
    with _turn:
        while _begun:
            _begun.pop().close()


def _forked() -> None:
    """A child does not keep alive, nor ask, what belongs to its parent."""
    for drawers in _begun:
        drawers.leave()
    _begun.clear()


atexit.register(end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def drawers() -> Drawers | None:
    """Those that have begun."""
    return _begun[0] if _begun else None


def serve() -> None:
    """What such a process does until the line is closed."""
    import cv2

    line, memory = Connection(int(sys.argv[1])), mmap.mmap(int(sys.argv[2]), ROOM)
    cv2.setNumThreads(1)  # the other cores have processes of their own
    keep_freed()
    MEMORY.refuse_beyond(machine_memory() // SHARE // int(sys.argv[3]))  # who asked draws what is larger, in its turn
    room, known, how = np.frombuffer(memory, np.uint8), b"", None
    while True:
        try:
            given, length, seeds = line.recv()
        except (EOFError, OSError):
            return
        answer: str | None = None
        try:
            if given != known:
                known, how = given, pickle.loads(given)  # nosec B301  # from the process that began us
            views = how.draw(memory[:length], seeds)  # type: ignore[union-attr]
            room[: views.size] = views.ravel()
        except Exception as error:  # the asking process meets it again, and says it
            answer = repr(error)
        try:
            line.send(answer)
        except OSError:  # it was killed meanwhile
            return
