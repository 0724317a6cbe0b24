"""What processes share: the folders of cache and state, locks and claims; and whether they may use the network."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from transferkit.errors import ConfigError, StorageError

_diverting = threading.RLock()


@contextmanager
def locked(path: Path, timeout: float = 600.0) -> Iterator[None]:
    """Hold the lock file `path` (between processes); it is released when the process dies.

    Args:
        path: of the lock file; its folder is made.
        timeout: seconds to wait for another process.

    Raises:
        StorageError: another process held it all the time.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(str(path), timeout=timeout):
            yield
    except Timeout as error:
        raise StorageError(f"another process has held {path} for {timeout:.0f} s; end it or try again") from error


def claim_folder(folder: Path, wait: bool = False) -> int | None:
    """Claim a folder, until the returned file number is closed or this process dies.

    Args:
        folder: one that is there.
        wait: for another process that holds it.

    Returns:
        None where another process holds it (and `wait` is False), and where the system has no such claims.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None
    return handle


def claimed_file(path: Path) -> bool:
    """Whether a process holds the lock file `path`, as far as that can be told: True where the system does not say."""
    try:
        import fcntl

        # Whatever lies there under this name is neither followed nor waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except (ImportError, OSError):
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(handle)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Inside, no other process is inside for the same folder, where the system has claims."""
    handle = claim_folder(folder, wait=True)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def scratch(within: str | None = None) -> Iterator[Path]:
    """A folder of this process alone, for what a library reads or writes by name only; it is gone afterwards. What
    killed processes left of theirs goes with it, where the system has claims.

    Args:
        within: folder to make it in; None: the system's for temporary files.
    """
    root = Path(within or tempfile.gettempdir())
    for leftover in root.glob("tk-????????.tmp"):
        claim = claim_folder(leftover)
        if claim is not None:
            shutil.rmtree(leftover, ignore_errors=True)
            os.close(claim)
    folder = Path(tempfile.mkdtemp(prefix="tk-", dir=root))
    claim = claim_folder(folder)
    try:
        folder = folder.rename(f"{folder}.tmp")  # known by its name once it is claimed, not before
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if claim is not None:
            os.close(claim)


@contextmanager
def own_temporaries() -> Iterator[None]:
    """Inside, what a library puts into the folder for temporary files is in a `scratch` folder, and goes with it.

    Keras unpacks whole models there, and leaves them where the disk is full or the process is killed. One thread at a
    time; what other threads make there meanwhile goes too.
    """
    with _diverting, scratch() as folder:
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before


def is_offline(offline: bool = False) -> bool:
    """Whether the network is forbidden, by the argument or by TRANSFERKIT_OFFLINE."""
    return offline or os.environ.get("TRANSFERKIT_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def cache_folder() -> Path:
    """Where features and probes are kept: `TRANSFERKIT_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("TRANSFERKIT_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("transferkit", appauthor=False)


def state_folder() -> Path:
    """Where is kept what outlives runs and caches (how often a test split was scored): `TRANSFERKIT_STATE`, else the
    user's state folder."""
    chosen = os.environ.get("TRANSFERKIT_STATE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_state_path

    return user_state_path("transferkit", appauthor=False)


def ready_cache(say: Callable[[str], None]) -> None:
    """Make the cache folder, to be called by code that will compute features, before it does.

    Where the user's own cache folder cannot be made or written (no HOME, a read-only one), a temporary one takes its
    place until this process ends, and `say` is told. Processes that this one starts use it too.

    Args:
        say: is told where the features are kept instead.

    Raises:
        ConfigError: `TRANSFERKIT_CACHE` names a folder that cannot be used: it was set on purpose.
        StorageError: a temporary folder cannot be made either.
    """
    folder = cache_folder()
    problem = _unusable(folder)
    if problem is None:
        return
    remedy = "set TRANSFERKIT_CACHE to a folder that can be written"
    if os.environ.get("TRANSFERKIT_CACHE"):
        raise ConfigError(f"TRANSFERKIT_CACHE={folder} cannot be used ({problem}): {remedy}, or give --no-cache")
    try:
        own = tempfile.mkdtemp(prefix="transferkit-cache-")
    except OSError as error:
        raise StorageError(
            f"the cache folder {folder} cannot be used ({problem}), nor a temporary one ({error.strerror}): {remedy}"
        ) from error
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    os.environ["TRANSFERKIT_CACHE"] = own
    if os.environ.get("MPLCONFIGDIR", "").startswith(str(folder)):  # see `cli.main`
        os.environ["MPLCONFIGDIR"] = os.path.join(own, "matplotlib")
    say(f"the cache folder {folder} cannot be used ({problem}): features are kept until this ends only; {remedy}")


def _unusable(folder: Path) -> str | None:
    """Why nothing can be written in `folder`, which is made if absent; None if all is well."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)
