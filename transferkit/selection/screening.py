"""Of many pictures: candidates are compared on some of them first, and only the better ones on all.

Successive halving (Jamieson & Talwalkar 2016): each comparison is on four times the pictures of the one before, and at
most half of those compared go on. Left behind are those three paired standard errors behind the best, then those in
the worse half; never the one that would be chosen by now, nor the simplest classifier, by which the choice is
measured.

Who goes on was lucky with the pictures it was compared on, and they count again in the end. `flattered` says by how
much at the most: what the best of a comparison is above the score to expect of it, times the share of those pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from transferkit.evaluation.metrics_record import HeadCandidate
from transferkit.features.row_blocks import Places, Table, at
from transferkit.selection.answering import HELD, ask
from transferkit.selection.candidate_scores import Candidate, CandidateScore, Judge
from transferkit.selection.comparison import best_of, hopeful, plainest, row_of, simplest
from transferkit.selection.expectation import expected
from transferkit.selection.fitted import Floats
from transferkit.selection.learner import Folds

ALL = HELD  # pictures up to which all candidates answer for all of them
FEW = 4  # candidates that are not worth a comparison before the last
FIRST = 4000  # pictures of the first comparison,
PER_OUTPUT = 20  # or so many for each class: with a handful of each, what learns slowly would look bad;
SHARE = 2  # never more than one part in so many of all
MORE = 4  # times as many in each comparison as in the one before


@dataclass(frozen=True)
class Screened:
    """Candidates that go on, in their order; those that were left behind, who came furthest first; and by how much the
    score on all pictures is `flattered` at the most, in its units, 0 or more."""

    candidates: list[Candidate]
    behind: list[LeftBehind]
    flattered: float


@dataclass(frozen=True)
class LeftBehind:
    """A candidate that was not tried on all pictures: its best setting `trial` on those it was tried on, its `row` for
    the table, and it `entire`, with all settings."""

    trial: CandidateScore
    row: HeadCandidate
    entire: Candidate


def comparisons(pictures: int, outputs: int, candidates: int) -> list[int]:
    """How many pictures there are in each comparison before the one on all; none where pictures or candidates are few.

    Args:
        pictures: how many there are.
        outputs: classes, labels or numbers.
        candidates: how many begin.
    """
    if pictures <= ALL or candidates <= FEW:
        return []
    most = pictures // SHARE
    found = [min(most, max(FIRST, PER_OUTPUT * outputs))]
    while found[-1] * MORE <= most:
        found.append(found[-1] * MORE)
    return found


def answers(pictures: int, outputs: int, candidates: int) -> int:
    """Pictures times candidates of the comparison with most of them: what has to have room at once.

    Args:
        pictures, outputs, candidates: as for `comparisons`.
    """
    most, count = 0, candidates
    for some in comparisons(pictures, outputs, candidates):
        most = max(most, some * count)
        count = count if count <= FEW else min(count, _half(count) + 2)
    return max(most, pictures * count)


def drawn(y: Floats, folds: Folds, count: int, seed: int) -> tuple[Places, list[Places]]:
    """About `count` pictures, alike in classes to all of them, and their folds.

    What is together in one fold stays so: groups and duplicates do not come apart.

    Args:
        y: targets [n, C].
        folds: of all pictures.
        count: see above.
        seed: of the draw.

    Returns:
        Places among all pictures, ascending, and for each fold the places among these.
    """
    rng, chosen = np.random.default_rng(seed), []
    # One number a class; of several labels or numbers, one that is alike where they are.
    key = y @ np.arange(1, y.shape[1] + 1)
    for fold in folds:
        mixed = rng.permutation(fold)
        mixed = mixed[np.argsort(key[mixed], kind="stable")]
        size = max(1, round(count * len(fold) / len(y)))
        chosen.append(mixed[np.floor((np.arange(size) + rng.random()) * len(fold) / size).astype(np.int64)])
    places = np.sort(np.concatenate(chosen))
    return places, [np.searchsorted(places, np.sort(some)) for some in chosen]


def screened(
    x: Table, y: Floats, folds: Folds, candidates: Sequence[Candidate], judge: Judge, seed: int,
    advance: Callable[[int], None],
) -> Screened:  # fmt: skip
    """Who is worth trying on all pictures, with the settings that are.

    Args:
        x: tapped features float32 [n, V, D].
        y: targets float64 [n, C].
        folds: of all pictures.
        candidates: who might be.
        judge: the goal on all pictures.
        seed: of the draws.
        advance: told 1 for each candidate that has been compared once, and for each that is left behind.
    """
    entire = {candidate.name: candidate for candidate in candidates}
    still, behind, flattered = list(candidates), list[LeftBehind](), 0.0
    for number, count in enumerate(comparisons(len(x), y.shape[1], len(candidates))):
        if number and len(still) <= FEW:
            break
        rows, parts = drawn(y, folds, count, seed + number)
        part, trials = judge.of(rows), list[CandidateScore]()
        quick = [replace(one, learner=one.learner.quick()) for one in still]
        ask(at(x, rows), y[rows], [parts], quick, part, trials, advance=advance if number == 0 else lambda _: None)
        leaders, going = best_of(trials, part), _going_on(trials, len(still), part)
        best, gone = next(iter(leaders.values())), [trial for name, trial in leaders.items() if name not in going]
        behind = [LeftBehind(t, _row(t, best, part), entire[t.candidate.name]) for t in gone] + behind
        still = [
            replace(one, learner=one.learner.narrowed(leaders[one.name].setting)) for one in still if one.name in going
        ]
        luck = judge.signed(best.score) - judge.signed(expected(trials, part, seed)[0])
        flattered += max(0.0, luck if np.isfinite(luck) else 0.0) * len(rows) / len(x)
        advance(len(gone))
    return Screened(still, behind, flattered)


def _going_on(trials: Sequence[CandidateScore], compared: int, judge: Judge) -> set[str]:
    """Their names."""
    found = hopeful(trials, judge)[: _half(compared)]
    plain = plainest(best_of(trials, judge))
    return {one.name for one in (*found, simplest(trials, judge).candidate, *([plain.candidate] if plain else []))}


def _half(count: int) -> int:
    return -(-count // 2)


def _row(trial: CandidateScore, best: CandidateScore, judge: Judge) -> HeadCandidate:
    row = row_of(trial, best, judge)
    row.given_up, row.pictures = True, len(judge.targets)
    return row
