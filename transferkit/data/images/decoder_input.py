"""What the decoder is given to read: a file, its bytes, an array or a part of a picture; held to its hash where one is
known.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transferkit.data.containers.fragments import Fragment
from transferkit.data.containers.places import part_of, sha256_in
from transferkit.data.images.memory import MEMORY
from transferkit.data.images.opening import PictureError, identify, opened
from transferkit.data.images.reading import MAX_FILE_BYTES
from transferkit.data.samples import Pinned, Pixels, Source, hash_source, shown

CHANGED = (
    "has changed since its content was hashed, so its results would go under another picture's name; let nothing write "
    "to the data while it is in use, and start again"
)


@dataclass(frozen=True)
class Part:
    """A part of a picture (`containers.fragments`), still to be cut out of it."""

    content: Path | bytes
    part: Fragment


def content_of(source: Source) -> tuple[Path | bytes | Pixels | Part, str]:
    """What is to be decoded, and its name for messages. A pinned file is read here, once: what is decoded is what is
    compared with its hash. Raises PictureError for one that has changed.
    """
    if isinstance(source, bytes):
        return source, "<bytes>"
    if isinstance(source, np.ndarray):
        return source, f"<array {source.dtype} {list(source.shape)}>"
    if isinstance(source, Path):
        cut = part_of(source)
        return source if cut is None else Part(*cut), shown(source)
    name = shown(source.name)
    if isinstance(source.source, np.ndarray):
        _hold(source, hash_source(source.source), name)
        return source.source, name
    cut = part_of(source.source)
    content = _whole(source.source, name)
    _hold(source, sha256_in(io.BytesIO(content), None if cut is None else cut[1]), name)
    return content if cut is None else Part(content, cut[1]), name


def _hold(source: Pinned, found: str, name: str) -> None:
    if found != source.sha256:
        raise PictureError(name, CHANGED, "unreadable")


def _whole(path: Path, name: str) -> bytes:
    """All bytes of a picture file, also where `path` means a part of it. Raises PictureError."""
    with opened(path, name) as handle, MEMORY.turn():
        size = handle.seek(0, os.SEEK_END)
        if size > MAX_FILE_BYTES:
            identify(handle, name)  # which refuses it in its own words
        handle.seek(0)
        MEMORY.take(size)
        return handle.read()
