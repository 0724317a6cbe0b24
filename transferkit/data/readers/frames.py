"""Files of several pictures (pages of a TIFF, animations, DICOM) → a sample for each, those of a file one group."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from transferkit.data.images.opening import PictureError, read_header
from transferkit.data.readers.reading import Excluded
from transferkit.data.samples import Samples
from transferkit.data.threads import map_ordered

HOLDS_SEVERAL = (".tif", ".tiff", ".gif", ".webp", ".png", ".dcm", ".dicom", ".avif", ".heic", ".heif")


def every_frame(samples: Samples, excluded: Excluded) -> Samples:
    """`samples` with each file of several pictures in their place (`a.tif#page=0`, `a.tif#page=1`, …).

    Those of one file are one group, named by the file where the data gives no group. What cannot be opened stays as it
    is, for the decoder to name.
    """
    counts = list(map_ordered(_count, samples.sources()))
    rows: list[int] = []
    paths: list[str] = []
    for index, (path, count) in enumerate(zip(samples.paths, counts, strict=True)):
        parts = [path] if count <= 1 else [f"{path}#page={page}" for page in range(count)]
        kept = [part for part in parts if count <= 1 or not excluded(part, samples.label(index))]
        rows += [index] * len(kept)
        paths += kept
    several = {index for index, count in enumerate(counts) if count > 1}
    group = tuple(samples.group[i] or (samples.paths[i] if i in several else None) for i in rows)
    note = f"{len(several)} files hold {sum(counts[i] for i in several)} pictures, and each is one"
    return replace(
        samples.select(np.array(rows, np.int64)), paths=tuple(paths), group=group,
        notes=(*samples.notes, *([note] if several else [])),
    )  # fmt: skip


def _count(source: object) -> int:
    if not isinstance(source, Path) or os.path.splitext(source)[1].lower() not in HOLDS_SEVERAL:
        return 1
    with suppress(PictureError):
        return read_header(source).frames
    return 1
