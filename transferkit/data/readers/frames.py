"""Files of several pictures (pages of a TIFF, animations, DICOM, films) → a sample for each, those of a file one group.

`all` takes every page of a file that holds several; `every:TIME` what is seen in films at that distance.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from transferkit.config.values import film_step
from transferkit.data.containers import films, places
from transferkit.data.images.opening import PictureError, read_header
from transferkit.data.readers.request import Excluded
from transferkit.data.samples import Pixels, Samples, shown
from transferkit.data.threads import map_ordered
from transferkit.errors import DataError, TransferKitError, raise_problems

_HOLDS_SEVERAL = (".tif", ".tiff", ".gif", ".webp", ".png", ".dcm", ".dicom", ".avif", ".heic", ".heif")


def every_frame(samples: Samples, excluded: Excluded, frames: str) -> Samples:
    """Samples with each file of several pictures taken apart: `a.tif#page=0`, `a.tif#page=1`, …; of films
    `a.mp4/0s.png`, ….

    Those of one file are one group, named by the file where the data gives no group. A page that cannot be opened stays
    as it is, for the decoder to name.

    Args:
        samples: the data, by file.
        excluded: path and label → whether a part is left out.
        frames: "all" or "every:TIME", as `--frames` takes it.

    Raises:
        DataError: names every film that cannot be read, and every file whose pages cannot be counted.
    """
    step = film_step(frames)
    parts_of: Callable[[Path | Pixels], list[str] | str] = _pages if step is None else partial(_moments, step)
    found = list(map_ordered(parts_of, samples.sources()))
    raise_problems(DataError, [parts for parts in found if isinstance(parts, str)])
    rows: list[int] = []
    paths: list[str] = []
    several = {index for index, parts in enumerate(found) if parts}
    for index, (path, parts) in enumerate(zip(samples.paths, found, strict=True)):
        kept = [path + part for part in parts or [""] if not parts or not excluded(path + part, samples.label(index))]
        rows += [index] * len(kept)
        paths += kept
    group = tuple(samples.group[i] or (samples.paths[i] if i in several else None) for i in rows)
    what, one = ("files hold", "file") if step is None else ("films give", "film")
    total = sum(len(found[i]) for i in several)
    note = f"{len(several)} {what} {total} pictures; those of one {one} stay in one split"
    return replace(
        samples.select(np.array(rows, np.int64)), paths=tuple(paths), group=group,
        notes=(*samples.notes, *([note] if several else [])),
    )  # fmt: skip


def _pages(source: Path | Pixels) -> list[str] | str:
    """What the pages of a file end with; nothing for a file of one, the reason where they cannot be counted."""
    if not isinstance(source, Path) or os.path.splitext(source)[1].lower() not in _HOLDS_SEVERAL:
        return []
    with suppress(PictureError):
        count = read_header(source).frames
        if not count:
            told = "is damaged or cut short, so that its pages cannot be counted"
            return f"{shown(source)} {told}; fetch it again, or --exclude it"
        return [f"#page={page}" for page in range(count)] if count > 1 else []
    return []


def _moments(step: float, source: Path | Pixels) -> list[str] | str:
    """What the frames of a film end with; nothing for other files, the reason where it cannot be read."""
    if not isinstance(source, Path) or not films.is_film(source.name):
        return []
    try:
        film = places.opened(source)
        if isinstance(film, films.Film):
            return [os.sep + name for name in film.every(step)]
    except (TransferKitError, OSError) as error:  # what cannot be fetched, too
        return str(error)
    return f"{shown(source)} is called like a film, and is none"
