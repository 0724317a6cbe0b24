"""Whether the data is still, at the end of a run, what was read at its beginning."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.data.containers import bucket, fragments
from transferkit.data.samples import Samples, hash_or_reason, listed
from transferkit.errors import TransferKitError
from transferkit.quantities import plural

SHOWN = 3
_NOTHING = 0  # the state of a file that is not there


@dataclass(frozen=True, eq=False)
class Before:
    """The data before its pictures were opened: its `samples`, the `states` of their files, and how to `scan` it again.

    `states` are int64 [N], equal for as long as a file is not written, replaced or removed: of its place on the disk,
    its size and its times, so that no clock has a part in it. `scan` is None for what is in memory or far away.
    """

    samples: Samples
    states: npt.NDArray[np.int64]
    scan: Callable[[], Samples] | None


def before(samples: Samples, source: Any, scan: Callable[[], Samples]) -> Before | None:
    """What `changes` compares with; to be called before the pictures are opened.

    Args:
        samples: as they were scanned.
        source: of them, as the user gave it.
        scan: reads `source` once more, as it was read for `samples`.

    Returns:
        None where the pictures are arrays, which nobody else changes.
    """
    if samples.pixels is not None or not len(samples):
        return None
    first = os.path.join(samples.root or "", samples.paths[0])
    near = isinstance(source, str | os.PathLike) and not bucket.is_address(source) and not bucket.is_address(first)
    return Before(samples, _states(samples), scan if near else None)


def changes(then: Before | None, samples: Samples) -> str | None:
    """A sentence where data was changed, removed or added meanwhile; None where it was not.

    A file that was written is hashed again, others are only looked up; and the data is listed again.

    Args:
        then: of `before`.
        samples: the pictures of the run, hashed.
    """
    if then is None:
        return None
    changed, lost = _of_files(then, samples)
    parts = [*_counted(changed, "changed"), *_counted(lost, "removed or no longer readable")]
    parts += _of_listing(then, samples, set(lost))
    if not parts:
        return None
    return (
        f"the data was changed while this ran: {'; '.join(parts)}. The result is of the pictures as they were read, "
        "which splits.csv lists; to learn from the data as it is now, start again with another --output"
    )


def _of_files(then: Before, samples: Samples) -> tuple[list[str], list[str]]:
    """Pictures of the run that are others by now, and those that are gone."""
    changed: list[str] = []
    lost: list[str] = []
    differing = np.flatnonzero(_states(then.samples) != then.states)
    known = dict(zip(samples.paths, samples.sha256 or (), strict=False)) if len(differing) else {}
    for path in (then.samples.paths[i] for i in differing):
        if path in known:
            try:
                digest, reason = hash_or_reason((then.samples.root or Path()) / path)
            except TransferKitError as error:  # of an archive that is cut short by now
                digest, reason = "", str(error)
            if digest != known[path]:
                (lost if reason else changed).append(path)
    return changed, lost


def _of_listing(then: Before, samples: Samples, lost: Set[str]) -> Iterator[str]:
    """Pictures that were not there, others of the run that the data does not list any more, beside those that are
    `lost`, and those whose label, part or group it tells otherwise now."""
    if then.scan is None:
        return
    try:
        now = then.scan()
    except (TransferKitError, OSError) as error:
        yield f"it cannot be listed any more ({str(error).splitlines()[0]})"
        return
    if _told(now) == _told(then.samples) and np.array_equal(now.targets, then.samples.targets):
        return
    was = _facts(then.samples)
    yield from _counted([path for path in now.paths if path not in was], "added")
    facts = _facts(now)
    gone = [path for path in samples.paths if path in was and path not in facts and path not in lost]
    yield from _counted(gone, "no longer listed")
    yield from _counted(
        [path for path in was if path in facts and facts[path] != was[path]], "given another label, part or group"
    )


def _told(samples: Samples) -> tuple[object, ...]:
    return samples.paths, samples.classes, samples.split, samples.group


def _facts(samples: Samples) -> dict[str, tuple[Hashable, str | None, str | None]]:
    """By path what the data tells of each picture; targets by the names of their classes, of several labels by those
    that apply: one more class is no other label."""
    labels: Iterator[Hashable]
    if samples.kind.numbers:
        labels = ((samples.classes, target.tobytes()) for target in samples.targets)
    elif samples.targets.ndim == 1:
        labels = (samples.classes[target] for target in samples.targets)
    else:
        labels = (frozenset(samples.classes[i] for i in np.flatnonzero(target)) for target in samples.targets)
    return dict(zip(samples.paths, zip(labels, samples.split, samples.group, strict=True), strict=True))


def _counted(paths: list[str], what: str) -> Iterator[str]:
    if paths:
        yield f"{plural(len(paths), 'picture')} {what} ({listed(paths, SHOWN)})"


def _states(samples: Samples) -> npt.NDArray[np.int64]:
    root, folders = os.fspath(samples.root or ""), dict[str, int]()
    return np.fromiter((_state(os.path.join(root, path), folders) for path in samples.paths), np.int64, len(samples))


def _state(name: str, holders: dict[str, int]) -> int:
    """Of the file at `name`, or of the one that holds it: a container, or the picture whose part it is."""
    try:
        return _of(os.stat(name))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        part = fragments.parse(name)
        above = os.path.dirname(name) if part is None else part[0]
        if above == name:
            return _NOTHING
        if above not in holders:
            holders[above] = _NOTHING if os.path.isdir(above) else _state(above, holders)
        return holders[above]
    except OSError:
        return _NOTHING


def _of(status: os.stat_result) -> int:
    return hash((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
