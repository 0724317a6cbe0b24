"""What else may answer than a network by itself, judged on the same folds: a network that looks at mirror images too,
and a classifier on the features of two networks side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from transferkit.data.splitting.split import Splits
from transferkit.features.frozen import Frozen
from transferkit.features.row_blocks import Table, beside, narrow
from transferkit.runs.cross_validation import judge_of, rounds_of
from transferkit.runs.tapped_rows import TappedRows, clean_rows, learnt_views, most_held, tapped_rows
from transferkit.selection import choice as choosing
from transferkit.selection import shipping
from transferkit.selection.candidate_scores import CandidateScore, Judge, OutOfFold
from transferkit.selection.candidates import learners
from transferkit.selection.choice import HeadChoice
from transferkit.selection.mirrored import both_ways
from transferkit.selection.network_choice import NetworkAnswers
from transferkit.training.recipe import Recipe

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Voice:
    """A network with the rows that it learns from, and what was chosen on these."""

    work: Recipe
    rows: TappedRows
    trial: CandidateScore

    @property
    def judge(self) -> Judge:
        """The goal on the pictures of the rows."""
        return judge_of(self.work.problem, self.work.settings.metric, self.rows.pictures)

    def both_ways(self, splits: Splits) -> OutOfFold:
        """Out-of-fold answers to pictures and their mirror images, averaged."""
        rows, rounds = self.rows, rounds_of(self.work, splits, self.rows)
        return both_ways(rows.x, _mirrored(self.work, rows), rows.y, rounds, self.trial, self.judge)


def again(work: Recipe, answers: NetworkAnswers) -> Voice:
    """A network on which a classifier was chosen before, with its rows, which the feature store has.

    Args:
        work: the network's recipe.
        answers: what was chosen on it.
    """
    rows = tapped_rows(work)
    return Voice(work, rows, answers.trial(rows.taps.sets(), learners(work.problem.samples.task)))


def _mirrored(work: Recipe, rows: TappedRows) -> Table:
    """Tapped rows float32 [n, 1, D] of the mirror images of clean pictures, by the network as it came."""
    views, samples = replace(work.views, mirrored=True, count=0), work.problem.samples
    frozen = Frozen(work.backbone, work.settings, views, work.cache, work.reporter, work.frozen.precision)
    _, kind = frozen.tapped()
    return clean_rows(frozen, kind, samples, rows.pictures)


@dataclass(frozen=True)
class Pair:
    """Two networks that look at the same pictures: rows `x` float32 [n, V, D] hold their last layers side by side, then
    all depths of both. `y` float64 [n, C] are the targets."""

    left: TappedRows
    right: TappedRows
    x: Table
    y: np.ndarray

    @property
    def parameters(self) -> int:
        """Weights of both networks."""
        return sum(int(rows.backbone.model.count_params()) for rows in (self.left, self.right))

    def sets(self) -> dict[str, tuple[int, int]]:
        """Sets of features to choose from, as ranges of columns."""
        middle = sum(stop - start for start, stop in self._parts("last"))
        return {"last": (0, middle), "all": (middle, self.x.shape[2])}

    def _parts(self, features: str) -> list[tuple[int, int]]:
        return [rows.taps.sets()[features] for rows in (self.left, self.right)]

    def choose(self, work: Recipe, splits: Splits) -> HeadChoice:
        """The classifier by cross-validation, as on one network."""
        work.reporter.say("choosing a classifier on the features of both networks")
        candidates = choosing.sets(self.sets(), learners(work.problem.samples.task))
        judge = judge_of(work.problem, work.settings.metric, self.left.pictures)
        rounds = rounds_of(work, splits, self.left)
        return choosing.choose(self.x, self.y, rounds, candidates, judge, work.settings.seed)

    def shipped(self, trial: CandidateScore, places: np.ndarray) -> tuple[keras.Model, np.ndarray]:
        """uint8 pictures → logits by `trial`, fitted on all rows; and the logits [k, C] it gives for those at `places`,
        int [k]."""
        projection, fitted = choosing.fit(self.x, self.y, trial)
        body = shipping.body(projection, fitted, trial.scale, trial.shift)
        expected = (fitted(projection(self.x[places][:, 0])) - trial.shift) * trial.scale
        return self._network(body, trial.candidate.features), expected

    def _network(self, body: keras.Model, features: str) -> keras.Model:
        import keras

        size = self.left.backbone.size
        inputs = keras.Input((size, size, 3), dtype="uint8", name="picture")
        vectors = []
        for number, (rows, columns) in enumerate(zip((self.left, self.right), self._parts(features), strict=True), 1):
            seen = keras.Input((size, size, 3), dtype="uint8", name="pixels")
            # Each in a model of its own: layers of two networks may have one name.
            vectors.append(keras.Model(seen, rows.vectors(seen, columns), name=f"features_{number}")(inputs))
        beside = keras.layers.Concatenate(dtype="float32", name="side_by_side")(vectors)
        return keras.Model(inputs, body(beside), name="transferkit")


def pair(left: Voice, right: Voice) -> Pair:
    """The rows of two networks side by side.

    Args:
        left, right: the networks, with their rows of the same pictures.

    Returns:
        Rows float32 [n, V, d]; of clean pictures alone (V = 1) where all views would take too much memory.
    """
    a, b = left.rows, right.rows
    parts = [narrow(rows.x, *rows.taps.sets()["last"]) for rows in (a, b)] + [a.x, b.x]
    width = sum(part.shape[2] for part in parts)
    views = learnt_views(width, len(a.x), min(a.x.shape[1], b.x.shape[1]))
    return Pair(a, b, beside(parts, views, most_held(4 * width * views)), a.y)
