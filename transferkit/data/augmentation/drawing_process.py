"""The other end of `processes`: a process that draws what it is asked for, and keeps pictures for all of them."""

from __future__ import annotations

import mmap
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from transferkit.data.augmentation.kept_canvases import Keeping, Kept
from transferkit.data.augmentation.view_drawing import ViewDrawing
from transferkit.data.images.memory import MEMORY, SHARE, keep_freed
from transferkit.data.machine import machine_memory
from transferkit.data.samples import Pinned, Pixels

ROOM = 16 << 20  # bytes of files that are handed over and of views that come back, at a time


@dataclass(frozen=True)
class Question:
    """What a process is asked for: views of `seeds` of a picture, which it is to keep where `keep`. Where `source` is
    the bytes of a file, the process is told from where to where these lie in the memory that both see."""

    source: Pinned | Kept | bytes | tuple[int, int]
    seeds: Sequence[int]
    keep: bool


def serve() -> None:
    """What such a process does until the line is closed."""
    import cv2

    line, memory, keeping, room, number, count = map(int, sys.argv[1:])
    cv2.setNumThreads(1)  # the other cores have processes of their own
    keep_freed()
    MEMORY.refuse_beyond(machine_memory() // SHARE // count)  # who asked draws what is larger, in its turn
    shared, pictures = mmap.mmap(memory, ROOM), Keeping(keeping, room, number, count)
    asking, known, how = Connection(line), b"", None
    while True:
        try:
            given, questions = asking.recv()
        except (EOFError, OSError, MemoryError):
            return
        if given != known:
            known, how = given, pickle.loads(given)  # nosec B301  # from the process that began us
        assert how is not None
        found = drawn(how, shared, pictures, questions)
        try:
            asking.send(found)
        except OSError:  # it was killed meanwhile
            return


def drawn(how: ViewDrawing, memory: mmap.mmap, pictures: Keeping, asked: Sequence[Question]) -> list[bool | Kept]:
    """Lay views of pictures into memory, one after the other.

    Args:
        how: they are drawn.
        memory: of `ROOM` bytes, where files that are handed over lie as well.
        pictures: those that are kept.
        asked: what is wanted of each picture.

    Returns:
        For each whether it could be drawn, and if it is kept from now on, where.
    """
    room, at = np.frombuffer(memory, np.uint8), 0
    found: list[bool | Kept] = []
    for one in asked:
        end = at + len(one.seeds) * how.decode.size**2 * 3
        source = memory[slice(*one.source)] if isinstance(one.source, tuple) else one.source
        try:
            places = room[at:end].reshape(-1, how.decode.size, how.decode.size, 3)
            found.append(_draw(how, source, one, pictures, places) or True)
        except Exception:  # the asking process meets it again, and says it
            found.append(False)
        at = end
    return found


def _draw(
    how: ViewDrawing, source: Pinned | Kept | bytes, asked: Question, pictures: Keeping, places: Pixels
) -> Kept | None:
    """Lay what was asked for of one picture into `places`, and say where the picture is kept from now on."""
    if isinstance(source, Kept):
        how.draw_from(pictures.state(source, how.decode), asked.seeds, places)
        return None
    if not asked.keep:
        how.draw(source, asked.seeds, places)
        return None
    state = how.state(source, asked.seeds[0])
    how.draw_from(state, asked.seeds, places)
    return pictures.keep(state)
