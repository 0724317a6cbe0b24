"""Files that are read at any place by any number of threads, and stretches of them as files of their own."""

from __future__ import annotations

import io
import mmap
import os
import threading
from pathlib import Path
from typing import IO, Any, cast

_lock = threading.Lock()


def release(rows: Any) -> None:
    """Of an array in a file, or a part of one, give back the memory of what has been read into it piece by piece. The
    system keeps what it has room for.

    Args:
        rows: any array; of one in memory nothing is given back.
    """
    while rows is not None and not isinstance(rows, mmap.mmap):
        rows = getattr(rows, "base", None)
    if rows is not None and hasattr(mmap, "MADV_DONTNEED"):
        rows.madvise(mmap.MADV_DONTNEED)


class File:
    """A file that is read at any place, by any number of threads at once; closed when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, fewer at the end of the file."""
        found = self._piece(offset, size)
        pieces = [found]
        while found and len(found) < size:  # the system may give less than was asked for
            offset, size = offset + len(found), size - len(found)
            found = self._piece(offset, size)
            pieces.append(found)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, offset: int, size: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._fd, size, offset)
        with _lock:  # Windows
            os.lseek(self._fd, offset, os.SEEK_SET)
            return os.read(self._fd, size)


class Window(io.RawIOBase):
    """A stretch of a file as a file of its own."""

    def __init__(self, file: File, offset: int, size: int) -> None:
        super().__init__()
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    @classmethod
    def of(cls, file: File, offset: int, size: int) -> IO[bytes]:
        """One, by the type of what `open` gives."""
        return cast(IO[bytes], cls(file, offset, size))

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; it is given back."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """The place that is read next."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as there is something left."""
        view = memoryview(buffer).cast("B")
        found = self._file.read(self._offset + self._at, max(0, min(len(view), self._size - self._at)))
        view[: len(found)] = found
        self._at += len(found)
        return len(found)
