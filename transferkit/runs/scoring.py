"""Predictions by the shipped model, and their scores: the same path for a run's test split and for new data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute
from transferkit.console import Reporter
from transferkit.data.images.decode import DecodeSettings, decode_many
from transferkit.data.samples import Pixels, Samples, Source
from transferkit.data.splitting.units import group_codes_of, groups_of
from transferkit.evaluation import clusters, intervals, metrics
from transferkit.evaluation.metric_registry import AT_MOST_ONE
from transferkit.evaluation.scores import Scores
from transferkit.features import working_arrays
from transferkit.file_windows import release

if TYPE_CHECKING:
    import keras

BATCH = 32
SEEN = 1024  # answers, after which what was written of a table in a file goes back to the system
MOST_RESAMPLED = 50_000  # pictures × classes: two hundred resamples then take about three seconds
# A score of resampled pictures is biased upwards for the calibration error, and a threshold is no score.
UNRESAMPLED = ("ece", "threshold", "n", "groups", "groups_drawn")
SHARES = ("accuracy", "top3_accuracy", "top5_accuracy", "subset_accuracy")  # of pictures


def stream(
    model: keras.Model,
    sources: Iterable[Source],
    settings: DecodeSettings,
) -> Iterator[tuple[int, np.ndarray]]:
    """Outputs of pictures one after the other; memory holds a window of them only.

    Args:
        model: uint8 pictures → outputs.
        sources: of the pictures.
        settings: how they are decoded.

    Yields:
        Index and output [t] of every picture, in order.

    Raises:
        PictureError: one cannot be read.
    """
    run = compute.forward(model)
    pending: list[tuple[int, Pixels]] = []

    def flush() -> Iterator[tuple[int, np.ndarray]]:
        pixels = np.stack([p for _, p in pending])
        # One shape, one trace: the last batch is filled up.
        filled = np.concatenate([pixels, np.repeat(pixels[:1], BATCH - len(pixels), axis=0)])
        rows = run([filled])[0]
        yield from ((index, rows[i]) for i, (index, _) in enumerate(pending))

    for item in decode_many(sources, settings):
        pending.append(item)
        if len(pending) == BATCH:
            yield from flush()
            pending = []
    if pending:
        yield from flush()


def predictions(
    model: keras.Model, samples: Samples, settings: DecodeSettings, reporter: Reporter, title: str
) -> np.ndarray:
    """Model outputs of all samples.

    Args:
        model: uint8 pictures → outputs.
        samples: the pictures.
        settings: how they are decoded.
        reporter: is told of the progress.
        title: what that is called.

    Returns:
        [N, t].

    Raises:
        PictureError: a picture that cannot be read, or that has changed since it was hashed.
    """
    found: Any = None  # filled in place: all rows beside all of them would be twice as much
    with reporter.progress(title, len(samples)) as advance:
        for number, row in stream(model, map(samples.pinned, range(len(samples))), settings):
            if found is None:
                found = working_arrays.table((len(samples), *row.shape), row.dtype)
            found[number] = row
            if number % SEEN == 0:
                release(found)
            advance(1)
    return np.zeros((0, len(samples.classes)), np.float32) if found is None else found


def scores(
    samples: Samples, outputs: np.ndarray, seed: int, thresholds: np.ndarray | None = None, *, bounded: bool = True,
    extra: Sequence[str] = (),
) -> Scores:  # fmt: skip
    """All metrics of answers and each one's 95 % interval beside it (`accuracy_ci95`), per class too.

    Proportions of pictures have Wilson's, all others a bootstrap's, for classes stratified. Where pictures are in
    groups, these are drawn and counted, and `groups` says how many there are. Where pictures times classes are more
    than `MOST_RESAMPLED`, scores that need a sort of all pictures have none.

    Args:
        samples: the pictures.
        outputs: answers [n, C].
        seed: of the draws.
        thresholds: of labels [C]; None: 0.5.
        bounded: False leaves the intervals out.
        extra: metrics of plugins.
    """
    task, classes = samples.task, list(samples.classes)
    found = metrics.score(task, samples.targets, outputs, classes, thresholds=thresholds, extra=extra)
    found.bounded(classes)
    if not bounded:
        return found
    groups = group_codes_of(samples)
    if groups is not None:
        found["groups"] = found["groups_drawn"] = clusters.units(len(samples), groups)
    elif count := groups_of(samples):  # all are one, or each is
        found["groups"] = count
    if outputs.size <= MOST_RESAMPLED:

        def table(targets: Any, guesses: Any) -> dict[Any, float | None]:
            return _flat(metrics.score(task, targets, guesses, classes, thresholds=thresholds, extra=extra))

        limits = intervals.of_table(
            table, samples.targets, outputs, seed=seed, stratify=samples.kind.exclusive,
            ends_at_one=_ends_at_one(found, samples, groups), groups=groups,
        )  # fmt: skip
        _attach(found, limits)
    if samples.kind.exclusive:
        answers = samples.kind.decide(outputs)
        _attach(found, _of_counts(samples.targets, answers, len(classes), seed, groups))
    _attach(found, _proportions(found, samples, outputs, thresholds, groups))
    return found


Name = tuple[int | None, str]  # row of the table of classes, or None for the whole; name of the score
Limits = dict[Name, tuple[float, float]]


def _flat(found: Scores) -> dict[Name, float | None]:
    """Every score that is a number, of the whole and of each class."""
    tables: list[tuple[int | None, Scores]] = [(None, found), *enumerate(found.rows)]
    return {
        (number, key): value
        for number, table in tables
        for key, value in table.items()
        if (value is None or isinstance(value, float)) and key not in UNRESAMPLED
    }


def _ends_at_one(found: Scores, samples: Samples, groups: np.ndarray | None) -> Callable[[Name], int]:
    """Of how many pictures, or groups, a score is that is 1 at the most: of all, or of those of its class. 0 for any
    other."""
    rows, whole = found.rows, clusters.units(found.n, groups)
    each = [row.support for row in rows]
    if groups is not None and rows and not samples.kind.numbers:
        each = [len(np.unique(groups[_has(samples, c)])) for c in range(len(rows))]

    def count(name: Name) -> int:
        number, key = name
        if key not in AT_MOST_ONE:
            return 0
        return whole if number is None else each[number]

    return count


def _attach(found: Scores, limits: Limits) -> None:
    """Put each interval beside its score, over one that is there; scores that are undefined get none."""
    rows = found.rows
    for (number, key), (low, high) in limits.items():
        table = found if number is None else rows[number]
        if table.get(key) is not None:
            table[f"{key}_ci95"] = [float(low), float(high)]


def _of_counts(
    targets: np.ndarray, answers: np.ndarray, count: int, seed: int, groups: np.ndarray | None
) -> Limits:  # fmt: skip
    scalars, f1 = intervals.from_counts_of(targets, answers, count, seed=seed, groups=groups)
    return {(None, k): v for k, v in scalars.items()} | {(c, "f1"): v for c, v in enumerate(f1) if v is not None}


def _proportions(
    found: Scores, samples: Samples, outputs: np.ndarray, thresholds: np.ndarray | None, groups: np.ndarray | None
) -> Limits:
    """Wilson's intervals of what is a share of pictures: accuracies, and precision and recall of each class."""
    kind = samples.kind
    limits: Limits = {}
    called = None if kind.exclusive or kind.numbers else outputs >= (0.5 if thresholds is None else thresholds)
    for key in SHARES:
        if found.value(key) is not None:
            if called is None:
                hits = kind.per_picture(key, samples.targets, outputs)
                assert hits is not None
            else:
                hits = np.asarray((called == samples.targets).all(1))
            limits[None, key] = intervals.share(hits, groups)
    if "per_class" not in found:
        return limits
    answers = kind.decide(outputs) if called is None else None
    for c in range(outputs.shape[1]):
        has, said = _has(samples, c), np.asarray(answers == c) if called is None else called[:, c]
        for key, of, right in (("recall", has, said), ("precision", said, has)):
            if of.any():
                limits[c, key] = intervals.share(right[of], None if groups is None else groups[of])
    return limits


def _has(samples: Samples, c: int) -> np.ndarray:
    """Which pictures have the class or label: bool [n]."""
    targets = samples.targets
    return np.asarray(targets == c if samples.kind.exclusive else targets[:, c] > 0)
