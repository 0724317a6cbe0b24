"""Pictures come in: every one is opened before anything is trained, and what cannot be read is refused or set aside."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from transferkit import tasks
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.images.decode import DecodeSettings, Intensity, PictureError, decode_many
from transferkit.data.readers.request import Reading
from transferkit.data.samples import Samples, shown
from transferkit.errors import DataError
from transferkit.runs import data_changes, preflight
from transferkit.runs.run_record import Relabelled, Skipped

SHOWN = 10
# Small, so that JPEGs are decoded at reduced scale: every byte is still read, at a fraction of the cost.
PROBE = DecodeSettings(size=32)
DARK = 32  # of 255


def readable(
    samples: Samples, on_bad_file: str, reporter: Reporter, intensity: Intensity = "full"
) -> tuple[Samples, list[Skipped]]:
    """Samples that decode. Grey that stays nearly black is told of.

    Args:
        samples: all of them.
        on_bad_file: "error" or "skip".
        reporter: is told of the progress.
        intensity: which part of the range of grey is used.

    Returns:
        Those that decode, and the `path` and `reason` of each that does not.

    Raises:
        DataError: naming the bad ones where `on_bad_file` is "error", or where nothing is left.
    """
    bad: dict[int, PictureError] = {}
    dark: list[int] = []
    with reporter.progress("checking pictures", len(samples)) as advance:
        last = 0
        probe = replace(PROBE, intensity=intensity)
        for index, pixels in decode_many(samples.sources(), probe, on_error=bad.__setitem__):
            if pixels.max() < DARK:
                dark.append(index)
            advance(index + 1 - last)
            last = index + 1
    if 2 * len(dark) > len(samples) and preflight.is_deep(samples.source(dark[0])):
        reporter.warn(
            f"{len(dark)} of {len(samples)} pictures are nearly black, for their grey uses less than an eighth of its "
            "range (12-bit data in 16-bit files?); --intensity percentile spreads it"
        )
    lines = [f"{shown(samples.paths[i])}: {error.reason}" for i, error in sorted(bad.items())]
    if not bad:
        return samples, []
    if on_bad_file == "error":
        more = f"\n  … and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        raise DataError(
            f"{len(lines)} of {len(samples)} pictures cannot be read:\n  "
            + "\n  ".join(lines[:SHOWN])
            + more
            + "\nRepair or remove them, or pass --on-bad-file skip"
        )
    kept = [i for i in range(len(samples)) if i not in bad]
    if not kept:
        raise DataError(f"none of the {len(samples)} pictures can be read; the first: {lines[0]}")
    reporter.warn(f"{len(lines)} of {len(samples)} pictures cannot be read and are left out; the first: {lines[0]}")
    return samples.select(kept), [Skipped(path=samples.paths[i], reason=e.reason) for i, e in sorted(bad.items())]


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Pictures that can be trained on, hashed, and what the record of the run says of how they came in."""

    samples: Samples
    skipped: list[Skipped] = field(default_factory=list)
    relabelled: list[Relabelled] = field(default_factory=list)
    seconds: float = 0.0  # that opening every picture took
    before: data_changes.Before | None = None  # the data as it was then


def take_in(source: Any, settings: Settings, origin: str | None, reporter: Reporter) -> Intake:
    """Read data and open every picture of it.

    Args:
        source: what `load_data` reads, or samples.
        settings: of the run.
        origin: path of the data, None for what is in memory.
        reporter: is told of the progress, and of what is left out.

    Raises:
        DataError: naming what cannot be used.
    """
    from transferkit.data.audit.audit import hashed
    from transferkit.data.source import is_table, scan

    task = tasks.named(settings.task)
    # A row of a CSV without its file is named by its line; all else that cannot be read is for `readable` to name.
    strict = settings.on_bad_file == "error" and isinstance(source, str | os.PathLike) and is_table(source)
    scanned = partial(
        scan, source, task, exclude=settings.exclude, exclude_file=settings.exclude_file, strict=strict,
        order=settings.classes, reading=Reading.of(settings),
    )  # fmt: skip
    samples = scanned()
    for note in samples.reader.get("said", ()):
        reporter.say(note)
    preflight.check_task(samples, settings)
    preflight.check_depth(samples, settings.intensity)
    started, before = time.monotonic(), data_changes.before(samples, source, scanned)
    samples, skipped = readable(samples, settings.on_bad_file, reporter, settings.intensity)
    samples, audit = hashed(samples)
    preflight.short_check(audit, origin, settings, reporter)
    was = [Relabelled(path=path, was=samples.relabelled[path]) for path in samples.paths if path in samples.relabelled]
    seconds = time.monotonic() - started
    return Intake(samples=samples, skipped=skipped, relabelled=was, seconds=seconds, before=before)
