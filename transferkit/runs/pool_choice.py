"""Does the classifier that was chosen gain by pictures without labels? Asked by the folds that chose it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from transferkit import terms
from transferkit.data.samples import Samples
from transferkit.errors import DataError
from transferkit.evaluation.metrics_record import UnlabeledRecord
from transferkit.features.row_blocks import held
from transferkit.quantities import figure, plural
from transferkit.runs.tapped_rows import TappedRows, clean_rows, most_in_memory, size_of
from transferkit.selection.candidate_scores import CandidateScore, Judge
from transferkit.selection.choice import HeadChoice
from transferkit.selection.comparison import gain_of, row_of
from transferkit.selection.expectation import expected, lowered
from transferkit.selection.fitted import Fitted
from transferkit.selection.learner import Folds
from transferkit.selection.projection import Projection
from transferkit.selection.unlabeled import Taught, WayScore, best_way
from transferkit.training.recipe import Recipe


def require_memory(rows: TappedRows, pool: Samples) -> None:
    """Raise where features are too large to be held: labels spread along a graph of all pictures.

    Args:
        rows: of the pictures with labels.
        pool: those without.

    Raises:
        DataError: with what they take.
    """
    size, most = max(size_of(rows.kind.width, len(pool), 1), 4 * math.prod(rows.x.shape)), most_in_memory()
    if size > most:
        raise DataError(
            f"--unlabeled needs the features of all pictures in memory; those of {plural(len(rows.x), 'picture')} with "
            f"labels or of the {len(pool)} without take {size / 1e9:.1f} GB, and {most / 1e9:.1f} GB are given to "
            "them; name fewer pictures, or leave it out"
        )


@dataclass(frozen=True, kw_only=True)
class PoolChoice:
    """The classifier that was `found` without a pool, and the `best` way of learning from the pool too."""

    found: HeadChoice
    best: WayScore
    taught: Taught
    judge: Judge
    metric: str
    score: float
    interval: tuple[float, float] | None

    @classmethod
    def of(
        cls, work: Recipe, rows: TappedRows, samples: Samples, found: HeadChoice, rounds: Sequence[Folds],
        judge: Callable[[np.ndarray], Judge],
    ) -> PoolChoice:  # fmt: skip
        """Ask every way of learning from the pool `samples`."""
        of = judge(rows.pictures)
        unlabelled = clean_rows(work.frozen, replace(rows.kind), samples, np.arange(len(samples)))
        taught = Taught(held(rows.x), rows.y, held(unlabelled)[:, 0], found.trial)
        with work.reporter.step("asking whether unlabelled pictures help"):
            best, asked = best_way(taught, rounds, of)
        # Whether the pool is used is part of the choice, whatever comes of it.
        score, interval = expected([*found.contenders, *asked], of, work.settings.seed)
        score, interval = lowered(score, interval, found.flattered, of)
        name = work.problem.goal.name
        return cls(found=found, best=best, taught=taught, judge=of, metric=name, score=score, interval=interval)

    @property
    def helps(self) -> bool:
        """Whether the pool gains more than one standard error."""
        return self.best.helps

    @property
    def trial(self) -> CandidateScore:
        """The classifier as it answers where it learns from the pool too."""
        return self.best.trial

    def fit(self, learnt: np.ndarray) -> tuple[Projection, Fitted]:
        """It, learnt from the labelled pictures at `learnt` and from the pool."""
        return self.taught.projection, self.taught.fit(self.best.way, learnt)

    def outcome(self, kept: bool) -> tuple[HeadChoice, UnlabeledRecord]:
        """The choice after that, and what is to be said of it."""
        found = replace(self.found, score=self.score, interval=self.interval)
        if kept:
            row = row_of(self.trial, found.leaders[0], self.judge)
            row.name, row.chosen = f"{row.name} with unlabelled pictures", True
            others = [other.model_copy(update={"chosen": False}) for other in found.table]
            gain = gain_of(found.leaders, self.trial, self.judge)
            found = replace(found, trial=self.trial, apparent=self.trial.score, table=[row, *others], gain=gain)
        record = UnlabeledRecord(
            pictures=len(self.taught.pool), metric=self.metric, without=self.found.trial.score, score=self.trial.score,
            gain=self.best.gain, gain_se=self.best.error, way=self.best.way.words, kept=kept, words=self._words(kept),
        )  # fmt: skip
        return found, record

    def _words(self, kept: bool) -> str:
        """What learning from the pool too brought, in pairs. The scores themselves are left out: they are of what was
        chosen by them, and stand beside the score to expect, which is not."""
        low, high = (figure(self.best.gain + sign * 1.96 * self.best.error, "+") for sign in (-1, 1))
        gain = (
            f"gain in {terms.score(self.metric)} {figure(self.best.gain, '+')} ({low} to {high}), by cross-validation"
        )
        count, ways = plural(len(self.taught.pool), "unlabelled picture"), len(self.taught.ways())
        if kept:
            return f"{count} are learnt from, by {self.best.way.words}, the best of {ways} ways: {gain}"
        why = ", since the model would cost more than it may" if self.helps else ""
        return f"{count} were tried in {ways} ways and are not used{why}: best {gain}"


def beaten(record: UnlabeledRecord) -> UnlabeledRecord:
    """What is said of a pool where a neural network is shipped, which has not learnt from it."""
    words = f"{plural(record.pictures, 'unlabelled picture')} were tried and are not used: the neural network is better"
    return record.model_copy(update={"kept": False, "words": words})
