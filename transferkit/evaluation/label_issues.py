"""Which labels are probably wrong, from features and labels alone. Arrays in, arrays out.

Confident learning (Northcutt, Jiang & Chuang 2021, "Confident learning: estimating uncertainty in dataset labels"):
every picture is judged by models that never saw its label, and a label is doubted where another class is held more
confidently than that class usually is. The judges are the mean of kernel ridge regression and nearest neighbours:
on frozen features both need no tuning and no epochs, and they err differently, so that what both doubt is doubtful.
Pictures are ranked by confidence in their own label alone: on TrashNet that found more than any margin between
classes, and more than putting the pictures first whose label the thresholds refute.

Judges err themselves, and a label is not wrong because a weak judge doubts it. How many labels are wrong is told from
where the contradictions lie (`wrong_share`): a judge's own errors crowd where it is unsure, wrong labels lie among
sure and unsure judgements alike. Only as many labels are called `likely` wrong as that leaves unexplained: none, where
the judges' own errors explain all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.errors import DataError
from transferkit.tasks.task import Task

Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.uint8]  # 0/1 [N, C]: which labels each picture has
FOLDS = 10
LANDMARKS = 1000  # of the kernel (Nyström): cost grows with the number of pictures, not with its square
WIDTH = 0.5  # of the kernel, per standardised feature
PENALTIES = (0.1, 0.3, 1.0, 3.0)
SHARPNESS = 6.0  # from regression on 0/1 targets to probabilities: 1 is about certain, 1/2 about even
NEIGHBOURS = 10
OWN_ERROR = 1.3  # of `wrong_share`: above what clean labels gave, simulated and on TrashNet, 2 to 10 classes
WEAK = 0.5  # error over chance from which judges are too weak to tell wrong labels from errors of their own
CERTAIN = 0.99  # one-sided confidence of the lower bound
_ROWS = 512  # pictures whose similarities to all others are held at once, or fewer:
_CELLS = 1 << 22  # similarities at once
_FEW = 64  # of those, whose votes are counted at once
_HELD = 1 << 22  # pictures times classes up to which there are several tables of answers


class Wrong(NamedTuple):
    """The estimated `share` of labels that are wrong, 0…1, its lower bound `low` (99 % confident), and what it rests
    on: `contradicted` of the `sure` labels of which the judges are surest."""

    share: float
    low: float
    contradicted: int
    sure: int


@dataclass(frozen=True)
class LabelIssues:
    """Per picture: `confidence` [N] in its own label, the class `suggested` [N] instead (multi-label: the label to
    turn), and whether it is `likely` [N] wrong. `ranking` [N] has the most doubtful picture first. `wrong` says how
    many labels are wrong beyond what the judges' own errors explain."""

    confidence: Floats
    suggested: npt.NDArray[np.int64]
    likely: npt.NDArray[np.bool_]
    probabilities: Floats
    wrong: Wrong

    @property
    def ranking(self) -> npt.NDArray[np.int64]:
        """Indices of all pictures, the least confident first."""
        return np.argsort(self.confidence, kind="stable")


def find_label_issues(
    features: npt.NDArray[np.floating], targets: npt.NDArray[np.generic], task: str, classes: int,
    groups: Sequence[str] | None = None, seed: int = 0,
) -> LabelIssues:  # fmt: skip
    """Judge every label by the pictures of the other folds.

    Args:
        features: [N, D], any fixed description of the pictures.
        targets: int [N] for one class each, 0/1 [N, C] for several labels.
        task: says which.
        classes: how many.
        groups: of each picture (copies, shots of one object): those of one group are never judged by each other.
        seed: of the folds.

    Returns:
        Of every picture the chance that its label is right, and the label that fits better.

    Raises:
        DataError: regression, or fewer than 20 pictures.
    """
    kind = tasks.of(task)
    if kind.numbers:
        raise DataError("labels are ranked for classes; for numbers, look at the largest errors in predictions.csv")
    if len(features) < 2 * FOLDS:
        raise DataError(f"{len(features)} pictures are too few to judge labels by; it takes {2 * FOLDS}")
    wanted = kind.columns(targets, classes).astype(np.uint8)  # of many classes tables are large
    fold = _folds(wanted.argmax(1)[:, None] if kind.exclusive else wanted, groups, seed)
    scaled = _standardised(features)
    p = _ridge(scaled, wanted, fold, kind, seed)
    _add_neighbours(p, scaled, wanted, fold)
    p /= 2
    return _explained(_single(p, wanted) if kind.exclusive else _multiple(p, wanted))


