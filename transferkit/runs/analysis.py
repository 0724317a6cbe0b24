"""What is said of a finished model beside its scores: baselines, learning curve, abstention, diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute, tasks
from transferkit.compute.blas import few_threads
from transferkit.data.samples import Samples
from transferkit.data.splitting.split import Splits
from transferkit.data.splitting.units import group_codes_of, units_of
from transferkit.evaluation import abstention, baselines, calibration, intervals
from transferkit.evaluation.baselines import Baseline, Probe, Split, drawn
from transferkit.evaluation.diagnosis_context import ConfidentErrors, DiagnosisContext, DoubtfulLabels, NearDuplicates
from transferkit.evaluation.drift import drift, typical
from transferkit.evaluation.label_issues import find_label_issues
from transferkit.evaluation.learning_curve import learning_curve
from transferkit.evaluation.metric_registry import GOALS
from transferkit.evaluation.metrics_record import EdgeRecord, LearningCurve, MetricsRecord
from transferkit.evaluation.near_duplicates import near_duplicates
from transferkit.evaluation.scores import MANY, BaselineScores, Scores
from transferkit.evaluation.versus import Answers, edge, interval
from transferkit.features import working_arrays
from transferkit.features.row_sources import taking_once
from transferkit.file_windows import release
from transferkit.runs.context import RunContext
from transferkit.runs.typical_features import WIDEST
from transferkit.training import recipe

if TYPE_CHECKING:
    pass

FEWEST_JUDGED = 50  # training pictures from which labels can be judged by those of others
MOST_JUDGED = 20_000  # of them that are judged: what is said is an estimate
MOST_ANSWERS = 10_000_000  # those times classes
MOST_SEARCHED = 5000  # pictures of a split that are looked for in training: how many have a copy there is a share
Pictures = np.ndarray  # row numbers of samples


def features(
    work: recipe.Recipe, trained: recipe.Trained, samples: Samples, parts: list[Pictures], place: str = "last"
) -> list[Split]:  # fmt: skip
    """Vectors of clean pictures by the network as it came, and their targets.

    Args:
        work: the recipe, whose store has the rows.
        trained: what it came to.
        samples: the pictures.
        parts: row numbers of each part, int [n].
        place: which of the rows' columns: those of the "last" layer, or those that the "head" uses; all where rows are
            of one place only.

    Returns:
        For each part features float32 [n, D] and targets.
    """
    columns = slice(*trained.places[place]) if trained.places else slice(None)
    wanted = {int(i): range(1) for part in parts for i in part}
    with as_it_came(work, trained):
        work.frozen.prepare([trained.features], samples, wanted)
        source = work.frozen.source(trained.features, samples, wanted)
        return [Split(_vectors(source, part, columns), samples.targets[part]) for part in parts]


@contextmanager
def as_it_came(work: recipe.Recipe, trained: recipe.Trained) -> Iterator[None]:
    """The network has the weights from before it was trained, inside `with`.

    Args:
        work: the recipe, whose network it is.
        trained: what it came to.
    """
    if not trained.pretrained:  # it stayed as it was
        yield
        return
    model = work.backbone.model
    tuned = compute.values(model.weights)
    compute.assign(model.weights, trained.pretrained)
    try:
        yield
    finally:
        compute.assign(model.weights, tuned)


def _vectors(source: Any, pictures: Pictures, columns: slice) -> np.ndarray:
    """Features [n, d], some columns of them; maps and tokens are averaged."""
    take = taking_once(source)

    def parts() -> Iterator[np.ndarray]:
        for places in np.array_split(np.arange(len(pictures)), max(1, -(-len(pictures) // 256))):
            part = take(pictures[places], np.zeros(len(places), np.int64))[0]
            yield (part.mean(axis=tuple(range(1, part.ndim - 1))) if part.ndim > 2 else part)[:, columns]

    return np.ascontiguousarray(working_arrays.filled(len(pictures), parts()))


def simpler(
    train: Split, val: Split, test: Split, probe: Probe, task: str, classes: list[str]
) -> Iterator[tuple[str, Baseline]]:
    """The majority answer, a linear probe and nearest neighbours, each with its answers on test: one after the other,
    since of many classes these are large.

    Args:
        train: features and targets of the training pictures.
        val: of validation.
        test: of test.
        probe: the linear probe of `train`, chosen on `val`.
        task: says what the targets mean.
        classes: their names.

    Yields:
        Each with its key in metrics.json.
    """
    yield "majority", baselines.majority(train.y, test.y, task, classes)
    yield "linear_probe", probe.scored(test, task, classes)
    yield "nearest_neighbours", baselines.nearest_neighbours(train, val, test, task, classes)


def beside(
    rivals: Iterable[tuple[str, Baseline]], outputs: np.ndarray, found: MetricsRecord, samples: Samples, seed: int
) -> dict[str, BaselineScores]:
    """The part of metrics.json about baselines.

    Args:
        rivals: as `simpler` gives them.
        outputs: the model's answers to the test pictures, [n, C].
        found: metrics.json so far.
        samples: the test pictures.
        seed: of the draws.

    Returns:
        Their scores, and `against` by score: how much better the model is on the same test pictures (see
        `versus.edge`). The scores shown first have their own 95 % intervals too.
    """
    task, classes = samples.task, list(samples.classes)
    aim = GOALS[found.goal].key if found.goal in GOALS else None
    usual = GOALS[samples.kind.default_metric].key
    keys = dict.fromkeys(key for key in (usual, samples.kind.judged_by, aim) if key is not None)
    own = Answers(outputs, None if found.thresholds is None else np.array(found.thresholds))
    groups = group_codes_of(samples)
    scored: dict[str, BaselineScores] = {}
    for name, b in rivals:
        other = Answers(b.predictions, b.thresholds)
        edges = {key: edge(task, key, samples.targets, own, other, classes, seed, groups) for key in keys}
        against = {key: e._asdict() for key, e in edges.items() if e is not None}
        # Of the accuracy it follows from the counts, unless pictures are in groups.
        first = dict.fromkeys(
            key for key in (usual, aim) if key is not None and (key != "accuracy" or groups is not None)
        )
        ranges = {f"{key}_ci95": interval(task, key, samples.targets, other, classes, seed, groups) for key in first}
        known = {key: list(limits) for key, limits in ranges.items() if limits is not None}
        if len(classes) > MANY:  # of a baseline nobody asks which of so many classes it confuses
            b = b._replace(scores=Scores({k: v for k, v in b.scores.items() if k not in ("per_class", "confusion")}))
        scored[name] = BaselineScores({**b.scores, **known, "chosen": b.chosen, "against": against})
        del b, other, edges  # before the next one's answers
    return scored


def curve(train: Split, val: Split, probe: Probe, task: str, classes: list[str], seed: int) -> LearningCurve | None:
    """The learning curve of a linear probe.

    Args:
        train: features and targets of the training pictures.
        val: of validation; the test split has no part in this.
        probe: the linear probe of `train`, chosen on `val`, for its regularisation.
        task: says what the targets mean.
        classes: their names.
        seed: of the draws.
    """
    whole = probe.of(val.x) if probe.large else None
    return learning_curve(train, val, task, classes, strength=probe.strength, whole=whole, seed=seed)


def abstain_on_test(found: MetricsRecord, test: np.ndarray, samples: Samples) -> None:
    """What the thresholds reached on test, and there without calibration the calibration error and the loss: how much
    lower calibration made it is `calibration`, tested in pairs.

    Args:
        found: metrics.json so far; the figures are added.
        test: probabilities [n, C] of the test pictures.
        samples: these.
    """
    targets, groups = samples.targets, group_codes_of(samples)
    confidence, right = calibration.confidence_of(test, targets)
    for row in found.abstention:
        if row.threshold is not None:
            row.test_accuracy, row.test_coverage = abstention.selective(test, targets, row.threshold)
            if row.test_accuracy is not None:
                sure = confidence >= row.threshold
                within = None if groups is None else groups[sure]
                row.test_accuracy_ci95 = list(intervals.share(right[sure], within))
    plain = calibration.uncalibrated(test, found.temperature)
    found.test["ece_uncalibrated"] = calibration.ece(plain, targets)
    gain = edge(found.task, "loss", targets, Answers(test), Answers(plain), found.classes, groups=groups)
    found.calibration = None if gain is None else EdgeRecord(**gain._asdict())


def diagnosis_context(
    context: RunContext, *, chosen: str, command: str, metrics: MetricsRecord, confident: ConfidentErrors | None,
    train: Pictures, features: dict[str, Split], learning_rate: float | None,
) -> DiagnosisContext:  # fmt: skip
    """What `diagnosis.diagnose` wants to know beside curves and scores.

    Args:
        context: the run.
        chosen: name of the phase whose weights were kept.
        command: what repeats the run.
        metrics: what is known of the run so far.
        confident: wrong answers among the confident ones on validation; None where answers have no class.
        train: the training pictures that `features` are of.
        features: vectors of train, val and test by the network as it came.
        learning_rate: of the head, however it was found.
    """
    samples, problem, fit = context.samples, context.problem, features["train"]
    judged = samples.kind.exclusive and len(fit.x) >= FEWEST_JUDGED
    return DiagnosisContext(
        task=samples.task,
        n_train=len(problem.train),
        n_classes=len(samples.classes),
        class_counts=samples.select(problem.train).counts(),
        settings=context.settings.model_dump(mode="json"),
        phase=chosen,
        command=command,
        duplicates_across_splits=shared(samples, context.splits),
        conflicting_labels=contradicted(samples),
        learning_curve=metrics.learning_curve.fit if metrics.learning_curve else None,
        near_duplicates={
            name: copies(fit.x, part.x, context.settings.seed) for name, part in features.items() if name != "train"
        },
        doubtful_labels=doubtful_labels(fit, samples, train, context.settings.seed) if judged else None,
        unlike=unlike(metrics, features, context.settings.seed),
        confident_errors=confident,
        data=context.origin,
        run=str(context.layout.folder),
        learning_rate=learning_rate,
    )


def unlike(metrics: MetricsRecord, features: dict[str, Split], seed: int) -> float | None:
    """The share of test pictures that look unlike those of training, where that is more than chance. Looked at only
    where they are answered worse than validation.

    Args:
        metrics: with the scores of both.
        features: vectors of train, val and test.
        seed: of what stands for the training pictures.
    """
    key = tasks.of(metrics.task).judged_by
    known, new = None if metrics.val is None else metrics.val.value(key), metrics.test.value(key)
    if "test" not in features or known is None or new is None or new >= known:
        return None
    if features["train"].x.shape[1] > WIDEST:
        return None
    reference = typical(features["train"].x, features["val"].x, seed)
    found = None if reference is None else drift(reference, features["test"].x)
    return found.share if found is not None and found.far else None


def copies(train: np.ndarray, others: np.ndarray, seed: int) -> NearDuplicates:
    """How many pictures of a split have a near-identical copy in training; of `MOST_SEARCHED` drawn ones at the most.

    Args:
        train: features [N, D] of the training pictures.
        others: features [M, D] of those of the split.
        seed: of the draw.
    """
    some = others[drawn(len(others), MOST_SEARCHED, seed)]
    found = NearDuplicates(near_duplicates(train, some), len(some))
    for vectors in (train, others):  # of many pictures they are in files
        release(vectors)
    return found


def doubtful_labels(fit: Split, samples: Samples, train: Pictures, seed: int) -> DoubtfulLabels:
    """How many labels of the training pictures are probably wrong; judged by one another are `MOST_JUDGED` at the most.

    Args:
        fit: features and targets of the training pictures.
        samples: all pictures.
        train: row numbers of the training pictures, int [n].
        seed: of the folds.
    """
    # Copies must not vouch for each other, nor pictures of one group.
    kin = {i: str(number) for number, members in enumerate(units_of(samples)) for i in members}
    classes = len(samples.classes)
    some = drawn(len(fit.x), min(MOST_JUDGED, max(FEWEST_JUDGED, MOST_ANSWERS // classes)), seed)
    x, y, groups = fit.x[some], fit.y[some], [kin[int(train[i])] for i in some]
    del kin
    release(fit.x)
    with few_threads(x.size):
        found = find_label_issues(x, y, samples.task, classes, groups, seed)
    return DoubtfulLabels(int(found.likely.sum()), len(found.likely), **found.wrong._asdict())


def shared(samples: Samples, splits: Splits) -> int:
    """Pictures whose exact copy lies in another split (only a split given by the user can have them).

    Args:
        samples: all pictures, hashed.
        splits: which part each belongs to.
    """
    parts: dict[str, set[str]] = {}
    assert samples.sha256 is not None
    for sha256, part in zip(samples.sha256, splits.assignment, strict=True):
        parts.setdefault(sha256, set()).add(part)
    return sum(len(found) > 1 for found in parts.values())


def contradicted(samples: Samples) -> int:
    """Pictures that occur under more than one label; numbers may well be measured twice.

    Args:
        samples: all pictures, hashed.
    """
    if samples.kind.numbers:
        return 0
    labels: dict[str, set[bytes]] = {}
    assert samples.sha256 is not None
    for sha256, target in zip(samples.sha256, samples.targets, strict=True):
        labels.setdefault(sha256, set()).add(target.tobytes())
    return sum(len(found) > 1 for found in labels.values())
