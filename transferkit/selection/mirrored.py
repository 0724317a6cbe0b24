"""Answers to a picture and to its mirror image, averaged: judged, like all that is chosen, out of fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transferkit.evaluation.baselines import few_threads
from transferkit.selection import projection
from transferkit.selection.candidate_scores import Judge, OutOfFold
from transferkit.selection.choice import CandidateScore
from transferkit.selection.ensemble import together
from transferkit.selection.fitted import Floats, Rows
from transferkit.selection.learner import Folds

EVEN = (0.5, 0.5)


def both_ways(
    x: Rows, mirrored: Rows, y: Floats, rounds: Sequence[Folds], trial: CandidateScore, judge: Judge
) -> OutOfFold:
    """Out-of-fold answers of `trial` to pictures and their mirror images, averaged, in each round of folds.

    Args:
        x: tapped features float32 [n, V, D]; view 0 is the clean picture.
        mirrored: those of the mirrored clean pictures, float32 [n, D].
        y: targets float64 [n, C].
        rounds: of folds.
        trial: the classifier and its setting.
        judge: the goal.
    """
    candidate = trial.candidate
    found = []
    with few_threads(x.size):
        projected = projection.fit(x[:, 0], candidate.start, candidate.stop)
        z, flipped = projected(x), projected(mirrored)
        for folds in rounds:
            logits = np.empty_like(y)
            for fold in folds:
                rest = np.setdiff1d(np.arange(len(z)), fold)
                fitted = candidate.learner.fit(z[rest], y[rest], trial.setting)
                looks = [(fitted(rows) - trial.shift) * trial.scale for rows in (z[fold, 0], flipped[fold])]
                logits[fold] = together(looks, EVEN, judge.task)
            found.append(logits)
    each = [OutOfFold.of(logits, judge) for logits in found]
    gains = [one.by_picture for one in each if one.by_picture is not None]
    return OutOfFold(
        logits=found, scores=[one.score for one in each], by_picture=np.mean(gains, axis=0) if gains else None
    )
