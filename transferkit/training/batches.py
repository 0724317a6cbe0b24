"""Which pictures, views and targets each optimizer step sees: seeded, so that any epoch can be repeated or resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from transferkit.config import Settings
from transferkit.data.threads import map_ordered
from transferkit.errors import ConfigError
from transferkit.features.number_formats import width_of
from transferkit.features.row_sources import ResidentRows, Source
from transferkit.tasks.task import Task

CHUNK_BYTES = 48 << 20  # what one compiled call is fed with
GPU_PART = 8  # of pixels for a GPU no more than one in so many steps of an epoch, which begins by waiting for them
STEPS_AT_ONCE = 2048  # in one compiled call on rows in memory: bounds how long an interrupt waits
Chunk = tuple[list[np.ndarray], np.ndarray, np.ndarray]
Picked = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Targets of one class a picture, as the loss wants them, made when they are asked for: a table of 100,000 pictures
    and 1,000 classes is 400 MB."""

    kind: Task
    labels: np.ndarray
    classes: int

    @property
    def shape(self) -> tuple[int, int]:
        """As of the table."""
        return len(self.labels), self.kind.logits(self.classes)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.kind.encoded(self.labels[rows], self.classes, rows)[0]

    def copy(self) -> np.ndarray:
        """The table float32 [N, t]."""
        return self[np.arange(len(self.labels))]


@dataclass(frozen=True)
class Smoothed:
    """Targets float32 [n, t] of some pictures, smoothed when they are asked for: of many classes, a second table of all
    would be the largest thing in memory."""

    targets: np.ndarray | Encoded  # of all pictures
    pictures: np.ndarray
    smooth: Callable[[np.ndarray], np.ndarray]

    @property
    def shape(self) -> tuple[int, int]:
        """As of an array."""
        return len(self.pictures), self.targets.shape[1]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, places: np.ndarray | slice) -> np.ndarray:
        return self.smooth(self.targets[self.pictures[places]])


