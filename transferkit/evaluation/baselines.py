"""What must be beaten: the majority answer, a linear probe and nearest neighbours on features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.errors import DataError
from transferkit.evaluation import linear_fits
from transferkit.evaluation.metric_registry import GOALS
from transferkit.evaluation.metrics import one, score
from transferkit.evaluation.scores import Scores
from transferkit.features import working_arrays
from transferkit.file_windows import release
from transferkit.record import JsonObject
from transferkit.tasks.task import parts

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Given = tuple[npt.ArrayLike, npt.ArrayLike]  # features [N, D] and targets of one split

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C of the logistic regression, from strong to weak
PENALTIES = (1e4, 1e3, 1e2, 10.0, 1.0, 0.1)  # alpha of the ridge regression
LARGE = 2_000_000_000  # of these times classes: above, the regularisation is chosen on a part of the pictures
NEIGHBOURS = (1, 3, 5, 10, 20, 50)
STORED = 50_000  # training pictures among which neighbours are looked for, so that the time grows with the pictures
BLOCK = 512  # pictures that are compared with all others at once, or fewer:
CELLS = 1 << 22  # comparisons at once


class Baseline(NamedTuple):
    """A baseline's test `scores` (see `metrics.score`), test `predictions`, what was `chosen`, and the `thresholds` of
    labels (None: 0.5)."""

    scores: Scores
    predictions: Floats
    chosen: JsonObject
    thresholds: Floats | None = None


class Split(NamedTuple):
    """Features [N, D] float and targets (as for `metrics.score`) of one split."""

    x: Array
    y: Array


def majority(train_targets: npt.ArrayLike, test_targets: npt.ArrayLike, task: str, classes: Sequence[str]) -> Baseline:
    """The best answer without looking at the picture: class shares, label shares or the median of training.

    Args:
        train_targets: as for `metrics.score`.
        test_targets: likewise.
        task: says what they mean.
        classes: names of the classes, labels or targets.

    Returns:
        Predictions are the training shares for every picture (of classes [N, C]: what the task decides by them is the
        majority class, or of ordered classes the median) or the training median of each target (regress: [N, T]).
    """
    train, test = np.asarray(train_targets), np.asarray(test_targets)
    answer = tasks.of(task).constant(train, len(classes))
    predictions = np.broadcast_to(answer, (len(test), len(answer)))
    return Baseline(score(task, test, predictions, classes), predictions, {"answer": answer.tolist()})


@dataclass(frozen=True)
class Probe:
    """A linear model of features [N, D]: `answers` of standardised ones, and the regularisation that was `chosen`, on a
    part of the pictures where `large`."""

    mean: Array
    deviation: Array
    answers: Callable[[Array], Floats]
    chosen: JsonObject
    large: bool = False

    @property
    def strength(self) -> float:
        """The regularisation: C, or alpha."""
        (value,) = self.chosen.values()
        assert isinstance(value, float)
        return value

    def of(self, x: Array) -> Floats:
        """Predictions [n, C] of features [n, D]."""
        return self.answers(_scaled(x, self.mean, self.deviation))

    def scored(self, test: Split, task: str, classes: Sequence[str]) -> Baseline:
        """As a baseline, on `test`."""
        predictions = self.of(test.x)
        return Baseline(score(task, test.y, predictions, classes), predictions, self.chosen)


def probe(train: Given, val: Given, task: str, classes: Sequence[str]) -> Probe:
    """A linear model on standardised features: logistic regression (one per label), or ridge.

    About a second for 2,000 × 256. Of very many pictures and classes (`LARGE`) the regularisation is chosen on a part
    of the pictures, and the model fitted to all. Kornblith et al. 2019.

    Args:
        train: features [N, D] and targets (as for `metrics.score`) that it learns from.
        val: those that its regularisation is chosen on, by the task's usual score.
        task: says what the targets mean.
        classes: names of the classes, labels or targets.
    """
    given, chosen_on = _splits(task, train, val)
    mean, deviation = spread_of(given.x)
    fitted, held_out = standardised([given, chosen_on])
    if tasks.of(task).numbers:
        value, answers = _chosen(PENALTIES, lambda a: linear_fits.ridge(*fitted, a), held_out, task, classes)
        return Probe(mean, deviation, answers, {"alpha": value})
    part = _part(fitted, len(classes))
    value, answers = _chosen(STRENGTHS, linear_fits.logistic(*part, task, len(classes)), held_out, task, classes)
    if part is not fitted:
        answers = linear_fits.logistic(*fitted, task, len(classes))(value)
    return Probe(mean, deviation, answers, {"C": value}, large=part is not fitted)


def _part(train: Split, count: int) -> Split:
    """What a regularisation is chosen on: all, or where a fit would take minutes, as many pictures as take seconds."""
    most = LARGE // (train.x.shape[1] * count)
    if len(train.x) <= most:
        return train
    some = drawn(len(train.x), most)
    return Split(train.x[some], train.y[some])


def drawn(count: int, most: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """All of `count` numbers from 0, or `most` of them drawn by `seed`, ascending.

    Args:
        count, most, seed: see above.
    """
    return np.sort(np.random.default_rng(seed).permutation(count)[:most]) if count > most else np.arange(count)


def nearest_neighbours(train: Given, val: Given, test: Given, task: str, classes: Sequence[str]) -> Baseline:
    """The votes (or the mean) of the k training pictures with the most similar features.

    Similar is the cosine of standardised features. The class shares of training count as one more neighbour, which
    settles ties and keeps the loss finite. They are looked for among `STORED` pictures at the most, drawn at random.

    Args:
        train: features [N, D] and targets (as for `metrics.score`) of the neighbours.
        val: those that k is chosen on.
        test: those that it is scored on, once.
        task: says what the targets mean.
        classes: names of the classes, labels or targets.

    Returns:
        Scores and predictions on `test`, and the k chosen.
    """
    # Centred, because features after a ReLU all point one way and their angles would tell little.
    given = _splits(task, train, val, test)
    spread = spread_of(given[0].x)
    if len(given[0].x) > STORED:
        some = drawn(len(given[0].x), STORED)
        whole, given[0] = given[0].x, Split(given[0].x[some], given[0].y[some])
        release(whole)
    labels = given[0].y
    stored, held_out, final = (Split(_unit(_scaled(p.x, *spread)), p.y) for p in given)
    sizes = sorted({min(k, len(labels)) for k in NEIGHBOURS})
    kind = tasks.of(task)
    prior = kind.constant(labels, len(classes))
    del given  # of many pictures they are large, and so is what follows
    found = {id(p.x): _nearest(p.x, stored.x, sizes[-1]) for p in (held_out, final)}
    del stored

    def fit(k: float) -> Callable[[Array], Floats]:
        def answer(x: Array) -> Floats:
            near = found[id(x)][:, : int(k)]
            if kind.numbers:
                return np.asarray(labels.reshape(len(labels), -1)[near].mean(axis=1), np.float64)
            votes = _votes(labels, near, len(classes))
            for part in parts(votes):
                votes[part] += prior
                votes[part] /= int(k) + 1
            return votes

        return answer

    k, answers = _chosen(sizes, fit, held_out, task, classes)
    predictions = answers(final.x)
    return Baseline(score(task, final.y, predictions, classes), predictions, {"k": k})


def _votes(labels: Array, near: npt.NDArray[np.int64], count: int) -> Floats:
    """How often each class is among the `labels`, of classes [M] or 0/1 [M, C], of the neighbours `near` [N, k]."""
    if labels.ndim > 1:
        found = np.empty((len(near), count))
        for start in range(0, len(near), BLOCK):
            found[start : start + BLOCK] = labels[near[start : start + BLOCK]].sum(axis=1)
        return found
    table: Floats = working_arrays.table((len(near), count), np.float64)
    for part in parts(table):
        some = near[part]
        table[part] = 0
        np.add.at(table[part], (np.arange(len(some))[:, None], labels[some].astype(np.int64)), 1.0)
    return table


def _chosen(
    options: Iterable[float], fit: Callable[[float], Callable[[Array], Floats]], val: Split, task: str,
    classes: Sequence[str],
) -> tuple[float, Callable[[Array], Floats]]:  # fmt: skip
    """Fit every option, keep the best on validation (the loss settles ties): the option, and what it answers."""
    aim = GOALS[tasks.of(task).default_metric]
    sign = 1.0 if aim.direction == "max" else -1.0
    best: tuple[tuple[float, float], float, Callable[[Array], Floats]] | None = None
    for option in options:
        model = fit(option)
        answers = model(val.x)
        value, loss = (one(task, key, val.y, answers, classes) for key in (aim.key, "loss"))
        rank = (-np.inf if value is None else sign * value, -(loss or 0.0))
        if best is None or rank > best[0]:
            best = rank, option, model
        del answers  # of many classes they are large, and the next ones are as well
    assert best is not None  # `options` is never empty
    return best[1:]


def _nearest(queries: Array, stored: Array, k: int) -> npt.NDArray[np.int64]:
    """Indices [N, k] of the most similar rows of `stored`, nearest first; in blocks, to bound the memory."""
    result = np.empty((len(queries), k), np.int64)
    rows = min(BLOCK, max(1, CELLS // len(stored)))
    for start in range(0, len(queries), rows):
        likeness = queries[start : start + rows] @ stored.T
        top = np.argpartition(-likeness, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(likeness, top, axis=1), axis=1, kind="stable")
        result[start : start + rows] = np.take_along_axis(top, order, axis=1)
    return result


def standardised(parts: list[Split], own: bool = False) -> list[Split]:
    """Mean 0 and deviation 1 by the numbers of the first part, training.

    Args:
        parts: training, and others.
        own: whether the first is nobody else's, so that its features may be replaced in place.
    """
    spread = spread_of(parts[0].x)
    return [Split(_scaled(p.x, *spread, own=own and not i), p.y) for i, p in enumerate(parts)]


def _scaled(x: Array, mean: Array, deviation: Array, own: bool = False) -> Array:
    """In place as far as can be: of many pictures each table is large."""
    found: Array = np.subtract(x, mean, out=x) if own else x - mean
    release(x)  # of many pictures what came may be in a file
    found /= deviation
    return found


def spread_of(x: Array) -> tuple[Array, Array]:
    """Mean and deviation [D] of features [N, D]; 1 for those that are constant, which carry nothing."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation[deviation < 1e-6 * (1 + np.abs(mean))] = 1.0
    return mean, deviation


def _unit(x: Array) -> Array:
    """Rows of length 1, in place of `x`."""
    for start in range(0, len(x), BLOCK):
        rows = x[start : start + BLOCK]
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return x


def _splits(task: str, *parts: Given) -> list[Split]:
    tasks.of(task)
    found = [Split(np.asarray(x, np.float32), np.asarray(y)) for x, y in parts]
    for name, part in zip(("train", "val", "test"), found, strict=False):
        if part.x.ndim != 2 or len(part.x) != len(part.y) or not len(part.x):
            shapes = f"features {part.x.shape} and targets {part.y.shape}"
            raise DataError(f"{name}: {shapes} do not fit; expected [N, D] and [N, …] with N above 0")
    return found
