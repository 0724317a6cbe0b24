"""Scores from arrays: one function, every task, every degenerate case defined. NumPy only; never a NaN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit import plugins, tasks
from transferkit.errors import ConfigError, DataError
from transferkit.evaluation.calibration import ece
from transferkit.evaluation.counts import (
    Array,
    Floats,
    average_precision,
    confusion,
    from_confusion,
    ranks,
    ratio,
    roc_auc,
    top_k,
)
from transferkit.evaluation.intervals import FAST
from transferkit.evaluation.metric_registry import goal
from transferkit.evaluation.scores import ScoreRow, Scores
from transferkit.tasks.classify import squared_errors
from transferkit.tasks.task import TINY, Task, of_targets, parts

PLAIN = ("loss", "brier", "mae")  # of classes: scores that are the mean of what each picture adds


def score(
    task: str,
    targets: npt.ArrayLike,
    predictions: npt.ArrayLike,
    classes: Sequence[str],
    *,
    thresholds: npt.ArrayLike | None = None,
    extra: Sequence[str] = (),
) -> Scores:
    """All scores of one task, ready for JSON: plain Python numbers, `None` where a score is undefined.

    What each score means and how ties and absent classes are treated: docs/metrics.md.

    Args:
        task: a name of `tasks.NAMES`.
        targets: of one class a picture int [N] in 0…C-1; of several labels 0/1 [N, C]; of numbers [N, T] or [N], in the
            user's units.
        predictions: probabilities [N, C]; of numbers as the targets.
        classes: names of the C classes or labels, or of the T targets.
        thresholds: of labels, one number or [C]; 0.5 where not given. A label is on where its probability is at least
            its threshold.
        extra: names of plugins' metrics that are to be among them.

    Raises:
        DataError: shapes or values that do not fit.
        ConfigError: an unknown task, or thresholds for one that has none.
    """
    kind = tasks.of(task)
    if thresholds is not None and not kind.has_thresholds:
        raise ConfigError(f"thresholds apply to multilabel, not to {task}; leave them out")
    names = [str(name) for name in classes]
    true, guess = _checked(kind, np.asarray(targets), _table(kind, predictions), len(names))
    offered = {name: _offered(name, task, true, guess, names) for name in extra}
    limits = np.broadcast_to(np.asarray(0.5 if thresholds is None else thresholds, np.float64), len(names))
    found = {
        "class": lambda: _classes(kind, true, guess, names),
        "labels": lambda: _labels(true, guess, names, limits),
        "numbers": lambda: _numbers(true.astype(np.float64), guess, names),
    }[kind.form]()
    found.update(offered)
    return found


def one(
    task: str, key: str, targets: npt.ArrayLike, predictions: npt.ArrayLike, classes: Sequence[str],
    extra: Sequence[str] = (), answers: Callable[[Array], Array] | None = None,
) -> float | None:  # fmt: skip
    """The score `key` alone, as `score` has it: where it needs no areas under curves, none are computed, which take a
    sort of all pictures for each class.

    Args:
        task, targets, predictions, classes, extra: as for `score`.
        key: of the score.
        answers: makes predictions of `predictions`, row by row: logits of many pictures and classes are large, and are
            turned into probabilities some at a time where they can be.

    Raises:
        DataError: as of `score`.
    """
    kind, whole = tasks.of(task), np.asarray(predictions)
    made = answers or (lambda rows: rows)
    if kind.exclusive and (key in PLAIN or key in FAST) and whole.ndim == 2 and len(whole):
        true = np.asarray(targets)
        if true.shape != whole.shape[:1]:
            _checked(kind, true, _table(kind, made(whole)), len(classes))  # says how they do not fit
        each = [_one_of_some(kind, key, true[rows], made(whole[rows]), len(classes)) for rows in parts(whole)]
        if key in FAST:
            return _plain(from_confusion(confusion(true, np.concatenate(each), len(classes))).scalars[key])
        if not any(part is None for part in each):
            return _plain(np.concatenate(each).mean())
    return score(task, targets, made(whole), classes, extra=extra).value(key)


def _one_of_some(kind: Task, key: str, targets: Array, answers: Array, classes: int) -> Any:
    """Of some pictures the class that is answered, for a score that follows from those, or what each adds to it."""
    true, guess = _checked(kind, targets, _table(kind, answers), classes)
    return kind.decide(guess) if key in FAST else kind.per_picture(key, true, guess)


def _table(task: Task, predictions: npt.ArrayLike) -> Array:
    """Predictions as float64; those of classes may stay float32, for of many pictures and classes they are large: they
    are compared as they are, and single ones go into sums as float64."""
    found = np.asarray(predictions)
    return found if task.exclusive and found.dtype == np.float32 else np.asarray(found, np.float64)


def _offered(metric: str, task: str, true: Array, guess: Floats, names: list[str]) -> float | None:
    """The score by a plugin's metric."""
    goal(metric, task)
    found = plugins.resolve("metrics", metric)
    if found is None:
        raise ConfigError(f"metric '{metric}' is no plugin's; it is among the scores already")
    plugin, said = found
    try:
        value = said.score(true.copy(), np.array(guess, np.float64), names)
        return None if value is None else _plain(value)
    except Exception as error:  # the plugin's code
        raise plugins.broken(plugin, f"cannot score {len(true)} pictures", error) from error


