"""Whole files or none: every write goes to a temporary name, is synced, then renamed. Readers and hashes beside it."""

from __future__ import annotations

import codecs
import errno
import functools
import glob
import hashlib
import json
import os
import platform
import re
import struct
import time
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Any

from transferkit.errors import ConfigError, StorageError
from transferkit.text import shown

# What NumPy and the archives below it raise on a damaged .npy or .npz: its reader of headers falls back on Python's
# tokenizer, zip members may be encrypted or of an unknown compression (RuntimeError).
ARRAY_DAMAGE = (
    OSError, ValueError, KeyError, EOFError, TypeError, SyntaxError, RuntimeError, MemoryError, OverflowError,
    struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
# What a system says where a place cannot be written to, on each of the systems.
_REFUSED = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY,
)  # fmt: skip
_THERE: ContextVar[tuple[Path, ...]] = ContextVar("_THERE", default=())  # folders that are not made (`only_below`)
_COUNT = count()  # of the temporary files of this process
MOST_SETTINGS = 16 << 20  # bytes of a file of settings; run.json of a large run is one


LARGER_BOUND = "raise or lift the bound of this shell (ulimit -f)"  # where a file has become too large


def full(error: BaseException | None) -> bool:
    """Whether the disk, or what a user may have of it, is full."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def reason(error: OSError) -> str:
    """What the system says of a write that failed; of a file that became too large for it also where that is set."""
    said = error.strerror or str(error)
    return f"{said}: {LARGER_BOUND}" if error.errno == errno.EFBIG else said


@contextmanager
def storage_errors(path: Path, remedy: str) -> Iterator[None]:
    """What the disk or the folder refuses becomes a StorageError; all else is raised as it is.

    Args:
        path: what is written inside.
        remedy: what helps where it cannot be written there.
    """
    try:
        yield
    except OSError as error:
        if full(error):
            raise StorageError(f"no space left while writing {path}; free some and repeat the command") from error
        if error.errno == errno.EFBIG:
            raise StorageError(
                f"cannot write {path}: it is larger than files may become here; {LARGER_BOUND}, or choose a place on "
                "another file system"
            ) from error
        if error.errno in _REFUSED:
            raise StorageError(f"cannot write {path} ({error.strerror}); {remedy}") from error
        raise


@contextmanager
def only_below(folder: Path) -> Iterator[None]:
    """While the block runs, nothing that is written in `folder` makes it: where it was moved away, that is
    FileNotFoundError, and no half of its content comes to lie under the old name. Holds in this thread.
    """
    token = _THERE.set((*_THERE.get(), Path(folder)))
    try:
        yield
    finally:
        _THERE.reset(token)


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it (see `only_below`), where they are not there."""
    top = next((one for one in reversed(_THERE.get()) if folder == one or one in folder.parents), None)
    if top is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    for one in reversed([one for one in (folder, *folder.parents) if top in one.parents]):
        one.mkdir(exist_ok=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it to `path`, else remove it."""
    path = Path(path)
    # Same suffix, because some writers (Keras, Pillow) choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{_where()}-{next(_COUNT):x}.tmp{path.suffix}")
    try:
        with storage_errors(path, "choose another place"):
            make_folder(path.parent)
            yield temporary
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):  # gone already, or its folder never came to be
            temporary.unlink()


@contextmanager
def output_path(path: Path) -> Iterator[Path]:
    """`atomic_path` for what takes long to write, in a folder of the user's: first what processes that were killed left
    of this very file is removed. What another process may still be writing, here or on another machine, stays.
    """
    path = Path(path)
    remove_abandoned(path.parent, _temporaries_of(path))
    with atomic_path(path) as temporary:
        yield temporary


_BEGUN = re.compile(r"\.([0-9]+)-([0-9a-f]{6})-[0-9a-f]+\.tmp(\.[^.]*)?$")  # how `atomic_path` ends a name


@functools.cache
def _where() -> str:
    """Six digits for where the numbers of processes mean what they mean here: one start of a machine, one container."""
    told = [platform.node()]
    with suppress(OSError):  # Linux only
        told += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return digest(told)[:6]


def _temporaries_of(path: Path) -> str:
    return f".{glob.escape(path.stem)}.*.tmp{glob.escape(path.suffix)}"


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed process left half-written directly in `folder`; nobody else may be writing there."""
    for leftover in folder.glob(".*.tmp*"):
        leftover.unlink(missing_ok=True)


def remove_abandoned(folder: Path, pattern: str = ".*.tmp*") -> None:
    """Remove what processes that were killed on this machine left half-written directly in `folder`, while others may
    be writing there.

    Args:
        folder: may not be there.
        pattern: of the names that are looked at.
    """
    import psutil

    for leftover in folder.glob(pattern):
        begun = _BEGUN.search(leftover.name)
        if begun and begun[2] == _where() and not psutil.pid_exists(int(begun[1])):
            with suppress(OSError):
                leftover.unlink()


def remove_temporaries_of(path: Path, idle: float = 0.0) -> None:
    """The same for the one file `path`, while others may be writing other files beside it.

    Args:
        path: is locked; or else
        idle: seconds for which nobody may have written a temporary file that is removed.
    """
    for leftover in path.parent.glob(_temporaries_of(path)):
        with suppress(OSError):
            if not idle or time.time() - leftover.stat().st_mtime > idle:
                leftover.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut (a no-op where the system cannot open folders)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` whole or not at all.

    Args:
        path: of the file; its folder is made.
        content: all of it.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 `content` whole or not at all.

    Args:
        path: as for `write_bytes`.
        content: all of it.
    """
    # surrogateescape: file names that are not valid UTF-8 pass through unchanged.
    write_bytes(path, content.encode("utf-8", "surrogateescape"))


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON. NaN and infinity are refused: other readers choke on them.

    Args:
        path: as for `write_bytes`.
        content: plain values.

    Raises:
        ValueError: NaN or infinity.
    """
    write_text(path, to_json(content, indent=2) + "\n")


def to_json(content: Any, indent: int | None = None) -> str:
    """JSON that every reader takes: no NaN, and always valid UTF-8 (of undecodable file names, escapes are left).

    Args:
        content: plain values.
        indent: blanks a level; None: on one line.

    Raises:
        ValueError: NaN or infinity, which other readers choke on.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(content, indent=indent, allow_nan=False)
    return text


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote. Raises ValueError for what is no JSON, or is nested too deep to be of ours."""
    return parse_json(Path(path).read_bytes())


def parse_json(content: bytes) -> Any:
    """The value of JSON text. Raises ValueError for damage of any kind: NaN, deep nesting, endless numbers."""
    try:
        return json.loads(content.decode("utf-8-sig", "surrogateescape"), parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def settings_text(path: Path, option: str) -> str:
    """The text of a file of settings, without the byte order mark that editors put first.

    Args:
        path: of the file, UTF-8, or UTF-16 with its mark, as PowerShell writes.
        option: that names it, for messages.

    Raises:
        ConfigError: it cannot be read, is no text or is larger than any file of settings.
    """
    try:
        with open(path, "rb") as handle:
            content = handle.read(MOST_SETTINGS + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{option} {shown(path)} cannot be read ({reason}); give a file of settings") from error
    if len(content) > MOST_SETTINGS:
        raise ConfigError(f"{option} {shown(path)} is larger than {MOST_SETTINGS >> 20} MB, so it holds no settings")
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{option} {shown(path)} is not UTF-8 text (byte {error.start}: {error.reason}); save it as UTF-8"
        ) from error


def sha256_bytes(content: bytes) -> str:
    """Hex SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(content: Any) -> str:
    """Hex SHA-256 of the canonical JSON of `content`: the one way in which cache keys are made."""
    return sha256_bytes(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
