"""Views drawn by processes beside this one, where an accelerator computes faster than the threads of one Python draw.

Decoding lets other threads run, but what is between takes turns: sixteen cores drew 1,300 views a second on threads of
one process and 6,300 by a process each. A thread that asks leases a process for some pictures at a time, since each
question costs the asking Python several turns. The process reads files that lie in folders, held to their hashes; of
others it is given the bytes. What comes back lies in memory that both see, and so do pictures that will be asked for
again (`kept_canvases`). Pixels are the same wherever they are drawn. Whatever a process cannot do is done here. Linux
only; elsewhere nothing is ever begun.
"""

from __future__ import annotations

import atexit
import dataclasses
import mmap
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from transferkit import importing
from transferkit.data.augmentation import kept_canvases
from transferkit.data.augmentation.augment import CLEAN
from transferkit.data.augmentation.drawing_process import ROOM, Question
from transferkit.data.augmentation.kept_canvases import Kept
from transferkit.data.images.decoder_input import content_of
from transferkit.data.images.opening import PictureError
from transferkit.data.samples import Pinned, Pixels, Source

PATIENCE = 60.0  # seconds after which a process is given up, and what it was asked for drawn here
ENDING = 5.0  # seconds that it takes processes at most to end by themselves
Asked = tuple[Source, Sequence[int]]  # a picture, and the seeds of the views wanted of it
_Name = tuple[bytes, str, bool]  # how views are drawn, the hash of the file, and whether they are clean
PROGRAM = "from transferkit.data.augmentation.drawing_process import serve; serve()"


class _Process:
    """One that draws: a request is answered once the views lie in the shared memory, by which pictures' do, and where
    those are that it keeps. It is the `number`th of `count`, and keeps pictures in a file of `room` bytes."""

    def __init__(self, number: int, count: int, keeping: int, room: int) -> None:
        ours, theirs = socket.socketpair()
        shared = os.memfd_create("transferkit-views")
        try:
            os.ftruncate(shared, ROOM)
            self._memory = mmap.mmap(shared, ROOM)
            passed = theirs.fileno(), shared, keeping
            # A session of its own: an interrupt is for this process, which then closes the line, and that ends the
            # other. Nothing there is large enough for several threads to share.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, *map(str, (*passed, room, number, count))], pass_fds=passed,
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

    def draw(
        self, how: bytes, size: int, asked: Sequence[Question], into: Sequence[Iterable[Pixels]]
    ) -> list[bool | Kept]:
        """Which of `asked` were drawn into `into`, and are kept where. EOFError or OSError: it is gone, or hangs."""
        views = size * size * 3
        at = views * sum(len(one.seeds) for one in asked)  # what is handed over lies after what comes back
        wanted: list[Question] = []
        for one in asked:
            if isinstance(one.source, bytes):  # not by the line, which would be full before it is read
                end = at + len(one.source)
                self._memory[at:end] = one.source
                one, at = dataclasses.replace(one, source=(at, end)), end
            wanted.append(one)
        self._line.send((how, wanted))
        if not self._line.poll(PATIENCE):
            raise TimeoutError
        drawn: list[bool | Kept] = self._line.recv()
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
        self._kept: dict[_Name, Kept] = {}
        room = kept_canvases.most()
        keeping = os.memfd_create("transferkit-pictures")
        try:
            with suppress(OSError):  # larger than a file may be (`ulimit -f`): nothing is kept then
                os.ftruncate(keeping, room)
            for number in range(count):
                self._all.append(_Process(number, count, keeping, room))
        except BaseException:
            self.close()
            raise
        finally:
            os.close(keeping)  # it is the processes' now
        for one in self._all:
            self._free.put(one)

    def draw(
        self, known: bytes, size: int, asked: Sequence[Asked], into: Sequence[Iterable[Pixels]], again: bool = False
    ) -> list[int]:
        """Draw views of some pictures by one process, as far as it can.

        Args:
            known: a pickled `ViewDrawing`.
            size: of the views, in pixels.
            asked: the pictures.
            into: for each of them a place for each view, uint8 [size, size, 3].
            again: whether views of them will be asked for again, so that keeping them pays.

        Returns:
            The places in `asked` of what it did not draw.
        """
        left = list(range(len(asked)))
        names = [_name(known, *one) if again else None for one in asked]
        one, whole = self._free.get(), None
        try:
            for some, questions in _fitting(asked, names, self._kept, size) if one is not None else ():
                assert one is not None
                drawn = one.draw(known, size, questions, [into[i] for i in some])
                left = sorted(set(left) - {i for i, done in zip(some, drawn, strict=True) if done})
                for i, done in zip(some, drawn, strict=True):
                    if isinstance(done, Kept) and (name := names[i]) is not None:
                        self._kept[name] = done
            whole = one
        except (EOFError, OSError):  # it was killed, or hangs: neither it nor its late answer is asked for again
            pass
        finally:
            self._free.put(whole)  # nor after any other error: its answer would be taken for the next pictures'
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


def _name(known: bytes, source: Source, seeds: Sequence[int]) -> _Name | None:
    """What a picture that is kept goes by; None where it is not, being no file, or wanted both clean and changed."""
    clean = {seed == CLEAN for seed in seeds}
    return (known, source.sha256, clean.pop()) if isinstance(source, Pinned) and len(clean) == 1 else None


def _fitting(
    asked: Sequence[Asked], names: Sequence[_Name | None], known: Mapping[_Name, Kept], size: int
) -> Iterator[tuple[list[int], list[Question]]]:
    """Numbers of pictures whose files and views have room at a time, and what is asked about them."""
    some: list[int] = []
    questions: list[Question] = []
    taken = 0
    for number, ((source, seeds), name) in enumerate(zip(asked, names, strict=True)):
        given = _handed(source) if name is None else known.get(name) or _handed(source)
        needed = len(seeds) * size * size * 3 + (len(given) if isinstance(given, bytes) else 0)
        if given is None or needed > ROOM:
            continue
        if taken + needed > ROOM:
            yield some, questions
            some, questions, taken = [], [], 0
        some.append(number)
        questions.append(Question(given, seeds, name is not None and not isinstance(given, Kept)))
        taken += needed
    if some:
        yield some, questions


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
