"""Files wherever they lie: on the disk, or inside a container to which a path leads (`flowers.zip/rose/1.jpg`).

What is on the disk under the very name always wins.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from transferkit.data.containers import bucket, fragments
from transferkit.data.containers.base import Archive, Container, EntryError, is_film
from transferkit.data.containers.films import Film
from transferkit.data.containers.fragments import Fragment
from transferkit.data.containers.kinds import container, nested, opened_before
from transferkit.data.containers.parquet import ParquetRows
from transferkit.data.containers.tfrecords import Records
from transferkit.errors import DataError
from transferkit.text import shown

_CONTAINERS = (
    ".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".npz", ".npy", ".parquet", ".arrow", ".tfrec", ".tfrecord",
    ".tfrecords",
)  # fmt: skip

AT_ONCE = 1 << 20  # bytes of a file that is read whole as it is opened


def _sure(path: str | os.PathLike[str], holder: Container, entry: str) -> bytes:
    """The bytes of an entry; where they are damaged, those of the container as it is by now."""
    try:
        return holder.read(entry)
    except EntryError:
        found = inside(path)
        if found is None or found[0] is holder or not found[0].has(found[1]):
            raise
        return found[0].read(found[1])


def opened(path: str | os.PathLike[str]) -> Container | None:
    """The container at `path`, also a file of arrays or a film inside an archive; None for all else.

    Raises as `container`.
    """
    found = inside(path)
    if found is None or not found[1]:
        return None if found is None else found[0]
    return nested(*found, os.fspath(path)) if found[0].has(found[1]) else None


def inside(path: str | os.PathLike[str]) -> tuple[Container, str] | None:
    """The container that `path` leads into and the name within (empty for the container itself), or None.

    Raises DataError where that container is damaged or means harm.
    """
    remote = bucket.of(path)
    if remote is not None:
        return _fetched(*remote)
    name = os.fspath(path)
    above, rest = name, ""
    while above:
        if _is_file(above):
            found = container(above)
            return None if found is None else _deeper(found, rest, above)
        above, _, base = above.rpartition(os.sep)
        rest = f"{base}/{rest}" if rest else base
        if rest and os.path.isdir(above or os.sep):
            return None
    return None


def _fetched(holder: bucket.Bucket, name: str) -> tuple[Container, str]:
    """Past an archive (or another container) that lies in a bucket, which is fetched whole."""
    parts = name.split("/")
    for count in range(1, len(parts) + 1):
        entry = "/".join(parts[:count])
        # TensorFlow puts the number behind the ending: a.tfrecord-00000-of-00002
        ending = os.path.splitext(entry)[1].lower().partition("-")[0]
        if (ending in _CONTAINERS or is_film(entry)) and holder.has(entry):
            called = f"{holder.name}/{entry}"
            found = _called(holder.local(entry), called)
            if found is not None:
                return _deeper(found, "/".join(parts[count:]), called)
    return holder, name


def _called(there: Path, name: str) -> Container | None:
    """The container that was fetched to `there`, which messages call by the `name` that people gave."""
    try:
        found = container(there)
    except DataError as error:
        raise DataError(str(error).replace(shown(there), shown(name))) from error
    if found is not None and found.name != shown(name):
        found.name = shown(name)
        found.notes = [note.replace(there.name, shown(os.path.basename(name))) for note in found.notes]
    return found


def local(path: Path) -> Path:
    """A file on this disk with the content of `path`: itself, or what was fetched of it."""
    remote = bucket.of(path)
    return path if remote is None or not remote[0].has(remote[1]) else remote[0].local(remote[1])


def _deeper(holder: Container, rest: str, above: str) -> tuple[Container, str]:
    """Past a file of arrays, or a film, that lies in an archive."""
    if not isinstance(holder, Archive) or holder.has(rest) or rest in holder.folders:
        return holder, rest
    entry = rest
    while (entry := entry.rpartition("/")[0]) and not holder.has(entry):
        continue
    found = nested(holder, entry, os.path.join(above, *entry.split("/"))) if entry else None
    return (holder, rest) if found is None else (found, rest[len(entry) + 1 :])


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether files can be listed below `path`: a folder, a container, or a folder inside one."""
    if os.path.isdir(path):
        return True
    try:
        return _folder_in(path) is not None
    except DataError:
        return False


def _folder_in(path: str | os.PathLike[str]) -> tuple[Container, str] | None:
    """The container that `path` leads into, and the folder in it that is meant; a film is one, wherever it lies."""
    found = inside(path)
    if found is None or found[1] in found[0].folders:
        return found
    film = opened(path) if is_film(found[1]) else None
    return None if film is None else (film, "")


