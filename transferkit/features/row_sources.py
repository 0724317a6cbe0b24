"""Network inputs for (picture, view) pairs: rows of the store, or computed each time they are asked for.

`Views` says which copies of a picture there are and what their rows are called, a `Source` hands out the inputs.
Training cannot tell one source from another: the numbers are the same.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from transferkit import compute
from transferkit.data.augmentation import processes
from transferkit.data.augmentation.augment import AugmentationRanges, view_seed
from transferkit.data.augmentation.view_drawing import ViewDrawing
from transferkit.data.images.decode import BUNDLE, DecodeSettings, PictureError
from transferkit.data.images.memory import keep_freed
from transferkit.data.samples import Samples
from transferkit.data.threads import available_threads, map_ordered, one_core_each
from transferkit.features import working_arrays
from transferkit.features.number_formats import rounded
from transferkit.features.store import FeatureSet, unpacked
from transferkit.files import digest

FORWARD_BATCH = 64  # pictures per compiled pass: one shape, one trace
MANY = 4096  # views from which processes are begun to draw them: that takes as long as drawing some 2,000 here
Work = tuple[int, Sequence[int]]  # a picture and some of its views
RESIDENT_BYTES = 1 << 30  # vectors up to this size in all are trained on by their numbers, where the store has them,
PART_BYTES = 48 << 20  # so many in memory at a time where they are more than `working_arrays.HELD_BYTES`


@dataclass(frozen=True)
class Views:
    """Clean pictures (view 0) and `count` seeded augmented copies of each (views 1…count); `mirrored`: of all these the
    mirror images."""

    decode: DecodeSettings
    augmentation: AugmentationRanges
    count: int
    seed: int
    mirrored: bool = False

    def pixels(
        self, samples: Samples, pictures: npt.ArrayLike, views: npt.ArrayLike = 0, again: bool = False
    ) -> np.ndarray:
        """Pixels of (picture, view) pairs, drawn on all threads.

        Args:
            samples: the pictures, hashed.
            pictures: row numbers; they and `views` are broadcast, as NumPy does it.
            views: of each of them; pairs of one picture that follow one another are drawn from one decoding of it.
            again: see `draw`.

        Returns:
            uint8 [*pairs, size, size, 3].

        Raises:
            PictureError: a picture has changed since it was hashed: rows are kept under the hash.
        """
        pairs = np.broadcast(pictures, views)
        found = np.empty((pairs.size, self.decode.size, self.decode.size, 3), np.uint8)
        work: list[Work] = []
        into: list[np.ndarray] = []
        row = 0
        for picture, same in groupby(pairs, key=itemgetter(0)):
            work.append((int(picture), [int(view) for _, view in same]))
            into.append(found[row : (row := row + len(work[-1][1]))])
        some = max(1, min(BUNDLE, len(work) // (2 * available_threads())))
        bundles = [slice(start, start + some) for start in range(0, len(work), some)]
        for errors in map_ordered(lambda which: self.draw(samples, work[which], into[which], again), bundles):
            for error in errors:
                if error is not None:
                    raise error
        return found.reshape(*pairs.shape, *found.shape[1:])

    def draw(
        self, samples: Samples, work: Sequence[Work], into: Sequence[Iterable[np.ndarray]], again: bool = False
    ) -> list[PictureError | None]:
        """Draw views of some pictures, by a process beside this one where there are such.

        Args:
            samples: the pictures, hashed.
            work: row numbers of some, each with its views.
            into: for each of them a place for each view, uint8 [size, size, 3].
            again: whether views of these pictures will be asked for again, so that such processes had best keep them.

        Returns:
            For each of them why it cannot be read; None where it is drawn.
        """
        assert samples.sha256 is not None
        asked = [(samples.pinned(i), [view_seed(self.seed, samples.sha256[i], v) for v in some]) for i, some in work]
        drawers, left = processes.drawers(), list(range(len(asked)))
        if drawers is not None and self.by_processes(samples):
            left = drawers.draw(self._pickled, self.decode.size, asked, into, again)
        found: list[PictureError | None] = [None] * len(asked)
        for number in left:
            try:
                self._drawing.draw(*asked[number], into[number])
            except PictureError as error:
                found[number] = error
        return found

    def by_processes(self, samples: Samples) -> bool:
        """Whether processes beside this one may draw them: arrays are here already, and so is the code of a user's own
        augmentation."""
        return samples.pixels is None and self.augmentation.then is None

    @cached_property
    def _drawing(self) -> ViewDrawing:
        return ViewDrawing(self.decode, self.augmentation, self.mirrored)

    @cached_property
    def _pickled(self) -> bytes:
        return pickle.dumps(self._drawing)

    def name(self, sha256: str, view: int) -> str:
        """The row's name in a feature set. A clean view is the same row whatever the augmentation and seed."""
        mirrored = ["mirrored"] * self.mirrored
        if view == 0:
            return digest([sha256, 0, *mirrored])[:32] if mirrored else sha256[:32]
        return digest([sha256, view, self.seed, self.augmentation.key(), *mirrored])[:32]