@dataclass(frozen=True)
class Batches:
    """Batches of one phase.

    `pictures` [n] are row numbers in `source`; `targets` float32 [n, t] (one-hot, 0/1 or numbers) and `weights`
    float32 [n] go with them. An epoch shows every picture once, each in the next of its views 0…`views`.
    """

    source: Source
    pictures: np.ndarray
    targets: np.ndarray | Smoothed
    weights: np.ndarray
    size: int
    views: int
    seed: int
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return -(-len(self.pictures) // self.size)

    def epoch(self, number: int) -> Iterator[Chunk]:
        """Chunks of whole batches: inputs [k, size, …], targets [k, size, t], weights [k, size].

        The last batch is filled up with other pictures of weight 0, so that every step has one shape.
        """
        rng = np.random.default_rng((self.seed, number))
        order, views, weights = self._order(number, rng)
        per_chunk = self._batches_per_chunk()
        parts = [
            slice(first * self.size, min(first + per_chunk, self.steps) * self.size)
            for first in range(0, self.steps, per_chunk)
        ]

        def taken(part: slice) -> list[np.ndarray]:
            return self.source.take(self.pictures[order[part]], views[part])

        # The last pictures of a chunk would keep the other cores waiting for the next.
        threads = 2 if self.source.for_gpu else 1
        for part, inputs in zip(parts, map_ordered(taken, parts, threads, window=threads), strict=True):
            yield self._chunk(inputs, order[part], weights[part], rng)

    def picked(self, number: int, resident: ResidentRows) -> Iterator[Picked]:
        """The same epoch as rows of `resident`: int32 [k, size], targets [k, size, t], weights [k, size]. Never
        mixed.
        """
        assert not self.mixes, "mixed batches are made of their inputs"
        order, views, weights = self._order(number, np.random.default_rng((self.seed, number)))
        rows = resident.rows(self.pictures[order], views)
        width = self.targets.shape[1]
        per_call = max(1, min(STEPS_AT_ONCE, CHUNK_BYTES // (4 * width * self.size), resident.most // self.size))
        for first in range(0, self.steps, per_call):
            part = slice(first * self.size, min(first + per_call, self.steps) * self.size)
            shape = (-1, self.size)
            yield (
                rows[part].reshape(shape),
                self.targets[order[part]].reshape(*shape, width),
                weights[part].reshape(shape),
            )

    @property
    def mixes(self) -> bool:
        """Whether pictures of a batch are mixed with each other."""
        return bool(self.mixup or self.cutmix)

    def _order(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which of `pictures`, in which view and with which weight, step after step, the last batch filled up."""
        order = rng.permutation(len(self.pictures))
        weights = np.zeros(self.steps * self.size, np.float32)
        weights[: len(order)] = self.weights[order]
        order = np.resize(order, self.steps * self.size)
        start = np.random.default_rng(self.seed).integers(0, self.views + 1, len(self.pictures))
        views = (start + number) % (self.views + 1)
        return order, views[order], weights

    def _batches_per_chunk(self) -> int:
        size, most = 4 * self.size * width_of(self.source.shapes), self.steps
        if self.source.for_gpu and not self.mixes:  # bytes, where mixtures are float32
            # A call costs the host some 9 ms for the thousand weights and moments of a ResNet50, however many steps it
            # takes, and meanwhile no views are asked for. More than 256 pictures of 224 pixels a call were no faster.
            size, most = size // 4, self.steps // GPU_PART
        return max(1, min(most, CHUNK_BYTES // size))

    def _chunk(
        self, inputs: list[np.ndarray], order: np.ndarray, weights: np.ndarray, rng: np.random.Generator
    ) -> Chunk:
        count = len(order) // self.size
        inputs = [x.reshape(count, self.size, *x.shape[1:]) for x in inputs]
        targets, weights = self.targets[order].reshape(count, self.size, -1), weights.reshape(count, self.size)
        if not self.mixes:
            return inputs, targets, weights
        # A picture brings its weight into the mixture: w₁·s of one target and w₂·(1 - s) of the other. Otherwise the
        # weight of a common class would fall to the rare class's targets, and undo what class weights are for.
        weighed = np.concatenate([targets * weights[..., None], weights[..., None]], -1)
        inputs, weighed = _mix(inputs, weighed, rng, self.mixup, self.cutmix, weights > 0)
        weights = weighed[..., -1]
        targets = weighed[..., :-1] / np.where(weights > 0, weights, 1)[..., None]
        return inputs, np.where(weights[..., None] > 0, targets, 0), weights


def _mix(
    inputs: list[np.ndarray], targets: np.ndarray, rng: np.random.Generator, mixup: float, cutmix: float,
    real: np.ndarray | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:  # fmt: skip
    """MixUp (Zhang et al. 2018) or CutMix (Yun et al. 2019) of whole batches [k, b, …], on pixels or activations.

    Rows that are not `real` [k, b] fill a batch up; they are partners of none but each other.
    Raises ConfigError where CutMix finds no map that could be cut.
    """
    count, size = targets.shape[:2]
    partner = np.stack([rng.permutation(size) for _ in range(count)])
    if real is not None:
        partner = np.stack([_apart(order, own) for order, own in zip(partner, real, strict=True)])
    row = np.arange(count)[:, None]
    share = np.asarray(rng.beta(mixup or cutmix, mixup or cutmix, count), np.float32)
    if cutmix:
        boxes = [_box(rng, float(s), _grid(inputs)) for s in share]
        share = np.asarray([1 - (b - t) * (r - le) for t, b, le, r in boxes], np.float32)
        # What has no extent, as the gate of a squeeze-and-excitation block, is a mean over a map: it mixes by area.
        mixed = [
            _paste(x, x[row, partner], boxes) if _extended(x) else _blend(x, x[row, partner], share) for x in inputs
        ]
    else:
        mixed = [_blend(x, x[row, partner], share) for x in inputs]
    return mixed, _blend(targets, targets[row, partner], share)


def _apart(order: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The permutation `order` with real rows going to real ones and the others to themselves."""
    if real.all():
        return order
    partner = np.arange(len(order))
    partner[real] = order[real[order]]
    return partner


def _extended(x: np.ndarray) -> bool:
    return x.ndim == 5 and x.shape[2] * x.shape[3] > 1


def _grid(inputs: list[np.ndarray]) -> tuple[int, int]:
    """The coarsest map that has an extent, so that finer ones at the same cut can be cut along the same lines."""
    grids = [(x.shape[2], x.shape[3]) for x in inputs if _extended(x)]
    if not grids:
        shapes = ", ".join("×".join(map(str, x.shape[2:])) for x in inputs)
        raise ConfigError(f"--cutmix cuts maps, and what is mixed here ({shapes}) has no extent; use --mixup")
    return min(grids)


def _blend(own: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    weight = share.reshape(-1, *[1] * (own.ndim - 1))
    return np.asarray(weight * own + (1 - weight) * other)


Box = tuple[float, float, float, float]


def _box(rng: np.random.Generator, share: float, grid: tuple[int, int]) -> Box:
    """Top, bottom, left, right in 0…1 of a box of area about 1 - share, on the lines of a map of `grid` places."""
    # A map of one row (or column) is cut across it only.
    side, edges = (1 - share) ** (1 / sum(places > 1 for places in grid)), []
    for places, place in zip(grid, rng.uniform(0, 1, 2), strict=True):
        # The size is rounded and then the place: a box between two lines of a coarse map would be none.
        length = round(side * places) if places > 1 else 1
        start = round(place * (places - length))
        edges += [start / places, (start + length) / places]
    return edges[0], edges[1], edges[2], edges[3]


def _paste(own: np.ndarray, other: np.ndarray, boxes: list[Box]) -> np.ndarray:
    out = own.copy()
    height, width = own.shape[2:4]
    for k, (top, bottom, left, right) in enumerate(boxes):
        rows = slice(round(top * height), round(bottom * height))
        columns = slice(round(left * width), round(right * width))
        out[k, :, rows, columns] = other[k, :, rows, columns]
    return out


def one_hot(targets: np.ndarray, classes: int, smoothing: float) -> np.ndarray:
    """Targets of softmax cross-entropy.

    Args:
        targets: class numbers, int [n].
        classes: how many there are.
        smoothing: the share of the mass that is spread evenly over all classes, 0…1 (Szegedy et al. 2016).

    Returns:
        float32 [n, classes], rows that sum to 1.
    """
    hot = np.full((len(targets), classes), smoothing / classes, np.float32)
    hot[np.arange(len(targets)), targets] += 1 - smoothing
    return hot


def balanced_weights(targets: np.ndarray, classes: int) -> np.ndarray:
    """Weights by which every class weighs the same (King & Zeng 2001).

    Args:
        targets: class numbers, int [n].
        classes: how many there are; those without a picture do not count.

    Returns:
        float32 [n]: n / (classes · n_class) for each picture.
    """
    counts = np.bincount(targets, minlength=classes)
    per_class = len(targets) / np.maximum(counts, 1) / max(1, int((counts > 0).sum()))
    weights: np.ndarray = np.asarray(per_class, np.float32)[targets]
    return weights


def batch_size(settings: Settings, pictures: int) -> int:
    """Pictures a step.

    Args:
        settings: whose batch size is a number, or "auto": a power of two from 8 to 128.
        pictures: of training; there are never more in a step.
    """
    if settings.batch_size != "auto":
        return min(settings.batch_size, pictures)
    # About forty steps an epoch: enough updates for small data, full vectors for large.
    power = int(np.log2(max(1, pictures // 40)))
    return min(int(min(128, max(8, 2**power))), pictures)
