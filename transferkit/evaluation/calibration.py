"""Do probabilities mean what they say? Calibration error, temperature, abstention. NumPy and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]

BOUNDS = (0.25, 10.0)  # a temperature outside these says more about the validation set than about the model


def reliability(probs: npt.ArrayLike, targets: npt.ArrayLike, bins: int = 15) -> list[dict[str, Any]]:
    """Bins of the reliability diagram: `lower`, `upper`, `count`, `confidence`, `accuracy` (None if empty).

    Classes: `probs` [N, C], `targets` int [N]; the confidence of the predicted class against its being right.
    Labels: `probs` and 0/1 `targets` of the same shape; the probability of each label against its presence.
    """
    confidence, right = _confidence(probs, targets)
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


def ece(probs: npt.ArrayLike, targets: npt.ArrayLike, bins: int = 15) -> float:
    """Expected calibration error in 0…1: the mean gap of confidence and accuracy over equal-width bins.

    Arguments as for `reliability`. Naeini et al. 2015, Guo et al. 2017.
    """
    rows = [row for row in reliability(probs, targets, bins) if row["count"]]
    total = sum(row["count"] for row in rows)
    return float(sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / total)


def _confidence(probs: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[Floats, Floats]:
    p, t = np.asarray(probs, np.float64), np.asarray(targets)
    if not p.size:
        raise DataError("no predictions; the split is empty")
    if p.shape == t.shape:
        return p.ravel(), t.ravel().astype(np.float64)
    if p.ndim != 2 or t.shape != p.shape[:1]:
        raise DataError(f"probabilities {p.shape} and targets {t.shape} do not fit; expected [N, C] and [N]")
    return p.max(axis=1), (p.argmax(axis=1) == t).astype(np.float64)


def apply_temperature(logits: npt.ArrayLike, temperature: float, task: str) -> Floats:
    """Probabilities of logits [N, C] over `temperature`: softmax (classify) or sigmoid (multilabel)."""
    scaled = np.asarray(logits, np.float64) / temperature
    if _softmax_task(task):
        scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(scaled / scaled.sum(axis=1, keepdims=True), np.float64)
    return np.asarray(np.exp(-np.logaddexp(0.0, -scaled)), np.float64)


def nll(logits: npt.ArrayLike, targets: npt.ArrayLike, temperature: float, task: str) -> float:
    """Mean cross-entropy in nats at `temperature`, from logits (no clipping, so it never saturates)."""
    scaled, true = np.asarray(logits, np.float64) / temperature, np.asarray(targets)
    if not _softmax_task(task):
        return float((np.logaddexp(0.0, scaled) - true * scaled).mean())
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    chosen = scaled[np.arange(len(true)), true]
    return float((np.log(np.exp(scaled).sum(axis=1)) - chosen).mean())


def fit_temperature(logits: npt.ArrayLike, targets: npt.ArrayLike, task: str = "classify") -> float:
    """The temperature in 0.25…10 that makes validation logits best calibrated; 1.0 where none does better.

    `logits` [N, C] float, `targets` int [N] (classify) or 0/1 [N, C] (multilabel). Guo et al. 2017, with one
    addition: a weak prior, log T ~ Normal(0, log 2), worth about one picture. It vanishes against a few
    hundred pictures; with twenty, all of them right, it keeps the fit from sharpening without end.
    """
    from scipy.optimize import minimize_scalar

    x, true = np.asarray(logits, np.float64), np.asarray(targets)
    softmax = _softmax_task(task)
    if x.ndim != 2 or true.shape != (x.shape[:1] if softmax else x.shape):
        raise DataError(f"{task}: logits {x.shape} and targets {true.shape} do not fit each other")
    if not len(x) or not np.isfinite(x).all():
        return 1.0

    def cost(log_temperature: float) -> float:
        fit = nll(x, true, float(np.exp(log_temperature)), task)
        return fit + float(log_temperature / np.log(2.0)) ** 2 / (2 * len(x))

    found = minimize_scalar(cost, bounds=tuple(np.log(BOUNDS)), method="bounded", options={"xatol": 1e-5})
    temperature = float(np.clip(np.exp(found.x), *BOUNDS))
    plain = nll(x, true, 1.0, task)
    return temperature if nll(x, true, temperature, task) < plain - 1e-9 else 1.0


def _softmax_task(task: str) -> bool:
    if task not in ("classify", "multilabel"):
        raise ConfigError(f"temperature applies to classify and multilabel, not to '{task}'")
    return task == "classify"


def abstain_threshold(probs: npt.ArrayLike, targets: npt.ArrayLike, accuracy: float) -> tuple[float | None, float]:
    """The confidence from which answers are right with `accuracy`, and the share of pictures then answered.

    `probs` [N, C], `targets` int [N], both of validation. The lowest such confidence is taken (most answers);
    `(None, 0.0)` where no confidence reaches `accuracy`. Geifman & El-Yaniv 2017, without their safety bound.
    """
    if not 0 < accuracy <= 1:
        raise ConfigError(f"accuracy is {accuracy}; it must lie above 0 and at most at 1")
    confidence, right = _confidence(probs, targets)
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # equal confidences stay together
    reached = np.flatnonzero(np.cumsum(right[order])[ends] / (ends + 1) >= accuracy - 1e-12)
    if not len(reached):
        return None, 0.0
    last = ends[reached[-1]]
    return float(ordered[last]), float((last + 1) / len(ordered))


def uncalibrated(probs: npt.ArrayLike, temperature: float) -> Floats:
    """What softmax probabilities [N, C], made at `temperature`, would be at temperature 1."""
    p = np.asarray(probs, np.float64)
    return apply_temperature(np.log(np.maximum(p, np.finfo(np.float32).tiny)) * temperature, 1.0, "classify")


def abstention(
    probs: npt.ArrayLike, targets: npt.ArrayLike, levels: tuple[float, ...] = (0.9, 0.95, 0.99)
) -> list[dict[str, Any]]:
    """For each accuracy of `levels`: the `threshold` of `abstain_threshold` (None: out of reach) and its `coverage`.

    Arguments of validation. Levels that answering every picture reaches already are left out.
    """
    _, right = _confidence(probs, targets)
    rows = []
    for level in levels:
        if right.mean() >= level:
            continue
        threshold, coverage = abstain_threshold(probs, targets, level)
        rows.append({"accuracy": level, "threshold": threshold, "coverage": coverage})
    return rows


def selective(probs: npt.ArrayLike, targets: npt.ArrayLike, threshold: float) -> tuple[float | None, float]:
    """Accuracy on the pictures answered with at least `threshold` confidence (None: none), and their share."""
    confidence, right = _confidence(probs, targets)
    answered = confidence >= threshold
    return (float(right[answered].mean()) if answered.any() else None), float(answered.mean())
