"""The choice: every candidate answers for pictures it has not seen; the best that is not needlessly large is kept.

What is said of the winner is not its own winning score, which is the best of many (see `expectation`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from transferkit.errors import TrainingError
from transferkit.evaluation.baselines import few_threads
from transferkit.evaluation.metrics_record import HeadCandidate
from transferkit.features.row_blocks import StoredRows, Table, mapped, release
from transferkit.selection import projection
from transferkit.selection.candidate_scores import Candidate, CandidateScore, Judge, scaled
from transferkit.selection.comparison import Gain, best_of, gain_of, hopeful, row_of, simplest
from transferkit.selection.expectation import expected
from transferkit.selection.fitted import Fitted, Floats
from transferkit.selection.learner import Folds, Learner, Setting


@dataclass(kw_only=True)
class HeadChoice:
    """What was chosen and why.

    `trial` is the winner; `score` and `interval` (95 %) are what is to be expected of choosing so, `apparent` the
    winner's own cross-validated score. `leaders` are all candidates with their best settings, best first, and `table`
    has a row for each; `gain` is that over the simplest classifier, None where that was chosen; `contenders` is
    whatever might have been chosen, each with each setting. `logits` [n, C] are the winner's out-of-fold answers for
    every picture, mean over the rounds.
    """

    trial: CandidateScore
    leaders: list[CandidateScore]
    score: float
    interval: tuple[float, float] | None
    apparent: float
    table: list[HeadCandidate]
    rounds: int
    folds: int
    seconds: float = 0.0
    gain: Gain | None = None
    contenders: list[CandidateScore] = field(default_factory=list)

    @property
    def logits(self) -> Floats:
        """Out-of-fold logits [n, C]."""
        return self.trial.mean_logits


def choose(
    x: Table, y: Floats, rounds: Sequence[Folds], candidates: Sequence[Candidate], judge: Judge, seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
    admitted: Callable[[CandidateScore], bool] = lambda trial: True,
) -> HeadChoice:  # fmt: skip
    """Cross-validate all candidates and choose.

    Args:
        x: tapped features float32 [n, V, D]; view 0 is the clean picture. Where they are on disk, so is what is made of
            them: one set of features at a time, and the answers.
        y: targets float64 [n, C].
        rounds: rounds of folds; each covers every picture once. Pictures that belong together are in one fold.
        candidates: what is tried.
        judge: the goal.
        seed: of the bootstrap.
        advance: told 1 for each candidate and stage (of two) that is done, and for those that are not tried further.
        admitted: whether a candidate may be shipped; asked of those only that would be chosen.

    Returns:
        The choice: of the candidates within one paired standard error of the best, one of the simplest kind.

    Raises:
        TrainingError: none of the candidates is admitted.
    """
    started = time.monotonic()
    projected: dict[tuple[int, int], Table] = {}
    alive, trials, refused = list(candidates), list[CandidateScore](), list[Candidate]()
    # One round of all, then the others of those that may still win.
    for stage, some in enumerate((rounds[:1], rounds[1:])):
        for candidate in alive if some else ():
            with few_threads(math.prod(x.shape)):
                z = _projected(x, candidate, projected)
                found = list(candidate.learner.path(z, y, some))
            for setting, outputs in found:
                for one in outputs:
                    enter(trials, candidate, setting, one, judge, first=stage == 0)
            advance(1)
        still = hopeful(trials, judge)
        # In their order, in which one set of features follows the other.
        before, alive = len(alive), [candidate for candidate in alive if candidate in still]
        advance(before - len(alive) if stage == 0 else 0)
    full = [t for t in trials if t.candidate in alive]
    best = simplest(full, judge)
    while not admitted(best):
        left = [t for t in full if t.candidate is not best.candidate]
        refused = [*refused, best.candidate]
        # Where all that are still tried cost too much, what was given up is better than nothing.
        full = left or [t for t in trials if t.candidate not in refused]
        if not full:
            raise TrainingError("no candidate may be shipped; allow more, with --max-latency or --max-size")
        best = simplest(full, judge)
    score, interval = expected(full, judge, seed)
    return HeadChoice(
        trial=best, leaders=list(best_of(trials, judge).values()), score=score, interval=interval,
        apparent=best.score, table=_table(trials, alive, best, judge), rounds=len(rounds), folds=len(rounds[0]),
        seconds=time.monotonic() - started, gain=gain_of(trials, best, judge), contenders=full,
    )  # fmt: skip


def fit(x: Table, y: Floats, trial: CandidateScore) -> tuple[projection.Projection, Fitted]:
    """The winner learnt from all pictures of `x` [n, V, D] and `y` [n, C].

    Args:
        x: features float32 [n, V, D], the clean view first.
        y: targets [n, C].
        trial: the winner, with its setting.

    Returns:
        The projection of its columns, and the classifier on what that gives.
    """
    candidate = trial.candidate
    with few_threads(math.prod(x.shape)):
        found = projection.fit(x, candidate.start, candidate.stop)
        return found, candidate.learner.fit(mapped(x, found, found.width), y, trial.setting)


def _projected(x: Table, candidate: Candidate, known: dict[tuple[int, int], Table]) -> Table:
    key = candidate.start, candidate.stop
    if key not in known:
        if isinstance(x, StoredRows):
            known.clear()  # all of them may be too much for the disk as well
        found = projection.fit(x, *key)
        known[key] = mapped(x, found, found.width)
    return known[key]


def enter(
    trials: list[CandidateScore], candidate: Candidate, setting: Setting, outputs: Floats, judge: Judge,
    first: bool,
) -> None:  # fmt: skip
    """Score a round's out-of-fold outputs, and file them under their candidate and setting.

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
    logits = (outputs - shift) * scale
    if isinstance(outputs, np.memmap):  # on disk, where they stay
        outputs[:] = logits
        logits = outputs
        release(logits)
    score, mine = judge.score(logits), judge.by_picture(logits)
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


def _table(
    trials: Sequence[CandidateScore], alive: Sequence[Candidate], chosen: CandidateScore, judge: Judge
) -> list[HeadCandidate]:
    leaders = best_of(trials, judge)
    leader = next(iter(leaders.values()))
    rows = []
    for trial in leaders.values():
        row = row_of(trial, leader, judge)
        row.given_up, row.chosen = trial.candidate not in alive, trial is chosen
        rows.append(row)
    return rows


def sets(widths: Mapping[str, tuple[int, int]], learners: Sequence[Learner]) -> list[Candidate]:
    """Every learner on every set of features; sets of the same columns once.

    Args:
        widths: a name of features → their first column and the one after their last.
        learners: what is fitted on each.
    """
    ranges: dict[tuple[int, int], str] = {}
    for name, place in widths.items():
        ranges.setdefault(place, name)
    return [Candidate(name, *place, learner) for place, name in ranges.items() for learner in learners]