def picture_rows(path: Path) -> list[Path]:
    """The pictures of a Parquet, Arrow or TFRecord file, whose names tell nothing; nothing for all else."""
    found = container(path)
    return [path / name for name in found.names()] if isinstance(found, ParquetRows | Records) else []


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is anything at `path`."""
    return os.path.exists(path) or unreadable_reason(path) != "does not exist"


class ContainerEntry:
    """What `os.scandir` gives, of a container."""

    __slots__ = ("_folder", "_within", "name")

    def __init__(self, name: str, within: str, folder: bool) -> None:
        self.name, self._within, self._folder = name, within, folder

    @property
    def path(self) -> str:
        """Where it is."""
        return os.path.join(self._within, self.name)

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self._folder

    def is_file(self) -> bool:
        """Whether it is a file."""
        return not self._folder


def listing(folder: str | os.PathLike[str]) -> Sequence[os.DirEntry[str] | ContainerEntry]:
    """What lies directly in a folder, on the disk or in a container. Raises OSError as `os.scandir`, and DataError."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (NotADirectoryError, FileNotFoundError):
        found = _folder_in(folder)
        if found is None:
            raise
        where = os.fspath(folder)
        return [ContainerEntry(name, where, below) for name, below in found[0].folders[found[1]].items()]


def unreadable_reason(path: str | os.PathLike[str]) -> str | None:
    """Why `path` cannot be read as a file, or None. Looks before opening: a FIFO would block for ever."""
    known = opened_before(path)
    if known is not None:
        return "is empty (0 bytes)" if known[0].is_empty(known[1]) else None
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            return "is a link to a file that does not exist"
        if bucket.is_address(path):
            return _reason_inside(path)
        part = fragments.parse(path)
        return "does not exist" if part is None else unreadable_reason(part[0])
    except NotADirectoryError:
        return _reason_inside(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        return f"cannot be opened ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISDIR(status.st_mode):
        return "is a folder"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file (a pipe, socket or device)"
    if status.st_size == 0:
        return "is empty (0 bytes)"
    if not os.access(path, os.R_OK):
        return "may not be read (no permission)"
    return None


def _reason_inside(path: str | os.PathLike[str]) -> str | None:
    try:
        found = inside(path)
    except (DataError, OSError) as error:
        return f"cannot be opened ({error})"
    if found is None:
        return "does not exist"
    holder, name = found
    if holder.has(name):
        return "is empty (0 bytes)" if holder.is_empty(name) else None
    if isinstance(holder, Film) and not name:  # which is a file where it lies on the disk
        return None
    if name in holder.folders:
        return "is a folder"
    part = fragments.parse(path)
    return "does not exist" if part is None else _reason_inside(part[0])


def read(path: Path) -> bytes:
    """All bytes of the file at `path`. Raises OSError; EntryError (which names no path) where an entry is damaged."""
    known = opened_before(path)
    if known is not None:
        return _sure(path, *known)
    try:
        return Path(path).read_bytes()
    except (NotADirectoryError, FileNotFoundError):
        return _entry(path)


def _entry(path: Path) -> bytes:
    found = inside(path)
    if found is None or not found[0].has(found[1]):
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
    return found[0].read(found[1])


def at_once(path: str | os.PathLike[str]) -> bytes | None:
    """All bytes of a small file on the disk, in five calls of the system where Python's own files take a dozen; None
    for all else (no file, a pipe, an empty or a large file, an entry of a container), which is to be looked at closer.
    """
    if opened_before(path) is not None:
        return None
    try:
        status = os.stat(path)  # before opening: a FIFO would block for ever
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= AT_ONCE or not os.access(path, os.R_OK):
            return None
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            content = os.read(descriptor, status.st_size + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return None
    return content if len(content) == status.st_size else None  # else it is being written


def open_file(path: os.PathLike[str]) -> IO[bytes]:
    """The file at `path`, opened for reading. Raises as `read`."""
    known = opened_before(path)
    if known is not None:
        return io.BytesIO(_sure(path, *known))
    try:
        return open(path, "rb")
    except (NotADirectoryError, FileNotFoundError):
        return io.BytesIO(_entry(Path(path)))


def size(path: Path) -> int:
    """Bytes of the file at `path`; 0 where there is none."""
    try:
        return os.path.getsize(path)
    except OSError:
        found = inside(path)
        return found[0].size(found[1]) if found is not None and found[0].has(found[1]) else 0


def sha256(path: Path) -> str:
    """Hex SHA-256 of the bytes of the file at `path`. Raises as `read`."""
    whole, part = part_of(path) or (path, None)
    content = at_once(whole)
    with open_file(whole) if content is None else io.BytesIO(content) as handle:
        return sha256_in(handle, part)


def part_of(path: str | os.PathLike[str]) -> tuple[Path, Fragment] | None:
    """The picture and the part of it that `path` means; None for a file of its own."""
    part = fragments.parse(path)
    if part is None or os.path.lexists(path):
        return None
    found = inside(path)
    return None if found is not None and found[0].has(found[1]) else (Path(part[0]), part[1])


def sha256_in(handle: IO[bytes], part: Fragment | None = None) -> str:
    """Hex SHA-256 of an open file, from its start.

    Args:
        handle: of the file.
        part: a page or a box; then the digest is of the whole file and of which part it is.
    """
    handle.seek(0)
    whole = hashlib.file_digest(handle, "sha256")  # type: ignore[arg-type]  # every open file has what it asks for
    return whole.hexdigest() if part is None else hashlib.sha256(whole.digest() + part.text.encode()).hexdigest()
