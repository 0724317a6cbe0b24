"""Candidates compared in pairs, over the same pictures: how far behind one is, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transferkit.evaluation import clusters
from transferkit.evaluation.metrics_record import HeadCandidate
from transferkit.selection.candidate_scores import Candidate, CandidateScore, Judge, OutOfFold

HOPELESS = 3.0  # paired standard errors behind the leader after one round of folds: not tried any further
SIMPLEST = ("logistic", "ridge")  # by task, on the last layer: what is called the simplest classifier


@dataclass(frozen=True)
class Gain:
    """By how much the choice is better than candidate `over`, as cross-validated on the same pictures, in the goal's
    units and positive where better, and the standard error of that."""

    over: str
    gain: float
    error: float


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
        return float(gap.mean()), clusters.standard_error(gap, judge.groups)
    gaps = _bootstrap_gaps(trial, leader, judge)
    return judge.signed(leader.score - trial.score), float(np.std(gaps))


def _bootstrap_gaps(trial: OutOfFold, leader: OutOfFold, judge: Judge) -> list[float]:
    a, b = leader.mean_logits, trial.mean_logits
    gaps = []
    for rows in judge.drawn(40, np.random.default_rng(0)):
        gap = judge.score(a[rows], rows) - judge.score(b[rows], rows)
        gaps += [judge.signed(gap)] if np.isfinite(gap) else []
    return gaps or [0.0]


def hopeful(trials: Sequence[CandidateScore], judge: Judge) -> list[Candidate]:
    """Those that may still win: of the candidates that have answered most often, all that are near the best.

    Args:
        trials: every setting of every candidate.
        judge: the score.
    """
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


def plainest(leaders: Mapping[str, CandidateScore]) -> CandidateScore | None:
    """What is called the simplest classifier, by which the choice is measured; None where it was not tried.

    Args:
        leaders: the best setting of every candidate, by name.
    """
    return next((leaders[name] for name in (f"{kind} on last" for kind in SIMPLEST) if name in leaders), None)


def gain_of(trials: Sequence[CandidateScore], chosen: CandidateScore, judge: Judge) -> Gain | None:
    """What the chosen candidate brings over the simplest.

    Args:
        trials: every candidate.
        chosen: the winner.
        judge: the score.

    Returns:
        None where it is that one.
    """
    simple = plainest(best_of(trials, judge))
    if simple is None or simple is chosen:
        return None
    gap, error = behind(simple, chosen, judge)
    return Gain(simple.candidate.name, gap, error)


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
