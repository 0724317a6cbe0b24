"""Run the frozen part once over every view of every picture, and keep the activations.

Rows are committed as they come, so that an interrupted pass goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from transferkit import compute
from transferkit.backbones.cut import largest
from transferkit.console import Reporter
from transferkit.data.images.decode import DecodeSettings, decoder_versions
from transferkit.data.samples import Samples
from transferkit.data.threads import ahead, map_ordered
from transferkit.errors import TrainingError
from transferkit.features.drawing import Batch, BatchDrawing, Unreadable
from transferkit.features.row_sources import FORWARD_BATCH, Views, padded, prepare_drawing
from transferkit.record import JsonObject

if TYPE_CHECKING:
    import keras

SMALL = 256 << 20  # bytes of a network's largest activation for one such batch
CHUNK_BYTES = 64 << 20  # rows are committed to disk in pieces of about this size,
COMMIT_SECONDS = 20.0  # or as often as this: what a kill can cost
VIEWS_AT_ONCE = 32  # drawn from one decoded picture; bounds what waits in memory


class RowSet(Protocol):
    """What `extract` writes to: a set of the store, or what a worker has of one."""

    shapes: list[tuple[int, ...]]

    @property
    def width(self) -> int:
        """Numbers in a row."""

    def missing(self, names: Sequence[str]) -> set[str]:
        """Those of `names` that are not stored."""

    def append(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Store `rows` [n, width] under `names`, whole or not at all."""


def at_once(model: keras.Model) -> int:
    """Batches in a network at a time: two on a CPU, where one leaves cores idle, if its activations are small; and on a
    GPU, which computes one while the other is on its way."""
    small = compute.gpu_count() > 0 or 4 * FORWARD_BATCH * largest(model) <= SMALL
    return 2 if small and compute.device_count() == 1 else 1


def extract(
    network: compute.Forward,
    sets: Sequence[RowSet],
    views: Views,
    samples: Samples,
    wanted: Mapping[int, Sequence[int]],
    reporter: Reporter,
    parallel: int = 1,
    on_error: Unreadable | None = None,
) -> int:
    """Compute the rows of `wanted` that any of `sets` lacks.

    Args:
        network: uint8 [64, size, size, 3] → the tensors of all sets, one set after the other.
        sets: where rows are kept.
        views: pictures and views as pixels, and the names of their rows.
        samples: the pictures.
        wanted: row number of a picture → its views.
        reporter: is told of the progress.
        parallel: batches for which `network` is called at a time.
        on_error: is told of a picture that cannot be read, which is left out; without it, its error is raised.

    Returns:
        How many rows were computed.

    Raises:
        PictureError: a picture cannot be read.
        TrainingError: the network gives infinity or NaN.
        StorageError: the disk is full.
    """
    todo = missing(sets, views, samples, wanted)
    total = sum(len(v) for v in todo.values())
    if not total:
        return 0
    prepare_drawing(total, views, samples)
    pending: list[tuple[str, list[np.ndarray]]] = []
    limit = max(FORWARD_BATCH, CHUNK_BYTES // (4 * sum(s.width for s in sets)))
    committed, done = time.monotonic(), 0
    with reporter.progress("computing features", total, "views") as advance:
        for names, outputs in _batches(network, views, samples, todo, parallel, on_error):
            done += len(names)
            pending += [(name, [o[i] for o in outputs]) for i, name in enumerate(names)]
            advance(len(names))
            if len(pending) >= limit or time.monotonic() - committed > COMMIT_SECONDS:
                _commit(sets, pending)
                pending, committed = [], time.monotonic()
        _commit(sets, pending)
    return done


def missing(
    sets: Sequence[RowSet], views: Views, samples: Samples, wanted: Mapping[int, Sequence[int]]
) -> dict[int, list[int]]:
    """What of `wanted` any of `sets` lacks; of exact duplicates, which share their rows, the first.

    Args:
        sets: where rows are kept.
        views: names the rows.
        samples: the pictures, hashed.
        wanted: row number of a picture → its views.
    """
    assert samples.sha256 is not None
    names = {(i, v): views.name(samples.sha256[i], v) for i, some in wanted.items() for v in some}
    lacking = set().union(*(s.missing(list(names.values())) for s in sets))
    todo: dict[int, list[int]] = {}
    claimed: set[str] = set()  # exact duplicates share their rows
    for (i, v), name in names.items():
        if name in lacking and name not in claimed:
            claimed.add(name)
            todo.setdefault(i, []).append(v)
    return todo


def _batches(
    network: compute.Forward, views: Views, samples: Samples, todo: dict[int, list[int]], parallel: int,
    on_error: Unreadable | None,
) -> Iterator[tuple[list[str], list[np.ndarray]]]:  # fmt: skip
    """Row names and outputs, batch by batch; decoding and drawing run ahead on threads."""
    hashes = samples.sha256
    assert hashes is not None
    most = max(1, min(VIEWS_AT_ONCE, max(map(len, todo.values()))))
    work = ((i, some[k : k + most]) for i, some in todo.items() for k in range(0, len(some), most))
    drawing = BatchDrawing(partial(views.draw, samples), views.decode.size, FORWARD_BATCH, on_error)

    def run(batch: Batch) -> tuple[list[str], list[np.ndarray]]:
        outputs = network([padded(batch.pixels)])
        drawing.use_again(batch, outputs)
        names = [views.name(hashes[picture], view) for picture, view in batch.views]
        return names, [output[: len(names)] for output in outputs]

    with closing(ahead(drawing.batches(work, most), depth=1)) as batches:
        yield from map_ordered(run, batches, threads=parallel, window=parallel)


def _commit(sets: Sequence[RowSet], pending: list[tuple[str, list[np.ndarray]]]) -> None:
    if not pending:
        return
    start = 0
    names = [name for name, _ in pending]
    for features in sets:
        end = start + len(features.shapes)
        lacking = features.missing(names)
        absent = [i for i, name in enumerate(names) if name in lacking]
        if absent:
            rows = np.stack([np.concatenate([t.ravel() for t in pending[i][1][start:end]]) for i in absent])
            _check_finite(rows)
            features.append([names[i] for i in absent], rows)
        start = end


def _check_finite(rows: np.ndarray) -> None:
    bad = int((~np.isfinite(rows).all(axis=1)).sum())
    if bad:
        raise TrainingError(
            f"the network gives infinity or NaN for {bad} of {len(rows)} views; use --precision float32, and check "
            "that weights and scaling belong together"
        )


def content_key(weights_sha256: str, network: JsonObject, decode: DecodeSettings) -> JsonObject:
    """All that changes a row besides the picture and the view: the network, its weights, the decoder, libraries.

    Args:
        weights_sha256: hex digest of the weights of the frozen part.
        network: what says which part of which network.
        decode: how pictures are brought to size.

    Returns:
        A JSON object for the key of a `FeatureSet`.
    """
    return {"weights": weights_sha256, **network, "decode": decode.key(), "versions": {**library_versions()}}


def library_versions() -> dict[str, str]:
    """Versions of the libraries that compute a row, from the file on."""
    import keras

    return {"keras": keras.__version__, **compute.backend_versions(), **decoder_versions()}