def _checked(task: Task, true: Array, guess: Floats, width: int) -> tuple[Array, Floats]:
    """Both arrays in their canonical shape, or a DataError that says what is wrong."""
    if task.numbers:
        true, guess = (a[:, None] if a.ndim == 1 else a for a in (true, guess))
    expected = (guess.shape[0],) if task.exclusive else (guess.shape[0], width)
    if guess.ndim != 2 or guess.shape[1] != width or true.shape != expected:
        raise DataError(
            f"{task.name}: targets {true.shape} and predictions {guess.shape} do not fit {width} classes; "
            f"expected targets {'[N]' if task.exclusive else f'[N, {width}]'} and predictions [N, {width}]"
        )
    if not len(guess):
        raise DataError("no samples to score; the split is empty")
    finite = all(np.isfinite(guess[rows]).all() for rows in parts(guess))
    if not finite or not np.isfinite(true.astype(np.float64)).all():
        raise DataError("targets or predictions contain NaN or infinity; the model diverged, lower the learning rate")
    if not task.numbers:
        highest = width - 1 if task.exclusive else 1
        if not np.isin(true, np.arange(highest + 1)).all():
            raise DataError(f"{task.name}: targets must be whole numbers in 0…{highest}")
        if any(guess[rows].min() < -1e-6 or guess[rows].max() > 1 + 1e-6 for rows in parts(guess)):
            raise DataError("predictions must be probabilities in 0…1; apply softmax or sigmoid first")
        true = true.astype(np.int64)
    return true, guess


# ---------------------------------------------------------------------------------------------- one class each


def _classes(task: Task, true: Array, probs: Floats, names: list[str]) -> Scores:
    count = len(names)
    guess = task.decide(probs)
    matrix = confusion(true, guess, count)
    table = from_confusion(matrix)
    support = matrix.sum(axis=1)
    aucs, aps = roc_auc(true, probs), average_precision(true, probs)
    chosen = np.asarray(of_targets(probs, true), np.float64)
    result = Scores({"n": len(true), **task.scores(true, probs), **{k: _plain(v) for k, v in table.scalars.items()}})
    for k in (3, 5):
        if count > k:
            result[f"top{k}_accuracy"] = _plain(top_k(true, probs, k))
    result.update(
        {
            "roc_auc": _mean(aucs),
            "pr_auc": _mean(aps),
            "loss": _plain(-np.log(np.clip(chosen, TINY, 1.0)).mean()),
            "brier": _plain(squared_errors(true, probs).mean()),
            "ece": ece(probs, true),
            "confusion": matrix.tolist(),
        }
    )
    result["per_class"] = [
        ScoreRow(
            {
                "class": name,
                "precision": _plain(table.precision[c]) if matrix[:, c].any() else None,
                "recall": _plain(table.recall[c]) if support[c] else None,
                "f1": _plain(table.f1[c]) if support[c] else None,
                "support": int(support[c]),
                "roc_auc": aucs[c],
                "pr_auc": aps[c],
            }
        )
        for c, name in enumerate(names)
    ]
    return result


# ---------------------------------------------------------------------------------------------- several labels


