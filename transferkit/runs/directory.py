"""A run directory as a whole: whether a folder is one or may become one, who works in it, and whether all is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from transferkit.errors import RunError
from transferkit.files import only_below, remove_temporaries, storage_errors
from transferkit.runs.layout import Layout
from transferkit.text import shown

MOMENT = 0.2  # seconds


def is_run(folder: Path) -> bool:
    """Whether a folder is a run directory, finished or not, damaged or not: by the names of its files."""
    others = ("splits.csv", "metrics.json", "model.keras", "trials.jsonl", "networks.jsonl")
    return (folder / "run.json").is_file() and any((folder / name).is_file() for name in others)


def check_new(folder: Path, resume: bool) -> list[str]:
    """Problems of writing a run to `folder`.

    Args:
        folder: of the run.
        resume: whether one may be there already.

    Returns:
        Problems, each with its remedy; empty if there is none.
    """
    if folder.exists() and not folder.is_dir():
        return [f"--output {folder} is a file; choose a folder that does not exist yet"]
    above = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not above.is_dir():
        return [f"--output {folder}: {above} is a file; choose another folder"]
    if not os.access(above, os.W_OK | os.X_OK):
        return [f"--output {folder}: no permission to write in {above}; choose another folder"]
    # Hidden files are what a kill before the first whole file leaves behind.
    if not folder.exists() or all(entry.name.startswith(".") for entry in folder.iterdir()):
        return []
    holds_run = (folder / "run.json").exists()
    if resume:
        return [] if holds_run else [f"--output {folder} holds no run that could be resumed (no run.json)"]
    if holds_run:
        return [f"--output {folder} holds a run; choose another folder, or add --resume to finish the run in it"]
    return [f"--output {folder} exists and is not empty; choose a folder that does not exist yet"]


@contextmanager
def standing(layout: Layout, remedy: str) -> Iterator[None]:
    """While the block runs, the folder of a finished run may be moved: nothing that is written makes it again.

    Args:
        layout: of the run.
        remedy: what to do then.

    Raises:
        RunError: it was moved or removed.
    """
    try:
        with only_below(layout.folder):
            yield
    except FileNotFoundError as error:
        if layout.folder.is_dir():
            raise
        raise RunError(f"{shown(layout.folder)} was moved or removed meanwhile; {remedy}") from error


@contextmanager
def run_lock(layout: Layout) -> Iterator[None]:
    """Work on a run directory alone: makes it, and clears what a killed process left half-written.

    Raises RunError where another process works on it, StorageError where nothing can be written. A killed process holds
    nothing.
    """
    from filelock import FileLock, Timeout

    with storage_errors(layout.folder, "give the permission to write there, or choose another --output"):
        layout.folder.mkdir(parents=True, exist_ok=True)
        layout.written(layout.checkpoints)
        # Who only looks whether it is held (`Layout.status`) holds it for a moment.
        lock = FileLock(str(layout.written(layout.lock)), timeout=MOMENT)
        try:
            lock.acquire()
        except Timeout as error:
            raise RunError(
                f"another process is working on {layout.folder}; wait until it is done, or choose another --output"
            ) from error
    try:
        remove_temporaries(layout.folder)
        yield
    finally:
        # While it is still held: a process that opened it before finds it held, one that comes later makes a new one.
        with suppress(OSError):
            layout.lock.unlink()
        lock.release()


def free_name(parent: Path, stem: str) -> Path:
    """`parent/stem`, or the first of `stem-2`, `stem-3`… that does not exist.

    Args:
        parent: the folder above.
        stem: the name that is wanted.
    """
    candidate, number = parent / stem, 1
    while candidate.exists():
        number += 1
        candidate = parent / f"{stem}-{number}"
    return candidate


def require_whole(layout: Layout, tested: bool, *more: Path) -> None:
    """Raise where a file of the contract is gone: somebody removed the folder meanwhile.

    Args:
        layout: of the run.
        tested: whether there is a test split.
        more: further files.

    Raises:
        RunError: naming what is gone.
    """
    wanted = [layout.splits, layout.history, layout.metrics, layout.model, *more]
    lost = [path.name for path in (*wanted, *[layout.predictions] * tested) if not path.is_file()]
    if lost:
        raise RunError(
            f"{layout.folder} was removed or changed while the run was worked on: {', '.join(lost)} of it are gone. "
            "Leave it alone and finish it with --resume, or choose another --output"
        )
