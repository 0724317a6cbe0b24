"""Pictures without labels beside those with: they are given the labels that are likely, and learnt from as well.

Whether that helps is asked of labelled pictures that were left out: their labels have no part in what the pool is taken
for, and no label spreads through them (`out_of_fold`). It is kept only where it gains more than one standard error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from transferkit.compute.blas import few_threads
from transferkit.selection import projection
from transferkit.selection.answering import enter
from transferkit.selection.candidate_scores import CandidateScore, Judge
from transferkit.selection.comparison import behind
from transferkit.selection.fitted import Fitted, Floats, Kernel, Rows, softmax, unit
from transferkit.selection.kernels import KernelRidge
from transferkit.selection.learner import Folds, Learner, Setting
from transferkit.selection.projection import Projection

Indices = npt.NDArray[np.int64]

NEIGHBOURS = 10  # of each picture in the graph along which labels spread
SPARE = 40  # neighbours looked up once, so that those of a fold that is left out can be passed over
ALPHA = 0.9  # how much a picture goes by its neighbours; the rest is its own label, where it has one
STEPS = 30  # of spreading: 0.9³⁰ is 4 %


@dataclass(frozen=True)
class Way:
    """How a pool gets its labels: they spread along a graph of similar pictures; with `own`, what the classifier itself
    answers (self-training) counts as much. `kernel`: a kernel machine learns from all, whatever was chosen, since a few
    labels seldom justify one where many do."""

    own: bool = False
    kernel: bool = False

    @property
    def words(self) -> str:
        """`"labels of similar pictures, and a kernel machine"`."""
        how = "labels of similar pictures" + (" and the classifier's own answers" if self.own else "")
        return f"{how}, and a kernel machine" if self.kernel else how


WAYS = (Way(), Way(own=True), Way(kernel=True), Way(own=True, kernel=True))
KERNEL = {"gamma": 0.7, "penalty": 0.05}  # the middle of what `KernelRidge` tries


@dataclass(frozen=True, eq=False)
class Taught:
    """Labelled rows `x` float32 [n, V, D] with targets `y` float64 [n, C] (one-hot), and a pool [m, D] of clean
    pictures, for the candidate of one `trial`. D are all columns, of which the candidate reads its own."""

    x: Rows
    y: Floats
    pool: Rows
    trial: CandidateScore

    @cached_property
    def projection(self) -> Projection:
        """Found from labelled and other pictures together: it asks for no label."""
        candidate = self.trial.candidate
        return projection.fit(np.concatenate([self.x[:, 0], self.pool]), candidate.start, candidate.stop)

    @cached_property
    def z(self) -> Rows:
        """Projected labelled rows [n, V, d]."""
        return self.projection(self.x)

    @cached_property
    def p(self) -> Rows:
        """Projected rows of the pool [m, d]."""
        return self.projection(self.pool)

    @cached_property
    def graph(self) -> tuple[Indices, Rows]:
        """For labelled pictures, then the pool: the `SPARE` nearest others [n + m, k], and their cosines."""
        return nearest(unit(np.concatenate([self.z[:, 0], self.p])), SPARE)

    def ways(self) -> list[Way]:
        """Those that differ for this candidate."""
        kernel = isinstance(self.trial.candidate.learner, KernelRidge)
        return [way for way in WAYS if not (way.kernel and kernel)]

    def learner(self, way: Way) -> tuple[Learner, Setting]:
        """Who learns, and its setting."""
        return (KernelRidge(), KERNEL) if way.kernel else (self.trial.candidate.learner, self.trial.setting)

    def fit(self, way: Way, learnt: Indices) -> Fitted:
        """A classifier learnt from the labelled pictures at `learnt` and from the pool."""
        learner, setting = self.learner(way)
        shares = spread(*self.graph, learnt, self.y[learnt], len(self.z))
        if way.own:
            shares = shares + self._own(learnt)
        labels = np.eye(self.y.shape[1])[shares.argmax(1)]
        views = self.z.shape[1]
        z = np.concatenate([self.z[learnt], np.repeat(self.p[:, None], views, axis=1)])
        return merged(learner.fit(z, np.concatenate([self.y[learnt], labels]), setting), len(learnt), views)

    def _own(self, learnt: Indices) -> Floats:
        """What the candidate takes the pool for by the labelled pictures alone: shares [m, C] that sum to 1."""
        learner = self.trial.candidate.learner
        outputs = learner.fit(self.z[learnt], self.y[learnt], self.trial.setting)(self.p)
        if learner.gives_logits:
            return np.asarray(softmax(outputs.astype(np.float32)), np.float64)
        shares = np.clip(outputs, 0, 1) + 1e-9
        return np.asarray(shares / shares.sum(1, keepdims=True))

    def out_of_fold(self, way: Way, rounds: Sequence[Folds]) -> Iterator[Floats]:
        """Outputs [n, C] for labelled pictures by what was learnt without them, for each round of folds."""
        for folds in rounds:
            outputs = np.empty_like(self.y)
            for fold in folds:
                rest = np.setdiff1d(np.arange(len(self.z)), fold)
                outputs[fold] = self.fit(way, rest)(self.z[fold, 0])
            yield outputs


@dataclass(frozen=True, kw_only=True)
class WayScore:
    """A way with its out-of-fold answers, how much better these are than without the pool, and the standard error."""

    way: Way
    trial: CandidateScore
    gain: float
    error: float

    @property
    def helps(self) -> bool:
        """Whether it gains more than one standard error."""
        return self.gain > self.error


def best_way(taught: Taught, rounds: Sequence[Folds], judge: Judge) -> tuple[WayScore, list[CandidateScore]]:
    """The way that gains most, by the folds by which the candidate was chosen; and the answers of every way.

    All are asked in the first round of folds, the best of them in the others too.

    Args:
        taught: the candidate, and what it may learn from.
        rounds: the folds of each round.
        judge: the score.
    """
    asked = [(way, _answered(taught, way, rounds[:1], judge, [])) for way in taught.ways()]
    way, trials = max(asked, key=lambda entry: judge.signed(entry[1][0].score))
    _answered(taught, way, rounds[1:], judge, trials)
    gap, error = behind(trials[0], taught.trial, judge)
    return WayScore(way=way, trial=trials[0], gain=0.0 - gap, error=error), [found[0] for _, found in asked]


def _answered(
    taught: Taught, way: Way, rounds: Sequence[Folds], judge: Judge, trials: list[CandidateScore]
) -> list[CandidateScore]:
    """`trials`, which has one entry for a way, with what it answers in more rounds."""
    learner, setting = taught.learner(way)
    # By which its scores are filed: another object than the candidate without a pool.
    candidate = trials[0].candidate if trials else replace(taught.trial.candidate, learner=learner)
    with few_threads(taught.x.size + taught.pool.size):
        for outputs in taught.out_of_fold(way, rounds):
            enter(trials, candidate, setting, outputs, judge, first=not trials)
    return trials


def nearest(z: Rows, most: int) -> tuple[Indices, Rows]:
    """The nearest others of each row.

    Args:
        z: rows of length 1, [N, d].
        most: how many.

    Returns:
        Row numbers [N, k], nearest first, and their cosines float32.
    """
    count = min(most, len(z) - 1)
    which, cosines = np.empty((len(z), count), np.int64), np.empty((len(z), count), np.float32)
    for start in range(0, len(z), 1024):
        block = z[start : start + 1024] @ z.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -np.inf
        some = np.argpartition(-block, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(block, some, 1), axis=1, kind="stable")
        which[start : start + 1024] = np.take_along_axis(some, order, 1)
        cosines[start : start + 1024] = np.take_along_axis(block, which[start : start + 1024], 1)
    return which, cosines


def spread(which: Indices, cosines: Rows, learnt: Indices, y: Floats, labelled: int) -> Floats:
    """What the pool is taken for [m, C], by labels that spread along the graph (Zhou et al. 2004).

    Args:
        which: the nearest others of each picture, of which the first `labelled` have labels.
        cosines: how near they are.
        learnt: those of the labelled pictures that may be used; the others are not even passed through.
        y: their labels, one-hot.
        labelled: how many have labels.

    Returns:
        Shares, so scaled that classes are as frequent in the pool as among the labels (Zhu et al. 2003).
    """
    from scipy.sparse import csr_matrix, diags

    total = len(which)
    there = np.ones(total, bool)
    there[:labelled] = False
    there[learnt] = True
    allowed = there[which] & there[:, None]
    allowed &= np.cumsum(allowed, axis=1) <= NEIGHBOURS
    row, column = np.nonzero(allowed)
    weights = np.maximum(cosines[row, column], 0).astype(np.float64) ** 3  # far ones hardly count
    graph = csr_matrix((weights, (row, which[row, column])), shape=(total, total))
    mutual = graph.maximum(graph.T)
    root = diags(1 / np.sqrt(np.maximum(np.asarray(mutual.sum(1)).ravel(), 1e-12)))
    steps = root @ mutual @ root
    start = np.zeros((total, y.shape[1]))
    start[learnt] = y / np.maximum(y.sum(0), 1)  # a class with many labels spreads no further than another
    found = start
    for _ in range(STEPS):
        found = ALPHA * (steps @ found) + (1 - ALPHA) * start
    pool = found[labelled:]
    pool = pool / np.maximum(pool.sum(0), 1e-12) * y.mean(0)
    return np.asarray(pool / np.maximum(pool.sum(1, keepdims=True), 1e-12))


def merged(fitted: Fitted, labelled: int, views: int) -> Fitted:
    """A kernel machine with one support for each picture of the pool, whose views are all the same picture.

    Args:
        fitted: the machine, whose supports are all pictures in one view after the other.
        labelled: pictures with labels, which come first in each view.
        views: how many there are.
    """
    if not isinstance(fitted, Kernel) or views == 1:
        return fitted
    count, rest = divmod(len(fitted.supports), views)
    at = np.arange(count * views).reshape(views, count)
    pool = fitted.supports[at[:, labelled:]] if not rest else None
    if pool is None or (pool != pool[:1]).any():
        return fitted  # landmarks: no view is there twice
    kept = np.concatenate([at[:, :labelled].ravel(), at[0, labelled:]])
    weights = fitted.weights.copy()
    weights[at[0, labelled:]] *= views
    return Kernel(fitted.supports[kept], fitted.gamma, weights[kept], fitted.bias)
