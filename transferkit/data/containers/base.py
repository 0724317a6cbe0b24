"""What every container offers: names, the bytes behind each, and the folders that the names make."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import IO

from transferkit.errors import DataError
from transferkit.file_windows import File
from transferkit.text import shown

FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2ts", ".mts")
LARGEST = 1 << 30  # bytes of one entry; the decoder refuses larger files too
RATIO = 100  # bytes that one byte of an archive may become; pictures hardly shrink
ALLOWANCE = 64 << 20
_ROW = re.compile("0|[1-9][0-9]{0,17}")


def is_film(name: str) -> bool:
    """Whether a file of this name is taken for a film."""
    return os.path.splitext(name)[1].lower() in FILMS


def numbered(text: str) -> int | None:
    """The number of a row that a plain name of digits means; None for other names, and for more digits than any row
    has (Python refuses to make numbers of thousands of them)."""
    return int(text) if _ROW.fullmatch(text) else None


class EntryError(OSError):
    """One entry that cannot be read; its text completes "this entry …"."""


class Container(ABC):
    """A file that holds entries by name, each of which is the bytes of a file. Read from several threads."""

    kind = "container"  # in words: "zip archive"

    def __init__(self, name: str) -> None:
        self.name = name  # for messages
        self.notes: list[str] = []  # what was odd about it
        self.nested: dict[str, Container | None] = {}  # entries that were opened as containers themselves

    @abstractmethod
    def names(self) -> Collection[str]:
        """Every entry, with `/` between the folders of a name."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of an entry. Raises KeyError where there is none."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of an entry. Raises KeyError where there is none, EntryError or OSError where it is damaged."""

    def is_empty(self, name: str) -> bool:
        """Whether an entry has no bytes."""
        return not self.size(name)

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name."""
        return name in self.names()

    @cached_property
    def folders(self) -> dict[str, dict[str, bool]]:
        """By folder (`""` is the container itself) what lies directly in it, and whether that is a folder. Raises
        DataError where one name is both."""
        found: dict[str, dict[str, bool]] = {"": {}}
        for name in self.names():
            folder, _, base = name.rpartition("/")
            if folder not in found:
                self._make(found, folder)
            if found[folder].setdefault(base, False):
                raise DataError(f"{self.name} holds {shown(name)} both as a file and as a folder; make it again")
        return found

    def _make(self, found: dict[str, dict[str, bool]], folder: str) -> None:
        above, _, base = folder.rpartition("/")
        if above not in found:
            self._make(found, above)
        found[folder] = {}
        if not found[above].setdefault(base, True):
            raise DataError(f"{self.name} holds {shown(folder)} both as a file and as a folder; make it again")


class Archive(Container):
    """A file of entries that lie in it one behind the other; subclasses index it and unpack."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        self.path = path
        self.file = File(path)
        self.index: dict[str, tuple[int, ...]] = {}

    @abstractmethod
    def opened(self, name: str) -> IO[bytes]:
        """An entry as a file at any place of which one can read, without the whole of it in memory.

        Raises DataError where it is damaged.
        """

    def refuse_whole(self, size: int) -> None:
        """Raise EntryError for an entry that is too large to be read into memory."""
        if size > LARGEST:
            raise EntryError(f"has {size:,} bytes; more than {LARGEST:,} are not read at once")

    def names(self) -> Collection[str]:
        """Every entry."""
        return self.index

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name."""
        return name in self.index

    def add(self, name: str, place: tuple[int, ...]) -> None:
        """Take in one entry, under a name that was looked at by `checked`."""
        if name in self.index:
            self.notes.append(f"{shown(name)} is twice in {self.name}; the later one is read")
        self.index[name] = place

    def checked(self, name: str) -> str:
        """An entry's name in our spelling. Raises DataError for one that leads out of the archive."""
        plain = name.replace("\\", "/")
        while plain.startswith("./"):
            plain = plain[2:]
        parts = plain.rstrip("/").split("/")
        if plain.startswith("/") or ".." in parts or "\0" in plain or (len(parts[0]) == 2 and parts[0][1] == ":"):
            raise DataError(
                f"{self.name} holds an entry that leads out of it, {shown(name[:200])}; an archive from a stranger may "
                "mean harm. Make it again from the folder of pictures itself"
            )
        return "/".join(part for part in parts if part not in ("", "."))

    def refuse_link(self, name: str, what: str = "a link") -> None:
        """Raise DataError: links in archives may lead anywhere."""
        raise DataError(
            f"{self.name} holds {what}, {shown(name[:200])}, which is not followed: make the archive again with the "
            "files themselves (tar --dereference, zip without --symlinks)"
        )

    def refuse_bomb(self, name: str, packed: int, size: int) -> None:
        """Raise DataError where an entry would become far more than pictures do."""
        if size > LARGEST and not is_film(name):  # which is never in memory as a whole
            raise DataError(f"{self.name}: {shown(name)} has {size:,} bytes; more than {LARGEST:,} are not read")
        if size > ALLOWANCE + RATIO * packed:
            raise DataError(
                f"{self.name}: {shown(name)} would grow from {packed:,} to {size:,} bytes (a decompression bomb?); no "
                "picture does. Make the archive again without it"
            )


class Derived(Container):
    """A container whose entries are made where they are read: nothing is known of them without reading."""

    def is_empty(self, name: str) -> bool:
        """Left to the reader of the entry."""
        return False

    def size(self, name: str) -> int:
        """Bytes of an entry, which is read."""
        return len(self.read(name))