def _labels(true: Array, probs: Floats, names: list[str], limits: Floats) -> Scores:
    guess = (probs >= limits).astype(np.int64)
    hits, support, called = (true & guess).sum(axis=0), true.sum(axis=0), guess.sum(axis=0)
    precision, recall, f1 = ratio(hits, called), ratio(hits, support), ratio(2 * hits, support + called)
    seen = support + called > 0  # a label that neither occurs nor is predicted says nothing
    aucs, aps = roc_auc(true, probs), average_precision(true, probs)
    clipped = np.clip(probs, TINY, 1 - TINY)
    result = Scores(
        {
            "n": len(true),
            "map": _mean(aps),
            "micro_f1": _plain(ratio(2 * hits.sum(), support.sum() + called.sum())),
            "macro_f1": _plain(ratio(f1[seen].sum(), seen.sum())),
            "micro_precision": _plain(ratio(hits.sum(), called.sum())),
            "micro_recall": _plain(ratio(hits.sum(), support.sum())),
            "macro_precision": _plain(ratio(precision[seen].sum(), seen.sum())),
            "recall": _plain(ratio(recall[seen].sum(), seen.sum())),
            "subset_accuracy": _plain((guess == true).all(axis=1).mean()),
            "hamming": _plain((guess != true).mean()),
            "roc_auc": _mean(aucs),
            "pr_auc": _mean(aps),
            "loss": _plain(-np.where(true == 1, np.log(clipped), np.log(1 - clipped)).mean()),
            "brier": _plain(((probs - true) ** 2).mean()),
        }
    )

    def row(c: int) -> ScoreRow:
        return ScoreRow({
            "class": names[c],
            "precision": _plain(precision[c]) if called[c] else None,
            "recall": _plain(recall[c]) if support[c] else None,
            "f1": _plain(f1[c]) if support[c] else None,
            "support": int(support[c]), "roc_auc": aucs[c], "pr_auc": aps[c], "threshold": float(limits[c]),
        })  # fmt: skip

    result["per_class"] = [row(c) for c in range(len(names))]
    return result


def best_thresholds(targets: npt.ArrayLike, probs: npt.ArrayLike, *, least: int = 3) -> Floats:
    """The threshold of each label with the best F1; to be chosen on validation, never on test. Lipton et al. 2014.

    Args:
        targets: 0/1 [N, C].
        probs: [N, C] in 0…1.
        least: a label with fewer positives keeps 0.5: its best F1 is decided by one or two pictures.

    Returns:
        float64 [C], midway between neighbouring scores.
    """
    true, scores = np.asarray(targets), np.asarray(probs, np.float64)
    return np.array([_best_threshold(true[:, c], scores[:, c], least) for c in range(true.shape[1])])


def _best_threshold(true: Array, scores: Floats, least: int) -> float:
    positives = int(true.sum())
    if positives < least:
        return 0.5
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(true[order])
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    f1 = 2 * hits[ends] / (positives + ends + 1)
    following = np.append(ordered, 0.0)[ends + 1]
    middles = (ordered[ends] + following) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(middles[best[np.argmin(np.abs(middles[best] - 0.5))]])


# ---------------------------------------------------------------------------------------------- numbers


def _numbers(true: Floats, guess: Floats, names: list[str]) -> Scores:
    rows = [_numbers_of(true[:, t], guess[:, t]) for t in range(len(names))]
    result = Scores({"n": len(true)})
    for key in rows[0]:
        result[key] = _mean([row[key] for row in rows])
    result["per_target"] = [ScoreRow({"target": name, **row}) for name, row in zip(names, rows, strict=True)]
    return result


def _numbers_of(true: Floats, guess: Floats) -> dict[str, float | None]:
    errors = guess - true
    spread = ((true - true.mean()) ** 2).sum()
    # A sum of squares that is only rounding noise means constant targets, for which R² says nothing.
    constant = len(true) < 2 or np.ptp(true) <= 1e-12 * max(1.0, float(np.abs(true).max()))
    return {
        "mae": _plain(np.abs(errors).mean()),
        "rmse": _plain(np.sqrt((errors**2).mean())),
        "r2": None if constant else _plain(1 - (errors**2).sum() / spread),
        "mape": None if (true == 0).any() else _plain(np.abs(errors / true).mean()),
        "spearman": None if constant else _correlation(ranks(true), ranks(guess)),
        "median_ae": _plain(np.median(np.abs(errors))),
        "bias": _plain(errors.mean()),
        "loss": _plain((errors**2).mean()),
    }


def _correlation(a: Floats, b: Floats) -> float | None:
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return _plain((a * b).sum() / scale) if scale > 0 else None


# ---------------------------------------------------------------------------------------------- values


def _plain(value: Any) -> float | None:
    """A Python float, None where it is not finite."""
    number = float(value)
    return number if np.isfinite(number) else None


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of what is defined, None where nothing is."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
