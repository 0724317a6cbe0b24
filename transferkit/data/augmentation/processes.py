"""Views drawn by processes beside this one, where an accelerator computes faster than the threads of one Python draw.

Decoding lets other threads run, but what is between takes turns: sixteen cores drew 1,300 views a second on threads of
one process and 6,300 by a process each. A thread that asks leases a process for some pictures at a time, since each
question costs the asking Python several turns. The process reads files that lie in folders, held to their hashes; of
others it is given the bytes. What comes back lies in memory that both see. Pixels are the same wherever they are drawn.
Whatever a process cannot do is done here. Linux only; elsewhere nothing is ever begun.
"""

from __future__ import annotations

import atexit
import dataclasses
import mmap
import os
import pickle
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import importing
from transferkit.data.augmentation.augment import AugmentationRanges, render
from transferkit.data.images.decode import DecodeSettings, open_pixels
from transferkit.data.images.decoder_input import content_of
from transferkit.data.images.memory import MEMORY, SHARE, keep_freed
from transferkit.data.images.opening import PictureError
from transferkit.data.machine import machine_memory
from transferkit.data.samples import Pinned, Pixels, Source

ROOM = 16 << 20  # bytes of files that are handed over and of views that come back, at a time
PATIENCE = 60.0  # seconds after which a process is given up, and what it was asked for drawn here
ENDING = 5.0  # seconds that it takes processes at most to end by themselves
Asked = tuple[Source, Sequence[int]]  # a picture, and the seeds of the views wanted of it
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
    """One that draws: a request is answered once the views lie in the shared memory, by which pictures' do."""

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

    def draw(self, how: bytes, size: int, asked: Sequence[Asked], into: Sequence[Iterable[Pixels]]) -> list[bool]:
        """Which of `asked` were drawn into `into`. EOFError or OSError: it is gone, or hangs."""
        views = size * size * 3
        at = views * sum(len(seeds) for _, seeds in asked)  # what is handed over lies after what comes back
        wanted: list[tuple[Pinned | tuple[int, int], list[int]]] = []
        for source, seeds in asked:
            if isinstance(source, bytes):  # not by the line, which would be full before it is read
                self._memory[at : at + len(source)] = source
                wanted.append(((at, at + len(source)), list(seeds)))
                at += len(source)
            else:
                assert isinstance(source, Pinned)
                wanted.append((source, list(seeds)))
        self._line.send((how, wanted))
        if not self._line.poll(PATIENCE):
            raise TimeoutError
        drawn: list[bool] = self._line.recv()
        places = [place for some in into for place in some]
        for number, place in enumerate(places):
            place[...] = np.frombuffer(self._memory, np.uint8, views, number * views).reshape(place.shape)
        return drawn

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
        self._free: queue.SimpleQueue[_Process | None] = queue.SimpleQueue()  # None: in the place of one that is gone
        try:
            for _ in range(count):
                self._all.append(_Process(count))
        except BaseException:
            self.close()
            raise
        for one in self._all:
            self._free.put(one)

    def draw(self, known: bytes, size: int, asked: Sequence[Asked], into: Sequence[Iterable[Pixels]]) -> list[int]:
        """Draw views of some pictures by one process, as far as it can.

        Args:
            known: a pickled `ViewDrawing`.
            size: of the views, in pixels.
            asked: the pictures.
            into: for each of them a place for each view, uint8 [size, size, 3].

        Returns:
            The places in `asked` of what it did not draw.
        """
        left = list(range(len(asked)))
        one, kept = self._free.get(), None
        try:
            for some, handed in _fitting(asked, size) if one is not None else ():
                assert one is not None
                drawn = one.draw(known, size, handed, [into[i] for i in some])
                left = sorted(set(left) - {i for i, done in zip(some, drawn, strict=True) if done})
            kept = one
        except (EOFError, OSError):  # it was killed, or hangs: neither it nor its late answer is asked for again
            pass
        finally:
            self._free.put(kept)  # nor after any other error: its answer would be taken for the next pictures'
        return left

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


def _fitting(asked: Sequence[Asked], size: int) -> Iterator[tuple[list[int], list[Asked]]]:
    """Numbers of pictures whose files and views have room at a time, and what is handed over of them."""
    some: list[int] = []
    handed: list[Asked] = []
    taken = 0
    for number, (source, seeds) in enumerate(asked):
        given = _handed(source)
        needed = len(seeds) * size * size * 3 + (len(given) if isinstance(given, bytes) else 0)
        if given is None or needed > ROOM:
            continue
        if taken + needed > ROOM:
            yield some, handed
            some, handed, taken = [], [], 0
        some.append(number)
        handed.append((given, seeds))
        taken += needed
    if some:
        yield some, handed


def _handed(source: Source) -> Pinned | bytes | None:
    """What a process is given of a picture: where its file is or its bytes; None where it has none or is unreadable."""
    if isinstance(source, Pinned) and isinstance(source.source, Path) and source.source.is_file():
        # By the process, which began in a folder of its own time.
        return dataclasses.replace(source, source=source.source.absolute())
    try:
        content, _ = content_of(source)
    except PictureError:
        return None
    return content if isinstance(content, bytes) else None


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
    known, how = b"", None
    while True:
        try:
            given, wanted = line.recv()
        except (EOFError, OSError, MemoryError):
            return
        if given != known:
            known, how = given, pickle.loads(given)  # nosec B301  # from the process that began us
        assert how is not None
        drawn = _drawn(how, memory, wanted)
        try:
            line.send(drawn)
        except OSError:  # it was killed meanwhile
            return


def _drawn(how: ViewDrawing, memory: mmap.mmap, wanted: Sequence[tuple[Any, Sequence[int]]]) -> list[bool]:
    """Lay views of pictures into memory, one after the other; which of these could be drawn."""
    room, at, drawn = np.frombuffer(memory, np.uint8), 0, []
    for source, seeds in wanted:
        end = at + len(seeds) * how.decode.size**2 * 3
        try:
            room[at:end] = how.draw(memory[slice(*source)] if isinstance(source, tuple) else source, seeds).ravel()
            drawn.append(True)
        except Exception:  # the asking process meets it again, and says it
            drawn.append(False)
        at = end
    return drawn
