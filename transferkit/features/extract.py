"""Run the frozen part once over every view of every picture, and hand out the activations.

`Views` says which picture copies exist, `Source` hands out network inputs for (picture, view) pairs: from the store,
or computed each time they are asked for. Training cannot tell the difference: the numbers are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from transferkit import compute
from transferkit.backbones.cut import largest
from transferkit.console import Reporter
from transferkit.data.augmentation.augment import AugmentationRanges, render, view_seed
from transferkit.data.images.decode import BUNDLE, DecodeSettings, PictureError, decoder_versions, open_pixels
from transferkit.data.images.memory import MEMORY
from transferkit.data.samples import Samples
from transferkit.data.threads import ahead, available_threads, map_ordered
from transferkit.errors import TrainingError
from transferkit.features.number_formats import rounded
from transferkit.features.store import FeatureSet, unpacked
from transferkit.files import digest
from transferkit.record import JsonObject

if TYPE_CHECKING:
    import keras

FORWARD_BATCH = 64  # pictures per compiled pass: one shape, one trace
SMALL = 256 << 20  # bytes of a network's largest activation for one such batch
CHUNK_BYTES = 64 << 20  # rows are committed to disk in pieces of about this size,
COMMIT_SECONDS = 20.0  # or as often as this: what a kill can cost
RESIDENT_BYTES = 1 << 30  # vectors up to this size in all are taken into memory once, and trained on from there
VIEWS_AT_ONCE = 32  # drawn from one decoded picture; bounds what waits in memory
Unreadable = Callable[[int, PictureError], None]  # is told the number of a picture, and why it cannot be read


@dataclass(frozen=True)
class Views:
    """Clean pictures (view 0) and `count` seeded augmented copies of each (views 1…count); `mirrored`: of all these the
    mirror images."""

    decode: DecodeSettings
    augmentation: AugmentationRanges
    count: int
    seed: int
    mirrored: bool = False

    def pixels(self, samples: Samples, index: int, views: Sequence[int]) -> np.ndarray:
        """uint8 [len(views), size, size, 3] of one picture: decoded once, each view drawn from it.

        Raises PictureError for a picture that has changed since it was hashed: rows are kept under the hash.
        """
        assert samples.sha256 is not None
        seeds = [view_seed(self.seed, samples.sha256[index], view) for view in views]
        with MEMORY.turn():
            image = open_pixels(samples.pinned(index), self.decode)
            found = render(image, self.decode, self.augmentation, seeds)
        return np.ascontiguousarray(found[:, :, ::-1]) if self.mirrored else found

    def name(self, sha256: str, view: int) -> str:
        """The row's name in a feature set. A clean view is the same row whatever the augmentation and seed."""
        mirrored = ["mirrored"] * self.mirrored
        if view == 0:
            return digest([sha256, 0, *mirrored])[:32] if mirrored else sha256[:32]
        return digest([sha256, view, self.seed, self.augmentation.key(), *mirrored])[:32]


class Source(Protocol):
    """Network inputs for (picture, view) pairs."""

    shapes: list[tuple[int, ...]]

    def take(self, pictures: np.ndarray, views: np.ndarray) -> list[np.ndarray]:
        """Tensors [n, *shape] float32 for pairs given as two int arrays [n]."""
        ...


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


@dataclass(frozen=True)
class ResidentRows:
    """All rows of a source in the backend's memory: `tensors` [R, *shape]; `places` int32 [pictures, views] says which
    row belongs to which view, -1 where there is none.
    """

    tensors: list[Any]
    places: np.ndarray

    def rows(self, pictures: np.ndarray, views: np.ndarray | int) -> np.ndarray:
        """Row numbers int32 [n] of (picture, view) pairs."""
        rows: np.ndarray = self.places[pictures, views]
        assert (rows >= 0).all(), "a view was asked for that was not extracted"
        return rows


class Stored:
    """Rows of a feature set, found once, then gathered by number."""

    def __init__(self, features: FeatureSet, views: Views, samples: Samples, wanted: Mapping[int, Sequence[int]]):
        assert samples.sha256 is not None
        self.features, self.shapes = features, features.shapes
        depth = 1 + max((max(v) for v in wanted.values() if len(v)), default=0)
        pairs = [(i, v) for i, some in wanted.items() for v in some]
        chunks, rows = features.places([views.name(samples.sha256[i], v) for i, v in pairs])
        self._chunk = np.full((len(samples), depth), -1, np.int64)
        self._row = np.zeros((len(samples), depth), np.int64)
        at = tuple(np.array(pairs, np.int64).reshape(-1, 2).T)
        self._chunk[at], self._row[at] = chunks, rows
        self._resident: ResidentRows | None = None

    def resident(self, most: int = RESIDENT_BYTES) -> ResidentRows | None:
        """The rows in memory, read at the first call; None where they are maps or take more than `most` bytes."""
        if self._resident is not None:
            return self._resident
        if any(len(shape) > 1 for shape in self.shapes):
            return None
        at = np.nonzero(self._chunk >= 0)
        pairs, numbers = np.unique(np.stack([self._chunk[at], self._row[at]]), axis=1, return_inverse=True)
        if 4 * self.features.width * pairs.shape[1] > most:
            return None
        tensors = compute.hold(self.features.unpack(self.features.gather(*pairs)))
        places = np.full(self._chunk.shape, -1, np.int32)
        places[at] = numbers.ravel()
        self._resident = ResidentRows(tensors, places)
        return self._resident

    def take(self, pictures: np.ndarray, views: np.ndarray) -> list[np.ndarray]:
        """See `Source.take`."""
        chunks = self._chunk[pictures, views]
        assert (chunks >= 0).all(), "a view was asked for that was not extracted"
        return self.features.unpack(self.features.gather(chunks, self._row[pictures, views]))


