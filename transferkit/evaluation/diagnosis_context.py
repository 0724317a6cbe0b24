"""What a diagnosis is told of a run: its scores, and what else is known of its data and settings. Declarations only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from transferkit.evaluation.metrics_record import CurveFit
from transferkit.evaluation.scores import BaselineScores, Scores
from transferkit.record import JsonObject


class Judged(Protocol):
    """What of metrics.json is looked at: scores of each split, None or empty where unknown."""

    @property
    def train(self) -> Scores | None:
        """Of training pictures, without augmentation and dropout."""

    @property
    def val(self) -> Scores | None:
        """Of validation pictures."""

    @property
    def test(self) -> Scores:
        """Of test pictures."""

    @property
    def baselines(self) -> Mapping[str, BaselineScores]:
        """Of simpler classifiers on the test pictures."""


class NearDuplicates(NamedTuple):
    """`n` of `of` pictures of a split have a near-identical copy in training."""

    n: int
    of: int


class DoubtfulLabels(NamedTuple):
    """`n` of `of` training labels are doubtful; the rest as in `label_issues.Wrong`."""

    n: int
    of: int
    share: float
    low: float
    contradicted: int
    sure: int


class ConfidentErrors(NamedTuple):
    """Wrong answers among the confident `answers`: how many there are, and how many calibration allows."""

    observed: int
    expected: float
    answers: int


@dataclass(frozen=True, kw_only=True)
class DiagnosisContext:
    """What a diagnosis looks at beside curves and scores; what is not known keeps its default.

    `phase` is the one whose weights were kept, `command` repeats the run, `conflicting_labels` counts pictures under
    several labels, `unlike` is the share of test pictures further from training than validation ever is, where that is
    no chance; `learning_rate` is the head's, however it was found; `data` and `run` are what commands in
    remedies are given (DATA and RUN stand there where they are None).
    """

    task: str = "classify"
    n_train: int | None = None
    n_classes: int | None = None
    class_counts: Mapping[str, int] = field(default_factory=dict)
    settings: JsonObject = field(default_factory=dict)
    phase: str | None = None
    command: str = "transferkit finetune DATA"
    duplicates_across_splits: int = 0
    conflicting_labels: int = 0
    confident_errors: ConfidentErrors | None = None
    learning_curve: CurveFit | None = None
    near_duplicates: Mapping[str, NearDuplicates] = field(default_factory=dict)
    doubtful_labels: DoubtfulLabels | None = None
    unlike: float | None = None
    learning_rate: float | None = None
    data: str | None = None
    run: str | None = None
