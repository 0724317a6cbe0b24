"""Answers to a picture and to its mirror image, averaged: judged, like all that is chosen, out of fold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transferkit.compute.blas import few_threads
from transferkit.features.row_blocks import Table, at, blocks, mapped
from transferkit.selection import projection
from transferkit.selection.candidate_scores import CandidateScore, Judge, OutOfFold
from transferkit.selection.ensemble import together
from transferkit.selection.learner import Folds

EVEN = (0.5, 0.5)


def both_ways(
    x: Table, mirrored: Table, y: npt.NDArray[np.float64], rounds: Sequence[Folds], trial: CandidateScore, judge: Judge
) -> OutOfFold:
    """Out-of-fold answers of `trial` to pictures and their mirror images, averaged, in each round of folds.

    Args:
        x: tapped features float32 [n, V, D]; view 0 is the clean picture.
        mirrored: those of the mirrored clean pictures, float32 [n, 1, D].
        y: targets float64 [n, C].
        rounds: of folds.
        trial: the classifier and its setting.
        judge: the goal.
    """
    candidate = trial.candidate
    found = []
    with few_threads(math.prod(x.shape)):
        projected = projection.fit(x, candidate.start, candidate.stop)
        z, flipped = (mapped(each, projected, projected.width) for each in (x, mirrored))
        for folds in rounds:
            logits = np.empty_like(y)
            for fold in folds:
                rest = np.setdiff1d(np.arange(len(z)), fold)
                fitted = candidate.learner.fit(at(z, rest), y[rest], trial.setting)
                for places, rows in blocks(z, fold):
                    seen = (rows[:, 0], flipped[places][:, 0])
                    looks = [(fitted(each) - trial.shift) * trial.scale for each in seen]
                    logits[places] = together(looks, EVEN, judge.task)
            found.append(logits)
    each = [OutOfFold.of(logits, judge) for logits in found]
    gains = [one.by_picture for one in each if one.by_picture is not None]
    return OutOfFold(
        logits=found, scores=[one.score for one in each], by_picture=np.mean(gains, axis=0) if gains else None
    )
