"""Do probabilities mean what they say? Calibration error and temperature. NumPy and SciPy."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.errors import ConfigError, DataError
from transferkit.features import working_arrays
from transferkit.file_windows import release
from transferkit.tasks.task import Task, parts

Floats = npt.NDArray[np.float64]

FOLDS = 5  # that decide whether a temperature is worth having
BOUNDS = (0.25, 10.0)  # a temperature outside these says more about the validation set than about the model


class ReliabilityBin(TypedDict):
    """Pictures of a confidence in `lower`…`upper`: how many, and their mean confidence and accuracy (None: none)."""

    lower: float
    upper: float
    count: int
    confidence: float | None
    accuracy: float | None


def reliability(probs: npt.ArrayLike, targets: npt.ArrayLike, bins: int = 15) -> list[ReliabilityBin]:
    """Bins of the reliability diagram.

    Args:
        probs: [N, C] in 0…1.
        targets: int [N] of classes: the confidence of the predicted class is held against its being right. Or 0/1 [N,
            C] of labels: the probability of each against its presence.
        bins: of equal width.

    Returns:
        Rows with `lower`, `upper`, `count`, `confidence`, `accuracy` (the last two None if empty).
    """
    confidence, right = confidence_of(probs, targets)
    # Bins are (lower, upper], as Guo et al. 2017 have them, and 0 belongs to the first.
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    means = np.bincount(index, confidence, bins), np.bincount(index, right, bins)
    return [
        {
            "lower": i / bins,
            "upper": (i + 1) / bins,
            "count": int(counts[i]),
            "confidence": float(means[0][i] / counts[i]) if counts[i] else None,
            "accuracy": float(means[1][i] / counts[i]) if counts[i] else None,
        }
        for i in range(bins)
    ]


def ece(probs: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Expected calibration error: the mean gap of confidence and accuracy over equal-width bins.

    Naeini et al. 2015, Guo et al. 2017.

    Args:
        probs, targets: as for `reliability`.

    Returns:
        In 0…1; 0 is best.
    """
    rows = [row for row in reliability(probs, targets) if row["count"]]
    total = sum(row["count"] for row in rows)
    gaps = (row["count"] * abs((row["confidence"] or 0.0) - (row["accuracy"] or 0.0)) for row in rows)
    return float(sum(gaps) / total)


def confidence_of(probs: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[Floats, Floats]:
    """How sure each answer is, and 1 where it is right, 0 where it is not.

    Args:
        probs, targets: as for `reliability`.

    Raises:
        DataError: there are none.
    """
    p, t = np.asarray(probs), np.asarray(targets)
    if not p.size:
        raise DataError("no predictions; the split is empty")
    if p.shape == t.shape:
        return p.ravel().astype(np.float64), t.ravel().astype(np.float64)
    if p.ndim != 2 or t.shape != p.shape[:1]:
        raise DataError(f"probabilities {p.shape} and targets {t.shape} do not fit; expected [N, C] and [N]")
    confidence, right = np.empty(len(p)), np.empty(len(p))
    for part in parts(p):
        confidence[part], right[part] = p[part].max(axis=1), p[part].argmax(axis=1) == t[part]
    return confidence, right


def apply_temperature(logits: npt.ArrayLike, temperature: float, task: str) -> Floats:
    """Probabilities [N, C] of logits [N, t] over `temperature`, as `task` makes them of logits.

    Args:
        logits: [N, t].
        temperature: above 0; above 1 it makes answers less sure.
        task: says how logits become probabilities.
    """
    return _calibrated(task).answers(np.asarray(logits), temperature, None)


def nll(logits: npt.ArrayLike, targets: npt.ArrayLike, temperature: float, task: str) -> float:
    """Mean cross-entropy in nats at `temperature`, from logits (see `tasks.task.Task.likelihood`).

    Args:
        logits: [N, t].
        targets: as for `metrics.score`.
        temperature: above 0.
        task: says how logits become probabilities.
    """
    return _calibrated(task).likelihood(np.asarray(logits), np.asarray(targets), temperature)


def fit_temperature(logits: npt.ArrayLike, targets: npt.ArrayLike, task: str = tasks.SINGLE) -> float:
    """The temperature that makes validation logits best calibrated.

    Guo et al. 2017, with one addition: a weak prior, log T ~ Normal(0, log 2), worth about one picture. It vanishes
    against a few hundred pictures; with twenty, all of them right, it keeps the fit from sharpening without end. What
    is fitted to few pictures may harm others, so it is kept only if temperatures of four fifths lower the loss of the
    other fifth.

    Args:
        logits: float [N, t].
        targets: int [N] (one class each) or 0/1 [N, t] (multilabel).
        task: says how logits become probabilities.

    Returns:
        In 0.25…10; 1.0 where none does surely better.

    Raises:
        DataError: shapes that do not fit each other.
    """
    x, true = np.asarray(logits), np.asarray(targets)  # float32 stays so: `likelihood` computes in float64
    if x.ndim != 2 or true.shape != (x.shape[:1] if _calibrated(task).exclusive else x.shape):
        raise DataError(f"{task}: logits {x.shape} and targets {true.shape} do not fit each other")
    if not len(x) or not all(np.isfinite(x[rows]).all() for rows in parts(x)):
        return 1.0

    temperature = _fitted(x, true, task)
    fold = np.random.default_rng(0).permutation(np.arange(len(x)) % FOLDS)
    gain = 0.0
    for k in np.unique(fold):
        rest, held_out = fold != k, fold == k
        other = _fitted(x[rest], true[rest], task) if rest.any() else 1.0
        part, labels = x[held_out], true[held_out]
        release(x)
        gain += len(part) * (nll(part, labels, 1.0, task) - nll(part, labels, other, task))
    plain = nll(x, true, 1.0, task)
    better = nll(x, true, temperature, task) < plain - 1e-9 and gain > 0
    return temperature if better else 1.0


def _fitted(x: Floats, true: npt.NDArray[Any], task: str) -> float:
    """The temperature of the lowest loss and prior together."""
    from scipy.optimize import minimize_scalar

    def cost(log_temperature: float) -> float:
        fit = nll(x, true, float(np.exp(log_temperature)), task)
        return fit + float(log_temperature / np.log(2.0)) ** 2 / (2 * len(x))

    found = minimize_scalar(cost, bounds=tuple(np.log(BOUNDS)), method="bounded", options={"xatol": 1e-5})
    return float(np.clip(np.exp(found.x), *BOUNDS))


def _calibrated(task: str) -> Task:
    found = tasks.of(task)
    if not found.calibrated:
        *most, last = (one.name for one in tasks.every() if one.calibrated)
        raise ConfigError(f"temperature applies to {', '.join(most)} and {last}, not to '{task}'")
    return found


def uncalibrated(probs: npt.ArrayLike, temperature: float) -> Floats:
    """What softmax probabilities [N, C], made at `temperature`, would be at temperature 1.

    Args:
        probs: [N, C].
        temperature: at which they were made.
    """
    p = np.asarray(probs)
    found: Floats = working_arrays.table(p.shape, np.float64)
    for part in parts(p):
        rows = np.maximum(np.asarray(p[part], np.float64), np.finfo(np.float32).tiny)
        found[part] = apply_temperature(np.log(rows) * temperature, 1.0, tasks.SINGLE)
        release(found)
    return found