def wrong_share(
    contradicted: npt.NDArray[np.bool_], sureness: npt.NDArray[np.floating], chance: float
) -> Wrong:  # fmt: skip
    """How many labels are wrong.

    Let u be the judges' error over chance for all labels, and t that of the surer half. Of clean labels t stays below
    1.3 u² while u is below a half (simulated: Gaussian and heavy-tailed classes, 2 to 10 of them; and TrashNet). If a
    share w of the labels is wrong at random, it adds to both alike: u = w + (1 - w) v and t = w + 1.3 (1 - w) v², which
    is solved for w. Labels that are wrong where classes are hard to tell apart look like the judges' own errors and are
    not counted, and weaker judges (u of a half) can tell nothing: the answer is rather too low.

    Shown by simulation (`tests/evaluation/test_label_issues.py`): clean labels give a lower bound above 2 % in less
    than 1 % of cases, however weak the features; 10 % flipped labels of 700 pictures with strong features in more than
    80 %, 20 % in more than 99 %.

    Args:
        contradicted: bool [N]: whether the judges' answer is another than the label.
        sureness: [N]: how sure they are of their answer.
        chance: the error of the commonest answer, 0…1.
    """
    from scipy.stats import beta

    half = len(contradicted) // 2
    surest = np.argsort(-sureness, kind="stable")[:half]
    hits = int(contradicted[surest].sum())
    if not hits or chance <= 0:
        return Wrong(0.0, 0.0, hits, half)
    u = min(1.0, float(contradicted.mean()) / chance)
    low = float(beta.ppf(1 - CERTAIN, hits, half - hits + 1))
    share, least = (chance * _unexplained(u, t / chance) for t in (hits / half, low))
    return Wrong(share if least > 0 else 0.0, least, hits, half)


def _unexplained(u: float, t: float) -> float:
    """The w of `wrong_share`: the root in 0…u of (e - 1) w² + (1 - 2 e u + t) w + e u² - t, e being `OWN_ERROR`."""
    if t <= OWN_ERROR * u**2 or u >= WEAK:
        return 0.0
    if t >= u:
        return u
    a, b, c = OWN_ERROR - 1, 1 - 2 * OWN_ERROR * u + t, OWN_ERROR * u**2 - t
    return float((np.sqrt(b * b - 4 * a * c) - b) / (2 * a))


def _explained(found: LabelIssues) -> LabelIssues:
    """`found` with as many labels likely wrong as `wrong` allows, the most doubtful first."""
    allowed = round(found.wrong.share * len(found.likely))
    flagged = found.ranking[found.likely[found.ranking]]
    likely = np.zeros_like(found.likely)
    likely[flagged[:allowed]] = True
    return replace(found, likely=likely)


def _single(p: Floats, wanted: Marks) -> LabelIssues:
    label = wanted.argmax(1)
    confidence = p[np.arange(len(p)), label]
    # The threshold of a class: the mean confidence in it of the pictures that carry it (equation 2 of the paper).
    threshold = np.bincount(label, confidence, p.shape[1]) / np.maximum(wanted.sum(0), 1)
    likely, suggested, sureness = np.empty(len(p), bool), np.empty(len(p), np.int64), np.empty(len(p))
    for start in range(0, len(p), _ROWS):  # of many classes each table of all pictures is large
        rows = slice(start, start + _ROWS)
        some, sure = p[rows], confidence[rows, None]
        others = np.where(wanted[rows] > 0, -1.0, some)
        likely[rows], suggested[rows] = ((others >= threshold) & (others > sure)).any(1), others.argmax(1)
        two = np.partition(some, (-2, -1), axis=1)[:, -2:].T[::-1] if p.shape[1] > 1 else (some[:, 0], 1 - some[:, 0])
        sureness[rows] = np.log(two[0] + 1e-9) - np.log(two[1] + 1e-9)
    wrong = wrong_share(p.argmax(1) != label, sureness, 1 - float(wanted.mean(0).max()))
    return LabelIssues(confidence, suggested, likely, p, wrong)


def _multiple(p: Floats, wanted: Marks) -> LabelIssues:
    """Each label is a question of its own; a picture is as doubtful as its most doubtful label."""
    agrees = np.where(wanted > 0, p, 1 - p)
    on = (p * wanted).sum(0) / np.maximum(wanted.sum(0), 1)
    off = ((1 - p) * (1 - wanted)).sum(0) / np.maximum((1 - wanted).sum(0), 1)
    against = np.where(wanted > 0, 1 - p >= off, p >= on)
    common = wanted.mean(0)
    chance = float(np.minimum(common, 1 - common).mean())
    wrong = wrong_share((agrees < 0.5).ravel(), np.abs(p - 0.5).ravel(), chance)
    # Wrong labels, not pictures, are what was counted; the most doubtful label of a picture stands for it.
    wrong = wrong._replace(share=min(1.0, wrong.share * p.shape[1]), low=min(1.0, wrong.low * p.shape[1]))
    return LabelIssues(agrees.min(1), agrees.argmin(1), (against & (agrees < 0.5)).any(1), p, wrong)


def _folds(wanted: npt.NDArray[Any], groups: Sequence[str] | None, seed: int) -> npt.NDArray[np.int64]:
    """Stratified folds that keep groups together: shuffled groups are dealt out class by class, or by the columns of
    `wanted` [N, K]."""
    names = np.arange(len(wanted)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    _, first = np.unique(names, return_index=True)
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(first)), *wanted[first].T))
    dealt = np.empty(len(first), np.int64)
    dealt[order] = np.arange(len(first)) % FOLDS
    found: npt.NDArray[np.int64] = dealt[names]
    return found


