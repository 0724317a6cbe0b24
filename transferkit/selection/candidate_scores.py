"""Candidates, and how they are scored: by the run's own goal, picture by picture where the goal is a mean of those."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.evaluation import calibration, clusters, metrics
from transferkit.evaluation.metric_registry import Metric
from transferkit.file_windows import release
from transferkit.selection.learner import Learner, Setting
from transferkit.tasks.task import Task

Floats = npt.NDArray[np.float64]
BASELINES = ("logistic", "ridge", "neighbours")
SCALES = np.geomspace(0.5, 200, 24)  # of outputs that are shares rather than logits
PART = 1 << 22  # answers of which something is made at once: what is made of them takes some times as much
Units = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Judge:
    """The goal on some pictures. `targets` as `metrics.score` wants them; `units` are those of regression; `groups` int
    [n] says which pictures belong together, where any do, and are therefore no independent witnesses."""

    task: str
    targets: npt.NDArray[np.generic]
    classes: tuple[str, ...]
    goal: Metric
    units: Units | None = None
    groups: npt.NDArray[np.int64] | None = None

    def of(self, rows: npt.NDArray[Any]) -> Judge:
        """The goal on those of the pictures that are at `rows`."""
        groups = None
        if self.groups is not None:
            groups = np.unique(self.groups[rows], return_inverse=True)[1]
            groups = groups if groups.max(initial=0) else None
        return replace(self, targets=self.targets[rows], groups=groups)

    def drawn(self, repeats: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
        """Rows of pictures of `repeats` draws with replacement: of pictures, or of groups."""
        n = len(self.targets)
        if self.groups is None:
            yield from (rng.integers(0, n, n) for _ in range(repeats))
        else:
            yield from clusters.drawn(self.groups, repeats, rng)

    @property
    def kind(self) -> Task:
        """The task as an object."""
        return tasks.of(self.task)

    @property
    def maximise(self) -> bool:
        """Whether more is better."""
        return self.goal.direction == "max"

    def signed(self, score: float) -> float:
        """A score, or a difference of two, such that more is better; of such a one, the score."""
        return float(score if self.maximise else -score)

    def score(self, logits: Floats, rows: npt.NDArray[np.int64] | None = None) -> float:
        """The goal of logits [n, C] (all pictures, or those at `rows`, in that order); the worst where undefined."""
        targets = self.targets if rows is None else self.targets[rows]
        if self.goal.key == "accuracy":  # asked for hundreds of times
            return float(np.concatenate([self._right(part, targets[of]) for of, part in parts(logits)]).mean())
        found = metrics.score(self.task, targets, self.answers(logits), list(self.classes), extra=self.goal.extra)
        value = found.value(self.goal.key)
        return value if value is not None else (-np.inf if self.maximise else np.inf)

    def loss(self, logits: Floats) -> float:
        """The loss of logits: cross-entropy in nats, or the mean squared error of standardised numbers."""
        return metrics.score(self.task, self.targets, self.answers(logits), list(self.classes)).value("loss") or 0.0

    def answers(self, logits: Floats) -> Floats:
        """Probabilities, or numbers in the user's units."""
        return self.kind.answers(logits, 1.0, self.units)

    def by_picture(self, logits: Floats) -> Floats | None:
        """What each picture adds to the goal [n], more is better; None where the goal is no mean over pictures."""
        found = [
            self.kind.gains(self.goal.key, self.targets[of], self.answers(part), self.units)
            for of, part in parts(logits)
        ]
        return None if found[0] is None else np.concatenate([one for one in found if one is not None])

    def _right(self, logits: Floats, targets: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
        return np.asarray(self.kind.decide_logits(logits) == targets)


@dataclass(kw_only=True)
class OutOfFold:
    """Logits [n, C], once or several times for all pictures, and what they are worth."""

    logits: list[Floats]
    scores: list[float]
    by_picture: Floats | None  # [n], mean over the times; see `Judge.by_picture`

    @classmethod
    def of(cls, logits: Floats, judge: Judge) -> OutOfFold:
        """One set of answers."""
        return OutOfFold(logits=[logits], scores=[judge.score(logits)], by_picture=judge.by_picture(logits))

    @property
    def score(self) -> float:
        """Mean over the times."""
        return float(np.mean(self.scores))

    @property
    def mean_logits(self) -> Floats:
        """[n, C], mean over the times."""
        return np.asarray(sum(self.logits[1:], start=self.logits[0]) / len(self.logits))


@dataclass(frozen=True)
class Candidate:
    """A learner on a set of features, which is a range of columns of the tapped rows."""

    features: str
    start: int
    stop: int
    learner: Learner

    @property
    def name(self) -> str:
        """`"kernel on all"`."""
        return f"{self.learner.name} on {self.features}"

    @property
    def baseline(self) -> bool:
        """Whether it is what runs are compared with afterwards (`evaluation.baselines`)."""
        return self.features == "last" and self.learner.name in BASELINES


@dataclass(kw_only=True)
class CandidateScore(OutOfFold):
    """A candidate with one setting: its out-of-fold answers in each round of folds."""

    candidate: Candidate
    setting: Setting
    scale: float = 1.0
    shift: float = 0.0


def scaled(outputs: Floats, targets: npt.NDArray[np.generic], task: str) -> tuple[float, float]:
    """`(scale, shift)` that make logits `(outputs - shift) * scale` of shares: the scale with the least log loss.

    Args:
        outputs: out-of-fold shares [n, C], about 0 to 1.
        targets: as `Samples` have them.
        task: the name of one whose answers are probabilities.
    """
    shift = tasks.of(task).share_shift
    losses, every = np.zeros(len(SCALES)), len(outputs)
    for of, part in parts(outputs):
        of_all = len(part) / every
        losses += [of_all * calibration.nll((part - shift) * scale, targets[of], 1.0, task) for scale in SCALES]
    return float(SCALES[int(np.argmin(losses))]), shift


def parts(answers: Floats) -> Iterator[tuple[slice, Floats]]:
    """Answers [n, C] in parts of `PART` numbers, with their places; of a file, one is in memory at a time."""
    step = max(1, PART // max(1, answers.shape[1]))
    for start in range(0, len(answers), step):
        yield slice(start, start + step), answers[start : start + step]
        release(answers)
