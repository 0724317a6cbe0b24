"""A run's own pictures, found again where its data was: read by the paths of splits.csv, proved by their hashes.

Paths in a run's files are a stranger's word. Only a file whose content the run recorded is taken for one of its
pictures, so that no other file of this machine gets into a report.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.config import Settings
from transferkit.data import source
from transferkit.data.containers import places
from transferkit.data.readers.relabel import relabel
from transferkit.data.readers.request import Reading
from transferkit.data.samples import Samples, hash_source, listed, shown, unreadable_reason
from transferkit.data.source import scan
from transferkit.data.splitting.units import group_codes
from transferkit.errors import ConfigError, DataError
from transferkit.runs import tables
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import Relabelled, RunRecord
from transferkit.runs.tables import Picture, labelled_alike, same_label


def own(layout: Layout, wanted: Sequence[Picture], task: str, classes: Sequence[str]) -> Samples:
    """Pictures of a run, hashed, where its data was; nothing else there is looked at.

    Exclusions of then are not needed: what they left out is not in splits.csv.

    Args:
        layout: of the run.
        wanted: rows of splits.csv.
        task: of the run.
        classes: likewise.

    Raises:
        DataError: the data is gone, or of another form than it was.
    """
    manifest = layout.complete()
    data = manifest.data
    origin = data.path
    if origin is None:
        raise DataError("this run was trained on arrays, which it does not keep; pass the data itself")
    if not places.exists(Path(origin).expanduser()):
        raise DataError(f"the run's data {shown(origin)} is no longer there; put it back, or pass it or other data")
    # Not strict: what could not be read then may still be there.
    only, reading = [p.path for p in wanted], reading_of(manifest)
    try:
        samples = scan(origin, task, classes=list(classes), strict=False, only=only, reading=reading)
    except ConfigError as error:  # nobody set anything now: the data is of another form, or the record is wrong
        raise DataError(f"{shown(origin)} cannot be read by the settings in {layout.manifest}: {error}") from error
    there = [i for i in range(len(samples)) if unreadable_reason(Path(str(samples.source(i)))) is None]
    return _corrected(samples.select(there), wanted, data.relabelled).hashed()


def groups_at(layout: Layout, paths: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """Which group each of some pictures of a run is of: `units.group_codes` of what splits.csv says.

    Args:
        layout: of the run.
        paths: of the pictures, in the order that is wanted.
    """
    known = {row.path: row for row in layout.read_splits()}
    rows = [known[path] for path in paths]
    return group_codes([row.sha256 for row in rows], [row.group or None for row in rows])


def reading_of(manifest: RunRecord) -> Reading:
    """How a run's data was read; a file of names is found from where the run was begun."""
    found = Reading.of(manifest.config.as_json())
    names = Path(manifest.working_directory) / found.classes
    return replace(found, classes=str(names)) if found.classes and names.is_file() else found


def _corrected(samples: Samples, wanted: Sequence[Picture], relabelled: Sequence[Relabelled]) -> Samples:
    """With the labels the run was given in place of the data's own, where the data still has those."""
    was = {entry.path: entry.was for entry in relabelled}
    given = {picture.path: picture.label for picture in wanted if picture.path in was}
    found = {i: given[path] for i, path in enumerate(samples.paths)
             if path in given and same_label(was[path], samples.label(i), samples.task)}  # fmt: skip
    return relabel(samples, found, samples.classes) if found else samples


def unchanged(samples: Samples, wanted: Sequence[Picture], part: str) -> Samples:
    """Samples of a run, found to be what they were.

    Args:
        samples: as they are now, hashed.
        wanted: all that they have to be, with content and labels.
        part: what they are called in messages.

    Returns:
        `samples`.

    Raises:
        DataError: naming those that are not.
    """
    hashes = dict(zip(samples.paths, samples.sha256 or (), strict=True))
    at = {path: i for i, path in enumerate(samples.paths)}
    changed = [p.path for p in wanted if hashes.get(p.path) != p.sha256]
    other = [p for p in wanted if p.path in at and not labelled_alike(p, samples, at[p.path])]
    for count, what, names in (
        (len(changed), "are missing or changed", changed),
        (len(other), "have another label now", [f"{p.path}: {p.label} → {samples.label(at[p.path])}" for p in other]),
    ):
        if count:
            raise DataError(
                f"{count} of the run's {len(wanted)} {part} pictures {what}: {listed(names)}; put them back as they "
                "were, or pass this or other data to evaluate as DATA"
            )
    return samples


def changed(layout: Layout, data: Any, settings: Settings) -> list[str]:
    """How the data a run was made from is another now.

    Args:
        layout: of the run.
        data: as it is given now.
        settings: of the run.

    Returns:
        In words; empty where pictures and labels are the same.

    Raises:
        DataError: the data cannot be read as it was then.
    """
    task, order = tasks.named(settings.task), settings.classes
    reading = None if isinstance(data, Samples) else Reading.of(settings)
    samples = scan(
        data,
        task,
        exclude=settings.exclude,
        exclude_file=settings.exclude_file,
        strict=False,
        order=order,
        reading=reading,
    )
    skipped = {entry.path for entry in layout.complete().data.skipped}
    samples = samples.select([i for i, path in enumerate(samples.paths) if path not in skipped]).hashed()
    found = tables.changes(layout.read_splits(), samples)
    if not found and list(samples.classes) != layout.read_metrics().classes:
        return ["classes or their order are others"]
    return found


def root_of(layout: Layout) -> Path:
    """The folder that paths of splits.csv are relative to."""
    return source.root_of(layout.complete().data.path) or Path()


def proved(layout: Layout, paths: Iterable[str]) -> dict[str, Path]:
    """Of pictures of splits.csv, by their paths there, the files that still hold what the run recorded of them.

    Args:
        layout: of the run.
        paths: of pictures, as splits.csv has them.
    """
    root, hashes = root_of(layout), {picture.path: picture.sha256 for picture in layout.read_splits()}
    return {path: root / path for path in dict.fromkeys(paths) if _holds(root / path, hashes.get(path))}


def _holds(path: Path, sha256: str | None) -> bool:
    if sha256 is None or unreadable_reason(path) is not None:
        return False
    try:
        return hash_source(path) == sha256
    except OSError:
        return False
