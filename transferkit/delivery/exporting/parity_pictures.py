"""The run's own pictures for export: of one split, found unchanged, evenly spread, read through the only decoder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferkit.data.images.decode import DecodeSettings, decode_many
from transferkit.data.images.decoder_input import content_of
from transferkit.data.images.opening import sniff
from transferkit.data.images.reading import HEAD
from transferkit.data.samples import Pinned, Pixels, Source, hash_source, listed, unreadable_reason
from transferkit.data.source import root_of
from transferkit.errors import DataError
from transferkit.runs.layout import Layout

MAX_ENCODED_BYTES = 256 << 20  # of files handed on as they are


@dataclass(frozen=True)
class Picked:
    """Pictures of one split: what the decoder reads, and the labels as splits.csv has them."""

    part: str
    sources: list[Source]
    labels: list[str]

    def decoded(self, settings: DecodeSettings) -> Iterator[Pixels]:
        """uint8 [size, size, 3] of each, in order. Raises PictureError."""
        for _, pixels in decode_many(self.sources, settings):
            yield pixels

    def folders(self) -> list[str]:
        """Where files of the data lie: each picture's folder and the one above, which no code is taken from."""
        parents = {folder for s in self.sources if isinstance(s, Path) for folder in list(s.absolute().parents)[:2]}
        return sorted(map(str, parents))

    def encoded(self) -> tuple[list[bytes], list[int]]:
        """Contents of those that are JPEG or PNG files, up to `MAX_ENCODED_BYTES`, and their positions."""
        contents, positions, total = [], [], 0
        for i, source in enumerate(self.sources):
            content, _ = content_of(source)
            if not isinstance(content, bytes):
                continue
            total += len(content)
            if total > MAX_ENCODED_BYTES:
                break
            if sniff(content[:HEAD]) in ("JPEG", "PNG"):
                contents.append(content)
                positions.append(i)
        return contents, positions


def pick(layout: Layout, parts: tuple[str, ...], count: int, data: Any = None) -> Picked:
    """Pictures of a run, unchanged since, of the first of some parts that has any.

    Args:
        layout: of the run.
        parts: of the split, in the order of preference.
        count: how many at most.
        data: where the run's data is now (a folder, a CSV, or the arrays `(x, y)`); None: where it was.

    Raises:
        DataError: pictures are missing or changed, with the remedy.
    """
    rows = layout.read_splits()
    part = next((p for p in parts if any(row.split == p for row in rows)), "")
    if not part:
        raise DataError(f"run {layout.folder} has no pictures in {' or '.join(parts)}, which export needs")
    rows = [row for row in rows if row.split == part]
    rows = [rows[i] for i in spread(len(rows), count)]
    sources = _sources([row.path for row in rows], layout.read_manifest().data.path, data)
    bad = [row.path for row, source in zip(rows, sources, strict=True) if _hash(source) != row.sha256]
    if bad:
        raise DataError(
            f"{len(bad)} of {len(rows)} {part} pictures of run {layout.folder} are missing or changed: {listed(bad)}; "
            "put them back, or name the folder or CSV where the run's data is now with --data"
        )
    pinned: list[Source] = [Pinned(source, row.sha256, row.path) for row, source in zip(rows, sources, strict=True)]
    return Picked(part, pinned, [row.label for row in rows])


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` positions, evenly spread and always the same.

    Args:
        count: positions there are.
        wanted: how many at most.
    """
    number = min(count, wanted)
    return [i * count // number for i in range(number)]


def _sources(paths: list[str], origin: str | None, data: Any) -> list[Path | Pixels]:
    if isinstance(data, tuple):
        numbers = [int(re.sub(r"\D", "", path) or -1) for path in paths]
        if max(numbers, default=0) >= len(data[0]) or min(numbers, default=0) < 0:
            raise DataError(f"the run was trained on other arrays than these {len(data[0])} pictures; pass those")
        return [data[0][number] for number in numbers]
    if origin is None:
        raise DataError("this run was trained on arrays, which it does not keep; pass them: run.export(…, data=(x, y))")
    root = root_of(origin if data is None else data) or Path()
    return [root / path for path in paths]


def _hash(source: Path | Pixels) -> str | None:
    if isinstance(source, Path) and unreadable_reason(source) is not None:
        return None
    try:
        return hash_source(source)
    except OSError:
        return None
