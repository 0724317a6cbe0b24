"""The choice: every candidate answers for pictures it has not seen; the best that is not needlessly large is kept.

What is said of the winner is not its own winning score, which is the best of many (see `expectation`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from transferkit.compute.blas import few_threads
from transferkit.errors import TrainingError
from transferkit.evaluation.metrics_record import HeadCandidate
from transferkit.features.row_blocks import Table, mapped
from transferkit.selection import projection
from transferkit.selection.answering import Projected, ask
from transferkit.selection.candidate_scores import Candidate, CandidateScore, Judge
from transferkit.selection.comparison import Gain, best_of, gain_of, hopeful, row_of, simplest
from transferkit.selection.expectation import expected, lowered
from transferkit.selection.fitted import Fitted, Floats
from transferkit.selection.learner import Folds, Learner
from transferkit.selection.screening import LeftBehind, comparisons, screened


@dataclass(kw_only=True)
class HeadChoice:
    """What was chosen and why.

    `trial` is the winner; `score` and `interval` (95 %) are what is to be expected of choosing so, `apparent` the
    winner's own cross-validated score. `leaders` are all candidates with their best settings, best first, and `table`
    has a row for each; `gain` is that over the simplest classifier, None where that was chosen; `contenders` is
    whatever might have been chosen, each with each setting. `logits` [n, C] are the winner's out-of-fold answers for
    every picture, mean over the rounds. `flattered`: see `screening`; `score` and `interval` are without it.
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
    flattered: float = 0.0

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
        candidates: what is tried; of many pictures on some of them first (`screening`), and on all in one round.
        judge: the goal.
        seed: of the bootstrap, and of what is drawn.
        advance: told 1 for each candidate and stage (of two) that is done, and for those that are not tried further.
        admitted: whether a candidate may be shipped; asked of those only that would be chosen.

    Returns:
        The choice: of the candidates within one paired standard error of the best, one of the simplest kind.

    Raises:
        TrainingError: none of the candidates is admitted.
    """
    started = time.monotonic()
    behind, flattered = list[LeftBehind](), 0.0
    if comparisons(len(x), y.shape[1], len(candidates)):
        # So many pictures make the error of one round small, beside that of which pictures there are.
        first = screened(x, y, rounds[0], candidates, judge, seed, advance)
        candidates, behind, flattered = first.candidates, first.behind, first.flattered
        rounds = rounds[:1]
    trials, alive = _cross_validated(x, y, rounds, candidates, judge, advance)
    full, refused = [t for t in trials if t.candidate in alive], list[Candidate]()
    best = simplest(full, judge)
    while not admitted(best):
        refused.append(best.candidate)
        full = [t for t in full if t.candidate not in refused]
        # Where all that are still tried cost too much, what was given up is better than nothing.
        full = full or [t for t in trials if t.candidate not in refused]
        if not full and behind:
            ask(x, y, rounds, [one.entire for one in behind], judge, trials)
            alive, behind = [*alive, *(one.entire for one in behind)], []
            full = [t for t in trials if t.candidate not in refused]
        if not full:
            raise TrainingError("no candidate may be shipped; allow more, with --max-latency or --max-size")
        best = simplest(full, judge)
    score, interval = lowered(*expected(full, judge, seed), flattered, judge)
    return HeadChoice(
        trial=best, leaders=[*best_of(trials, judge).values(), *(one.trial for one in behind)], score=score,
        interval=interval, apparent=best.score,
        table=[*_table(trials, alive, best, judge), *(one.row for one in behind)], rounds=len(rounds),
        folds=len(rounds[0]), seconds=time.monotonic() - started, gain=gain_of(trials, best, judge), contenders=full,
        flattered=flattered,
    )  # fmt: skip


def _cross_validated(
    x: Table, y: Floats, rounds: Sequence[Folds], candidates: Sequence[Candidate], judge: Judge,
    advance: Callable[[int], None],
) -> tuple[list[CandidateScore], list[Candidate]]:  # fmt: skip
    """One round of all, then the others of those that may still win: what they scored, and who these are."""
    known: Projected = {}
    alive, trials = list(candidates), list[CandidateScore]()
    for stage, some in enumerate((rounds[:1], rounds[1:])):
        if not some:
            break
        ask(x, y, some, alive, judge, trials, stage == 0, advance, known)
        still = hopeful(trials, judge)
        # In their order, in which one set of features follows the other.
        before, alive = len(alive), [candidate for candidate in alive if candidate in still]
        advance(before - len(alive) if stage == 0 and len(rounds) > 1 else 0)
    return trials, alive


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
