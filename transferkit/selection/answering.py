"""Every candidate answers for pictures it has not seen, and its answers are scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from transferkit.compute.blas import few_threads
from transferkit.features.row_blocks import StoredRows, Table, mapped
from transferkit.file_windows import release
from transferkit.selection import projection
from transferkit.selection.candidate_scores import Candidate, CandidateScore, Judge, parts, scaled
from transferkit.selection.fitted import Floats
from transferkit.selection.learner import Folds, Setting

HELD = 3000  # pictures up to which several sets of features are kept at once
Projected = dict[tuple[int, int], Table]


def ask(
    x: Table, y: Floats, rounds: Sequence[Folds], candidates: Sequence[Candidate], judge: Judge,
    trials: list[CandidateScore], first: bool = True, advance: Callable[[int], None] = lambda count: None,
    known: Projected | None = None,
) -> None:  # fmt: skip
    """Cross-validate candidates, each with each of its settings.

    Args:
        x: tapped features float32 [n, V, D].
        y: targets float64 [n, C].
        rounds: of folds.
        candidates: who is asked.
        judge: the goal on these pictures.
        trials: what is known so far; added to.
        first: see `enter`.
        advance: told 1 for each candidate.
        known: sets of features that are projected already; added to.
    """
    known = {} if known is None else known
    for candidate in candidates:
        with few_threads(math.prod(x.shape)):
            z = projected(x, candidate, known)
            found = list(candidate.learner.path(z, y, rounds))
        for setting, outputs in found:
            for one in outputs:
                enter(trials, candidate, setting, one, judge, first=first)
        advance(1)


def projected(x: Table, candidate: Candidate, known: Projected) -> Table:
    """What a candidate learns from.

    Args:
        x: tapped features float32 [n, V, D].
        candidate: says which of them.
        known: sets of features that are projected already; of many pictures the last one alone.

    Returns:
        float32 [n, V, d], on disk where `x` is.
    """
    key = candidate.start, candidate.stop
    if key not in known:
        if isinstance(x, StoredRows) or len(x) > HELD:
            known.clear()  # all of them may be too much for the disk as well
        found = projection.fit(x, *key)
        known[key] = mapped(x, found, found.width)
    return known[key]


def enter(
    trials: list[CandidateScore], candidate: Candidate, setting: Setting, outputs: Floats, judge: Judge,
    first: bool,
) -> None:  # fmt: skip
    """Score a round's out-of-fold outputs, and file them under their candidate and setting: they become logits.

    Args:
        trials: what is known so far; added to.
        candidate: whose outputs they are.
        setting: of it.
        outputs: [n, C].
        judge: the score.
        first: whether it is the first round, and they are a new entry; else they go with those of the rounds before.
    """
    scale, shift = 1.0, 0.0
    if judge.kind.calibrated and not candidate.learner.gives_logits:
        scale, shift = scaled(outputs, judge.targets, judge.task)
    logits = outputs
    for _, part in parts(logits):  # in place: they are large, and may lie on disk
        np.subtract(part, shift, out=part)
        np.multiply(part, scale, out=part)
    score, mine = judge.score(logits), judge.by_picture(logits)
    release(logits)
    if first:
        trials.append(
            CandidateScore(
                logits=[logits], scores=[score], by_picture=mine, candidate=candidate, setting=setting, scale=scale,
                shift=shift,
            )
        )  # fmt: skip
        return
    trial = next(t for t in trials if t.candidate is candidate and t.setting == setting)
    rounds = len(trial.scores)
    trial.logits.append(logits)
    trial.scores.append(score)
    trial.scale = (trial.scale * rounds + scale) / (rounds + 1)
    if mine is not None and trial.by_picture is not None:
        trial.by_picture = (trial.by_picture * rounds + mine) / (rounds + 1)
