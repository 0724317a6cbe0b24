"""metrics.json as a record: what a run scored, compared, diagnosed and chose. Declarations only, and their checks."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from transferkit import tasks
from transferkit.evaluation.metric_registry import GOALS
from transferkit.evaluation.portfolio_record import EnsembleRecord, PortfolioRecord
from transferkit.evaluation.scores import BaselineScores, CountedScores, Scores
from transferkit.record import Count, Interval, JsonObject, Names, Number, Record, SchemaVersion
from transferkit.tasks import TaskName


class FoldScores(Record):
    """Scores of the folds of cross-validation."""

    metric: str
    scores: list[Number]
    mean: Number
    std: Number


class AbstentionLevel(Record):
    """What answering only above a `threshold` of confidence reaches: chosen on validation for `accuracy`."""

    accuracy: Number
    threshold: Number | None
    coverage: Number | None = None
    needed: int | None = None  # validation pictures it would take to promise the accuracy; None: no confidence does
    test_accuracy: Number | None = None
    test_coverage: Number | None = None
    test_accuracy_ci95: Interval | None = None


class CrossValidation(Record):
    """What is to be expected of choosing the classifier by cross-validation."""

    metric: str = "score"
    score: Number | None = None
    ci95: Interval | None = None
    winner_alone: Number | None = None  # the winner's own score, which choosing it flatters
    simplest: str | None = None  # the candidate called the simplest, where another was chosen
    gain: Number | None = None  # by how much the winner is better than that on the same pictures; positive is better
    gain_se: Number | None = None
    n: Count = 0
    folds: Count = 0
    rounds: Count = 1
    networks: Count = 1  # among which was chosen too


class CostRecord(Record):
    """What one picture takes (milliseconds) and how large the file is (megabytes), where there were limits, and what
    these left out."""

    latency: Number | None = None
    size: Number | None = None
    words: str
    left_out: list[str] = []


class UnfrozenRecord(Record):
    """What training layers of the network came to, beside what was chosen with all of them frozen."""

    policy: str = ""
    metric: str = "score"
    score: Number | None = None
    frozen: Number | None = None
    gain: Number | None = None
    gain_se: Number | None = None
    shipped: bool = False
    words: str


class UnlabeledRecord(Record):
    """What pictures without labels came to: the classifier that was chosen, learnt from labelled ones alone and from
    both, by cross-validation on the labelled ones."""

    pictures: Count = 0  # that were tried
    metric: str = "score"
    without: Number | None = None
    score: Number | None = None
    gain: Number | None = None
    gain_se: Number | None = None
    way: str = ""
    kept: bool = False
    words: str


class HeadCandidate(Record):
    """One classifier that might have been chosen."""

    name: str = ""
    features: str = "?"
    classifier: str = "?"
    setting: JsonObject | None = None
    score: Number | None = None
    rounds: Count = 0
    spread: Number | None = None
    behind_best: Number | None = None
    behind_best_se: Number | None = None
    given_up: bool = False
    chosen: bool = False
    judged_on: str | None = None
    pictures: Count | None = None  # that its score is of, where these were drawn from all


class CurvePoint(Record):
    """A score at a number of training pictures, with its 90 % range."""

    n: Number
    score: Number
    low: Number
    high: Number


class CurveFit(Record):
    """`score = a - b·n^-c` through a learning curve, and the gain of twice the pictures with its 90 % range."""

    a: Number | None = None
    b: Number | None = None
    c: Number | None = None
    curve: list[CurvePoint]
    doubled: CurvePoint | None = None
    gain: Number
    gain_low: Number
    gain_high: Number


class LearningCurve(Record):
    """Validation scores of a linear probe by the number of training pictures."""

    metric: str = "score"
    sizes: Annotated[list[Annotated[Number, Field(gt=0)]], Field(min_length=1)]  # training pictures
    scores: list[Number]
    spread: list[Number] | None = None
    fit: CurveFit | None = None

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if len(self.sizes) != len(self.scores):
            raise ValueError("sizes and scores must be equally many")
        return self


class EdgeRecord(Record):
    """How much better one is than the other in pairs on the same pictures, with its 95 % interval."""

    gain: Number
    low: Number
    high: Number
    p: Number


class TestUses(Record):
    """Which run this is that was scored on these test pictures, 1 for the first; or why that is not known. `runs` is
    how many there are, where the first of several is repeated."""

    __test__ = False  # pytest: no test

    run: Count = 0
    runs: Count = 0
    note: str | None = None


class RemedyRecord(Record):
    """One thing to try."""

    why: str
    command: str


class DiagnosisRecord(Record):
    """What is wrong, if anything."""

    state: str
    evidence: list[str]
    remedies: list[RemedyRecord] = []
    also: list[str] = []


class Final(Record):
    """A candidate of a search, trained again with fresh seeds."""

    trial: str
    scores: list[Number]
    mean: Number
    own: Number | None = None
    fresh: bool = True


class ImportanceRecord(Record):
    """How much each searched setting mattered (`tuning.importance`)."""

    shares: dict[str, Number]
    spread: dict[str, Number]
    explained: Number
    trials: Count

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if self.shares.keys() != self.spread.keys():
            raise ValueError("shares and spread must be of the same settings")
        return self


class SearchRecord(Record):
    """What a search tried, what won, and whether that is more than chance."""

    algorithm: str
    metric: str
    maximise: bool
    trials: Count
    failed: Count
    budget_spent: bool
    seconds: Number
    space: list[JsonObject] | JsonObject | None = None
    winner: str | None = None
    winner_words: str = ""
    values: JsonObject = {}
    finals: list[Final] = []
    comparisons: list[JsonObject] = []
    words: list[str]
    importance: ImportanceRecord | None = None


class MetricsRecord(Record):
    """metrics.json. `test` of a run without a test split holds `n` 0 alone."""

    schema_version: SchemaVersion = 0
    task: TaskName
    classes: Names
    goal: str
    val: Scores | None = None
    temperature: Annotated[Number, Field(gt=0)] = 1.0
    thresholds: list[Number] | None = None
    train: Scores | None = None
    folds: FoldScores | None = None
    abstention: list[AbstentionLevel] = []
    cost: CostRecord | None = None
    cross_validation: CrossValidation | None = None
    candidates: list[HeadCandidate] = []
    unfrozen: UnfrozenRecord | None = None
    unlabeled: UnlabeledRecord | None = None
    learning_curve: LearningCurve | None = None
    test: CountedScores
    baselines: dict[str, BaselineScores]
    calibration: EdgeRecord | None = None
    test_uses: TestUses | None = None
    diagnosis: Annotated[DiagnosisRecord | None, BeforeValidator(lambda value: value or None)] = None
    search: SearchRecord | None = None
    ensemble: EnsembleRecord | None = None
    portfolio: PortfolioRecord | None = None

    @property
    def headline(self) -> str:
        """The key of the score that is told first for the task."""
        return GOALS[tasks.of(self.task).default_metric].key

    @property
    def goal_key(self) -> str:
        """The key of the score that was aimed at; the name of a plugin's metric is its key."""
        return GOALS[self.goal].key if self.goal in GOALS else self.goal

    @property
    def chosen_candidate(self) -> HeadCandidate | None:
        """The classifier that cross-validation chose; None where nothing was chosen so."""
        return next((row for row in self.candidates if row.chosen), None)

    @model_validator(mode="after")
    def _scored(self) -> Self:
        if self.test.n and self.headline not in self.test:
            raise ValueError(f"test has no {self.headline}")
        confusion = self.test.get("confusion")
        if confusion is not None and len(self.test.confusion) != len(self.classes):
            raise ValueError("the confusion matrix has another size than there are classes")
        return self