def row_names(views: Views, samples: Samples, wanted: Mapping[int, Sequence[int]]) -> list[str]:
    """Names of all rows of `wanted`, each once (exact duplicates share theirs).

    Args:
        views: names the rows.
        samples: the pictures, hashed.
        wanted: row number of a picture → its views.
    """
    assert samples.sha256 is not None
    return list(dict.fromkeys(views.name(samples.sha256[i], v) for i, some in wanted.items() for v in some))


class Source(Protocol):
    """Network inputs for (picture, view) pairs. `for_gpu`: they are pixels, drawn as fast as a GPU trains on them."""

    shapes: list[tuple[int, ...]]
    for_gpu: bool

    def take(self, pictures: np.ndarray, views: np.ndarray) -> list[np.ndarray]:
        """Tensors [n, *shape] for pairs given as two int arrays [n]: float32, or uint8 where they are pixels, which
        models take as well: that is a quarter to move."""
        ...


@dataclass(frozen=True)
class ResidentRows:
    """All rows of a source in the backend's memory: `tensors` [R, *shape]; `places` int32 [pictures, views] says which
    row belongs to which view, -1 where there is none. `most` rows may be asked for at once.
    """

    tensors: list[Any]
    places: np.ndarray
    most: int = sys.maxsize

    def rows(self, pictures: np.ndarray, views: np.ndarray | int) -> np.ndarray:
        """Row numbers int32 [n] of (picture, view) pairs."""
        rows: np.ndarray = self.places[pictures, views]
        assert (rows >= 0).all(), "a view was asked for that was not extracted"
        return rows

    def taken(self, rows: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """Tensors, and where in them the rows of these numbers, int32 [...], are."""
        return self.tensors, rows


@dataclass(frozen=True)
class PassingRows(ResidentRows):
    """As these, of rows that stay in `features`, of which row r is at `stored` int64 [2, R] (chunk and row there):
    whatever is asked for is read, into tensors of `most` rows always, for which programs are compiled."""

    features: FeatureSet = field(kw_only=True)
    stored: np.ndarray = field(kw_only=True)

    def taken(self, rows: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """See `ResidentRows`."""
        asked, places = np.unique(rows, return_inverse=True)
        found = np.zeros((max(self.most, len(asked)), self.features.width), np.float32)
        chunks, stored = self.stored[:, asked]
        found[: len(asked)] = self.features.gather(chunks, stored, once=True)
        return compute.hold(self.features.unpack(found)), places.reshape(rows.shape).astype(np.int32)


class Stored:
    """Rows of a feature set, found once, then gathered by number."""

    for_gpu = False

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
        self._many = 4 * features.width * len(pairs) > working_arrays.HELD_BYTES
        self._resident: ResidentRows | None = None

    def resident(self) -> ResidentRows | None:
        """The rows as training takes them by their numbers: from memory, read at the first call, or where they are
        more than `working_arrays.HELD_BYTES` and there is no GPU, a part at a time. None where they are maps or more
        than RESIDENT_BYTES."""
        if self._resident is not None:
            return self._resident
        if any(len(shape) > 1 for shape in self.shapes):
            return None
        at = np.nonzero(self._chunk >= 0)
        pairs, numbers = np.unique(np.stack([self._chunk[at], self._row[at]]), axis=1, return_inverse=True)
        row = 4 * self.features.width
        if row * pairs.shape[1] > RESIDENT_BYTES:
            return None
        places = np.full(self._chunk.shape, -1, np.int32)
        places[at] = numbers.ravel()
        if row * pairs.shape[1] > working_arrays.HELD_BYTES and not compute.gpu_count():
            most = max(1, PART_BYTES // row)
            self._resident = PassingRows([], places, most, features=self.features, stored=pairs)
        else:
            tensors = compute.hold(self.features.unpack(self.features.gather(pairs[0], pairs[1], once=True)))
            self._resident = ResidentRows(tensors, places)
        return self._resident

    def let_go(self) -> None:
        """Give back the memory of `resident` rows; they are read again when they are asked for."""
        self._resident = None

    def take(self, pictures: np.ndarray, views: np.ndarray, once: bool = False) -> list[np.ndarray]:
        """See `Source.take`; `once`: see `FeatureSet.gather`. No memory is kept where all of them would take much."""
        chunks = self._chunk[pictures, views]
        assert (chunks >= 0).all(), "a view was asked for that was not extracted"
        return self.features.unpack(self.features.gather(chunks, self._row[pictures, views], once or self._many))


def taking_once(source: Source) -> Callable[[np.ndarray, np.ndarray], list[np.ndarray]]:
    """Its `take`, for rows that are not asked for again soon: no memory is kept for them."""
    return partial(source.take, once=True) if isinstance(source, Stored) else source.take


class Streamed:
    """Views drawn (and, with a network, pushed through the frozen part) each time they are asked for."""

    def __init__(self, views: Views, samples: Samples, network: compute.Forward | None, shapes: Any) -> None:
        self.views, self.samples, self.network = views, samples, network
        self.shapes = shapes
        self._asked = 0  # views so far
        self.for_gpu = network is None and compute.gpu_count() > 0

    def take(self, pictures: np.ndarray, views: np.ndarray) -> list[np.ndarray]:
        """See `Source.take`. Pixels where there is no network."""
        self._asked += len(pictures)
        prepare_drawing(self._asked, self.views, self.samples)
        pixels = self.views.pixels(self.samples, pictures, views, again=True)
        if self.network is None:
            return [pixels]
        tensors = _in_batches(self.network, pixels)
        return unpacked(rounded(np.concatenate([x.reshape(len(pixels), -1) for x in tensors], axis=1)), self.shapes)


def prepare_drawing(count: int, views: Views, samples: Samples) -> None:
    """Begin processes that draw views, where that pays: an accelerator takes more than threads of one process draw.

    Args:
        count: how many are to be drawn, or were.
        views: how they are drawn.
        samples: of what.
    """
    keep_freed()
    one_core_each()
    pays = count >= MANY and available_threads() > 4 and compute.gpu_count() > 0
    if pays and views.by_processes(samples):
        processes.begin(available_threads())


def _in_batches(network: compute.Forward, pixels: np.ndarray) -> list[np.ndarray]:
    """Outputs of `network` for uint8 [n, …], always called with FORWARD_BATCH rows (the last batch is padded)."""
    parts = []
    for start in range(0, len(pixels), FORWARD_BATCH):
        batch = pixels[start : start + FORWARD_BATCH]
        outputs = network([padded(batch)])
        parts.append([output[: len(batch)] for output in outputs])
    return [np.concatenate(tensors) for tensors in zip(*parts, strict=True)]


def padded(batch: np.ndarray) -> np.ndarray:
    """`batch` [n ≤ FORWARD_BATCH, …] with rows of zeros up to FORWARD_BATCH."""
    if len(batch) == FORWARD_BATCH:
        return batch
    return np.concatenate([batch, np.zeros((FORWARD_BATCH - len(batch), *batch.shape[1:]), batch.dtype)])
