"""Several networks that answer together: whether, and how much each counts, by their out-of-fold answers.

Networks are added greedily, with replacement, and the best of the steps is kept (Caruana et al. 2004). What the
ensemble is judged by are answers to pictures that had no part in finding its weights; it is taken only where these are
better than the best single network's by more than one standard error, in pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transferkit import tasks
from transferkit.selection.candidate_scores import Floats, Judge, OutOfFold
from transferkit.selection.comparison import behind
from transferkit.tasks.task import TINY

STEPS = 10  # of adding a network
PARTS = 5  # pictures of each are answered with weights that the others gave


@dataclass(frozen=True)
class Ensemble:
    """Shares of the networks, by their places, which sum to 1; the answers it is judged by; and by how much these are
    better than those of the best single network, with the standard error. `taken`: beyond it."""

    weights: dict[int, float]
    answers: OutOfFold
    gain: float
    error: float

    @property
    def taken(self) -> bool:
        """Whether it is worth its cost."""
        return len(self.weights) > 1 and self.gain > self.error


def find(logits: Sequence[Floats], judge: Judge, seed: int = 0) -> Ensemble:
    """The ensemble of networks whose out-of-fold logits [n, C] these are.

    Args:
        logits: of each network, mean over the rounds of folds.
        judge: the goal on these pictures.
        seed: of the parts.
    """
    n, number = len(judge.targets), len(logits)
    parts = np.random.default_rng(seed).permutation(n) % PARTS
    answers = np.empty_like(logits[0])
    for part in range(PARTS):
        held_out, rest = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        weights = _greedy([one[rest] for one in logits], judge.of(rest))
        answers[held_out] = together([one[held_out] for one in logits], weights, judge.task)
    found, single = OutOfFold.of(answers, judge), [OutOfFold.of(one, judge) for one in logits]
    best = max(single, key=lambda one: _key(one.logits[0], judge))
    gap, error = behind(best, found, judge)
    weights = _greedy(logits, judge)
    return Ensemble({i: weights[i] for i in range(number) if weights[i]}, found, gap, error)


def _greedy(logits: Sequence[Floats], judge: Judge) -> list[float]:
    """Shares that sum to 1: the best on the way, which goes on over steps that bring nothing (a small share of another
    network may help where half of the answer does not)."""
    counts = [0] * len(logits)
    best: tuple[tuple[float, float], list[int]] | None = None
    for _ in range(STEPS):
        scored = []
        for i in range(len(logits)):
            more = [count + (place == i) for place, count in enumerate(counts)]
            scored.append((_key(together(logits, [c / sum(more) for c in more], judge.task), judge), more))
        found = max(scored, key=lambda pair: pair[0])
        counts = found[1]
        best = found if best is None or found[0] > best[0] else best
    assert best is not None
    return [count / sum(best[1]) for count in best[1]]


def _key(logits: Floats, judge: Judge) -> tuple[float, float]:
    """More is better: the goal, then the loss."""
    return judge.signed(judge.score(logits)), -judge.loss(logits)


def together(logits: Sequence[Floats], weights: Sequence[float], task: str) -> Floats:
    """Logits [n, t] of the weighted mean of the networks' probabilities; of numbers, their weighted mean.

    Args:
        logits: of each network, [n, t].
        weights: one a network; they sum to 1.
        task: says what the logits mean.
    """
    link = tasks.of(task).link
    mean = np.asarray(sum(w * shares(one, link) for w, one in zip(weights, logits, strict=True)))
    if link == "identity":
        return mean
    return np.asarray(np.log(mean + TINY) - (np.log(1 - mean + TINY) if link == "sigmoid" else 0.0))


def shares(logits: Floats, link: str) -> Floats:
    """What is averaged, of logits [n, t]: probabilities, or numbers as they are.

    Args:
        logits: of a network.
        link: the task's.
    """
    if link == "identity":
        return logits
    if link == "sigmoid":
        return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
    e = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))