def _standardised(features: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    x = features.reshape(len(features), -1).astype(np.float64)
    scale = x.std(0)
    x -= x.mean(0)  # in place: of many pictures each copy is large
    x /= np.where(scale > 1e-8, scale, 1.0)
    return x.astype(np.float32)


def _ridge(x: npt.NDArray[np.float32], wanted: Marks, fold: npt.NDArray[np.int64], task: Task, seed: int) -> Floats:
    """Out-of-fold probabilities of kernel ridge regression; the penalty is that of the best likelihood."""
    mapped = _kernel_features(x, seed)
    centre = wanted.mean(0)
    gram, moment = mapped.T @ mapped, mapped.T @ (wanted - centre)

    def answered(penalty: float) -> Floats:
        answers = np.empty(wanted.shape)
        for k in range(FOLDS):
            here = fold == k
            part = mapped[here]
            # What the other folds know is all, less this fold.
            rest, goal = gram - part.T @ part, moment - part.T @ (wanted[here] - centre)
            answers[here] = part @ np.linalg.solve(rest + penalty * np.eye(len(rest)), goal) + centre
        return _probabilities(answers, task)

    several = wanted.size <= _HELD  # of many classes the answers are what takes the memory: one table at a time
    best: Floats | None = None
    chosen, least = PENALTIES[0], np.inf
    for penalty in PENALTIES:
        found = answered(penalty)
        surprise = _surprise(found, wanted, task)
        if surprise < least or penalty == PENALTIES[0]:
            chosen, least = penalty, surprise
            best = found if several or penalty == PENALTIES[-1] else None
        del found
    return answered(chosen) if best is None else best


def _kernel_features(x: npt.NDArray[np.float32], seed: int) -> Floats:
    """Features [N, m] whose inner products are the Gaussian kernel (Williams & Seeger 2001, the Nyström method)."""
    chosen = np.random.default_rng(seed).permutation(len(x))[:LANDMARKS]
    landmarks = x[chosen]
    values, vectors = np.linalg.eigh(_kernel(landmarks, landmarks))
    kept = values > 1e-6 * values[-1]
    scaled = vectors[:, kept] / np.sqrt(values[kept])
    found = np.empty((len(x), scaled.shape[1]))
    for rows in np.array_split(np.arange(len(x)), -(-len(x) * len(landmarks) // _CELLS)):
        part = slice(rows[0], rows[-1] + 1)  # the kernel of all pictures is as large as what is made of it
        found[part] = _kernel(x[part], landmarks) @ scaled
    return found


def _kernel(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> Floats:
    products = one @ other.T
    products *= 2
    squares = (one * one).sum(1)[:, None] + (other * other).sum(1)
    squares -= products
    del products
    np.maximum(squares, 0, out=squares)
    squares *= -WIDTH / one.shape[1]
    return np.asarray(np.exp(squares, out=squares), np.float64)


def _probabilities(z: Floats, task: Task) -> Floats:
    """Of classes, in place."""
    if not task.exclusive:
        return np.asarray(1 / (1 + np.exp(-2 * SHARPNESS * (z - 0.5))))
    z -= z.max(1, keepdims=True)
    z *= SHARPNESS
    np.exp(z, out=z)
    z /= z.sum(1, keepdims=True)
    return z


def _surprise(p: Floats, wanted: Marks, task: Task) -> float:
    """Negative log-likelihood; clipped, for labels that are wrong are expected here."""
    total = 0.0
    for start in range(0, len(p), _ROWS):
        some, true = p[start : start + _ROWS], wanted[start : start + _ROWS]
        loss = true * np.log(np.maximum(some, 1e-3))
        if not task.exclusive:
            loss = loss + (1 - true) * np.log(np.maximum(1 - some, 1e-3))
        total -= float(loss.sum())
    return total / p.size


def _add_neighbours(p: Floats, x: npt.NDArray[np.float32], wanted: Marks, fold: npt.NDArray[np.int64]) -> None:
    """To `p`, the share of each class among the nearest pictures (cosine) of other folds, near ones counting more."""
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    step = min(_ROWS, max(1, _CELLS // len(x)))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        similar = unit[rows] @ unit.T
        similar[fold[rows][:, None] == fold] = -2  # not of its own fold
        near = np.argpartition(-similar, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        weight = 1 / np.maximum(1 - np.take_along_axis(similar, near, axis=1), 1e-3)
        del similar
        for few in range(0, len(near), _FEW):  # of many classes what the neighbours have is large
            some = slice(few, few + _FEW)
            votes = (weight[some, :, None] * wanted[near[some]].astype(np.float64)).sum(1)
            p[start + few : start + few + len(votes)] += votes / weight[some].sum(1, keepdims=True)
