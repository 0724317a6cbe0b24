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
from transferkit.selection.candidate_scores import Judge, OutOfFold, scaled
from transferkit.selection.expectation import expected
from transferkit.selection.fitted import Fitted, Floats
from transferkit.selection.learner import Folds, Learner, Setting

HOPELESS = 3.0  # paired standard errors behind the leader after one round of folds: not tried any further
BASELINES = ("logistic", "ridge", "neighbours")
SIMPLEST = ("logistic", "ridge")  # by task, on the last layer: what is called the simplest classifier


@dataclass(frozen=True)
class Candidate:
    """A learner on a set of features, which is a range of columns of the tapped rows."""

    features: str
    start: int
    stop: int
    learner: Learner

    @property
    def name(self) -> str:
        """`"kernel on all"`."""
        return f"{self.learner.name} on {self.features}"

    @property
    def baseline(self) -> bool:
        """Whether it is what runs are compared with afterwards (`evaluation.baselines`)."""
        return self.features == "last" and self.learner.name in BASELINES


@dataclass(kw_only=True)
class CandidateScore(OutOfFold):
    """A candidate with one setting: its out-of-fold answers in each round of folds."""

    candidate: Candidate
    setting: Setting
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Gain:
    """By how much the choice is better than candidate `over`, as cross-validated on the same pictures, in the goal's
    units and positive where better, and the standard error of that."""

    over: str
    gain: float
    error: float


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
        hopeful = _hopeful(trials, judge)
        # In their order, in which one set of features follows the other.
        before, alive = len(alive), [candidate for candidate in alive if candidate in hopeful]
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


def best_of(trials: Sequence[CandidateScore], judge: Judge) -> dict[str, CandidateScore]:
    """The best setting of every candidate, by name, best candidate first.

    Args:
        trials: every setting of every candidate.
        judge: says which score is better.
    """
    found: dict[str, CandidateScore] = {}
    for trial in sorted(trials, key=lambda t: -judge.signed(t.score)):
        found.setdefault(trial.candidate.name, trial)
    return found


def behind(trial: OutOfFold, leader: OutOfFold, judge: Judge) -> tuple[float, float]:
    """By how much `trial` is behind `leader`, and the standard error of that, over the same pictures.

    Args:
        trial: one candidate's answers.
        leader: those of the best, to the same pictures in the same rounds.
        judge: the score.

    Returns:
        The gap, above 0 where the leader is better, and its standard error, both in units of the score.
    """
    if trial.by_picture is not None and leader.by_picture is not None:
        gap = leader.by_picture - trial.by_picture
        return float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(len(gap)))
    gaps = _bootstrap_gaps(trial, leader, judge)
    return judge.signed(leader.score - trial.score), float(np.std(gaps))


def _bootstrap_gaps(trial: OutOfFold, leader: OutOfFold, judge: Judge) -> list[float]:
    rng, n = np.random.default_rng(0), len(judge.targets)
    a, b = leader.mean_logits, trial.mean_logits
    gaps = []
    for _ in range(40):
        rows = rng.integers(0, n, n)
        gap = judge.score(a[rows], rows) - judge.score(b[rows], rows)
        gaps += [judge.signed(gap)] if np.isfinite(gap) else []
    return gaps or [0.0]


def _hopeful(trials: Sequence[CandidateScore], judge: Judge) -> list[Candidate]:
    leaders = best_of(trials, judge)
    most = max(len(t.scores) for t in trials)
    current = {name: t for name, t in leaders.items() if len(t.scores) == most}
    leader = next(iter(current.values()))
    found = []
    for trial in current.values():
        gap, error = behind(trial, leader, judge)
        if trial is leader or gap <= HOPELESS * error:
            found.append(trial.candidate)
    return found


def simplest(trials: Sequence[CandidateScore], judge: Judge) -> CandidateScore:
    """The one-standard-error rule (Breiman et al. 1984), with the paired error of the difference; but nothing that is
    worse than a baseline.

    Args:
        trials: every setting of every candidate.
        judge: the score.

    Returns:
        The simplest of those that are not surely worse than the best.
    """
    leaders = list(best_of(trials, judge).values())
    leader = leaders[0]
    floor = max((judge.signed(t.score) for t in leaders if t.candidate.baseline), default=-np.inf)
    near = []
    for trial in leaders:
        gap, error = behind(trial, leader, judge)
        if trial is leader or (gap <= error and judge.signed(trial.score) >= floor):
            near.append(trial)
    return min(near, key=lambda t: (t.candidate.learner.simplicity, -judge.signed(t.score)))


def gain_of(trials: Sequence[CandidateScore], chosen: CandidateScore, judge: Judge) -> Gain | None:
    """What the chosen candidate brings over the simplest.

    Args:
        trials: every candidate.
        chosen: the winner.
        judge: the score.

    Returns:
        None where it is that one.
    """
    leaders = best_of(trials, judge)
    simple = next((leaders[name] for name in (f"{kind} on last" for kind in SIMPLEST) if name in leaders), None)
    if simple is None or simple is chosen:
        return None
    gap, error = behind(simple, chosen, judge)
    return Gain(simple.candidate.name, gap, error)


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


def row_of(trial: CandidateScore, leader: CandidateScore, judge: Judge) -> HeadCandidate:
    """A candidate's row in the table, beside the best one.

    Args:
        trial: the candidate.
        leader: the best one.
        judge: the score.
    """
    gap, error = behind(trial, leader, judge)
    return HeadCandidate(
        name=trial.candidate.name, features=trial.candidate.features, classifier=trial.candidate.learner.name,
        setting=dict(trial.setting), score=trial.score, rounds=len(trial.scores),
        spread=float(np.std(trial.scores, ddof=1)) if len(trial.scores) > 1 else None, behind_best=gap,
        behind_best_se=error, given_up=False, chosen=False,
    )  # fmt: skip


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
