"""A form of data: an SQLite file with a table `pictures` of name, label, split and content."""

import sqlite3
from contextlib import closing

from transferkit.plugins import Reader, Row

MAGIC = b"SQLite format 3\x00"


def detect(source):
    """Looks at the first bytes: it is asked for every source."""
    if not source.is_file():
        return 0.0
    with open(source, "rb") as handle:
        return 1.0 if handle.read(len(MAGIC)) == MAGIC else 0.0


def connect(source):
    """Opened for reading only: the file is the user's."""
    return closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True))


def read(source):
    """A row for each picture, always in the same order."""
    with connect(source) as base:
        for name, label, split in base.execute("SELECT name, label, split FROM pictures ORDER BY rowid"):
            yield Row(name, label, split, where=f"picture {name}")


def content(source, name):
    """The bytes of one picture; asked from several threads."""
    with connect(source) as base:
        return base.execute("SELECT content FROM pictures WHERE name = ?", (name,)).fetchone()[0]


SQLITE = Reader(detect, read, "an SQLite file of pictures", content)
