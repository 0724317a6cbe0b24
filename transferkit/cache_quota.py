"""How large the stores of the cache may grow, and what in them somebody is using."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
import weakref
from pathlib import Path
from typing import IO

from transferkit.errors import ConfigError

if sys.platform != "win32":
    import fcntl

VARIABLE = "TRANSFERKIT_CACHE_SIZE"
SHARE_OF_DISK = 0.5  # of the whole disk, where the variable is not set
_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
A_DAY = 86400.0


def limit(folder: Path) -> int:
    """Most bytes that a store in `folder` may hold: TRANSFERKIT_CACHE_SIZE, else half of the disk it is on.

    Raises ConfigError for a size that is none.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        return int(shutil.disk_usage(there).total * SHARE_OF_DISK)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.lower())
    if not found:
        raise ConfigError(f"{VARIABLE}={text} is no size; write 20GB, 500MB or a number of bytes")
    return int(float(found[1]) * _UNITS[found[2]])


def hold(folder: Path, owner: object) -> None:
    """Mark the set in `folder` as in use for as long as `owner` lives; it ends with this process at the latest.

    Any number of processes may hold a set. Nothing happens where the folder or the system knows no such locks.

    Args:
        folder: the set's; made where it is not there.
        owner: the object that uses it.
    """
    if sys.platform == "win32":
        return
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / "use.lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:  # read only
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            current = os.fstat(handle).st_ino == (folder / "use.lock").stat().st_ino
        except FileNotFoundError:
            current = False  # the set was evicted between the two calls: what is locked is gone
        except OSError:  # a file system without locks
            os.close(handle)
            return
        if current:
            weakref.finalize(owner, os.close, handle)
            return
        os.close(handle)


def hold_file(path: Path, owner: object) -> None:
    """Mark a file as in use, as `hold` does a set; nothing happens where it is gone.

    Args:
        path: the file.
        owner: the object that uses it.
    """
    if sys.platform == "win32":  # where what is open cannot be removed
        return
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # being removed, or a file system without locks
        os.close(handle)
        return
    weakref.finalize(owner, os.close, handle)


def remove_unused_file(path: Path, asked: bool = False) -> bool:
    """Remove a file unless somebody holds it; returns whether it is gone.

    Args:
        path: the file.
        asked: by the user, so that it goes too where the system does not tell who uses what.
    """
    try:
        if sys.platform != "win32":
            with open(path, "rb") as handle:
                if not _unheld(handle, asked):
                    return False
                path.unlink()
        else:
            path.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove_unused(folder: Path, asked: bool = False) -> bool:
    """Remove the set in `folder` unless some process, this one included, uses it; returns whether it is gone.

    Args:
        folder: the set's.
        asked: as for `remove_unused_file`.
    """
    try:
        if sys.platform == "win32":
            if not asked and time.time() - folder.stat().st_mtime < A_DAY:
                return False
            shutil.rmtree(folder, ignore_errors=True)
        else:
            with open(folder / "use.lock", "ab") as handle:
                if not _unheld(handle, asked):
                    return False
                shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # not ours to remove
        return False
    return not folder.exists()


def _unheld(handle: IO[bytes], asked: bool) -> bool:
    """Whether nobody holds a file; `asked`, where that cannot be told."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return asked
    return True