class Streamed:
    """Views drawn (and, with a network, pushed through the frozen part) each time they are asked for."""

    def __init__(self, views: Views, samples: Samples, network: compute.Forward | None, shapes: Any) -> None:
        self.views, self.samples, self.network = views, samples, network
        self.shapes = shapes

    def take(self, pictures: np.ndarray, views: np.ndarray) -> list[np.ndarray]:
        """See `Source.take`. Pixels are float32 0…255 where there is no network."""
        pairs = zip(pictures.tolist(), views.tolist(), strict=True)
        drawn = map_ordered(lambda pair: self.views.pixels(self.samples, pair[0], [pair[1]]), pairs)
        pixels = np.concatenate(list(drawn))
        if self.network is None:
            return [pixels.astype(np.float32)]
        tensors = _in_batches(self.network, pixels)
        return unpacked(rounded(np.concatenate([x.reshape(len(pixels), -1) for x in tensors], axis=1)), self.shapes)


def _in_batches(network: compute.Forward, pixels: np.ndarray) -> list[np.ndarray]:
    """Outputs of `network` for uint8 [n, …], always called with FORWARD_BATCH rows (the last batch is padded)."""
    parts = []
    for start in range(0, len(pixels), FORWARD_BATCH):
        batch = pixels[start : start + FORWARD_BATCH]
        outputs = network([_padded(batch, FORWARD_BATCH)])
        parts.append([output[: len(batch)] for output in outputs])
    return [np.concatenate(tensors) for tensors in zip(*parts, strict=True)]


def _padded(batch: np.ndarray, size: int) -> np.ndarray:
    if len(batch) == size:
        return batch
    return np.concatenate([batch, np.zeros((size - len(batch), *batch.shape[1:]), batch.dtype)])


def at_once(model: keras.Model) -> int:
    """Batches in a network at a time: two on a CPU, where one leaves cores idle, if its activations are small."""
    small = 4 * FORWARD_BATCH * largest(model) <= SMALL
    return 2 if small and compute.gpu_count() == 0 and compute.device_count() == 1 else 1


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

    Rows are committed as they come, so that an interrupted pass goes on where it stopped.

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


def row_names(views: Views, samples: Samples, wanted: Mapping[int, Sequence[int]]) -> list[str]:
    """Names of all rows of `wanted`, each once (exact duplicates share theirs).

    Args:
        views: names the rows.
        samples: the pictures, hashed.
        wanted: row number of a picture → its views.
    """
    assert samples.sha256 is not None
    return list(dict.fromkeys(views.name(samples.sha256[i], v) for i, some in wanted.items() for v in some))


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

    def run(batch: tuple[list[str], np.ndarray]) -> tuple[list[str], list[np.ndarray]]:
        names, pixels = batch
        return names, [o[: len(names)] for o in network([_padded(pixels, FORWARD_BATCH)])]

    with closing(ahead(_drawn(views, samples, todo, on_error), depth=1)) as batches:
        yield from map_ordered(run, batches, threads=parallel, window=parallel)


def _drawn(
    views: Views, samples: Samples, todo: dict[int, list[int]], on_error: Unreadable | None
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Row names and uint8 pixels [n ≤ FORWARD_BATCH, size, size, 3]."""
    assert samples.sha256 is not None

    def draw(item: tuple[int, list[int]]) -> tuple[int, list[int], np.ndarray | PictureError]:
        try:
            return *item, views.pixels(samples, *item)
        except PictureError as error:
            if on_error is None:
                raise
            return *item, error

    names: list[str] = []
    waiting: list[np.ndarray] = []
    work = ((i, some[k : k + VIEWS_AT_ONCE]) for i, some in todo.items() for k in range(0, len(some), VIEWS_AT_ONCE))
    # Two batches in the making: with less, decoding would wait for the network, and it for decoding.
    most = max(1, min(VIEWS_AT_ONCE, max(map(len, todo.values()))))
    window = max(2 * available_threads(), 2 * FORWARD_BATCH // most)
    for i, some, pixels in map_ordered(draw, work, window=window, bundle=max(1, BUNDLE // most)):
        if isinstance(pixels, PictureError):
            assert on_error is not None
            on_error(i, pixels)
            continue
        names += [views.name(samples.sha256[i], v) for v in some]
        waiting.extend(pixels)
        while len(waiting) >= FORWARD_BATCH:
            yield names[:FORWARD_BATCH], np.stack(waiting[:FORWARD_BATCH])
            names, waiting = names[FORWARD_BATCH:], waiting[FORWARD_BATCH:]
    if waiting:
        yield names, np.stack(waiting)


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
