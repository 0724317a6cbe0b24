"""Which of several networks to build on: by what each answered for pictures that had no say in it, on the same folds.

The rule is that of classifiers (`choice`): of those within one paired standard error of the best, the smallest. What
is expected of the winner is not its own score, which is the best of many (BBC-CV, over all that could have won).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from transferkit.selection import ensemble
from transferkit.selection.candidate_scores import Judge, OutOfFold
from transferkit.selection.choice import HeadChoice, behind
from transferkit.selection.ensemble import Ensemble
from transferkit.selection.expectation import expected


@dataclass(frozen=True)
class NetworkAnswers:
    """What the choice of a classifier came to on one network.

    `answers` are the out-of-fold answers of whatever might have been chosen on it; `chosen` is the place of what was.
    `score` and `interval` (95 %) are what to expect of choosing on this network alone, `seconds` what it took, `choice`
    of them what the cross-validation took. `size` is the side of its pictures in pixels.
    """

    network: str
    parameters: int
    size: int
    classifier: str
    features: str
    score: float
    interval: tuple[float, float] | None
    answers: list[OutOfFold]
    chosen: int
    seconds: float
    choice: float

    @classmethod
    def of(cls, network: str, parameters: int, size: int, found: HeadChoice, seconds: float) -> NetworkAnswers:
        """Those of a choice."""
        candidate = found.trial.candidate
        answers = [
            OutOfFold(logits=[t.mean_logits], scores=[t.score], by_picture=t.by_picture) for t in found.contenders
        ]
        place = next(i for i, t in enumerate(found.contenders) if t is found.trial)
        return cls(
            network, parameters, size, candidate.learner.name, candidate.features, found.score, found.interval, answers,
            place, seconds, found.seconds,
        )  # fmt: skip

    @property
    def own(self) -> OutOfFold:
        """The answers of what was chosen."""
        return self.answers[self.chosen]


@dataclass(frozen=True)
class NetworkChoice:
    """The winner's place among the networks, and what to expect of choosing so: the score on new pictures with its 95 %
    interval. `apparent` is the winner's own score, `gains` of each network over the first, with its standard error.
    `ensemble`: what several networks together come to, the shares by places among the networks; None where there are
    not two that look at pictures of one size."""

    winner: int
    score: float
    interval: tuple[float, float] | None
    apparent: float
    gains: list[tuple[float, float]]
    ensemble: Ensemble | None = None


def choose(found: Sequence[NetworkAnswers], judge: Judge, seed: int = 0) -> NetworkChoice:
    """The network to build on.

    Args:
        found: what was cross-validated, on the same pictures and folds.
        judge: the goal on these pictures.
        seed: of the bootstrap.
    """
    leader = max(found, key=lambda one: judge.signed(one.own.score))
    near = []
    for one in found:
        gap, error = behind(one.own, leader.own, judge)
        if one is leader or gap <= error:
            near.append(one)
    best = min(near, key=lambda one: (one.parameters, -judge.signed(one.own.score)))
    tried = [answers for one in found for answers in one.answers]
    several = _together(found, leader, judge, seed)
    if several is not None and several.taken:
        tried.append(several.answers)
    score, interval = expected(tried, judge, seed)
    gains = [behind(found[0].own, one.own, judge) for one in found]
    return NetworkChoice(found.index(best), score, interval, best.own.score, gains, several)


def _together(found: Sequence[NetworkAnswers], leader: NetworkAnswers, judge: Judge, seed: int) -> Ensemble | None:
    """Of the networks that look at pictures as the leader does: one decoded picture feeds them all."""
    places = [place for place, one in enumerate(found) if one.size == leader.size]
    if len(places) < 2:
        return None
    made = ensemble.find([found[place].own.mean_logits for place in places], judge, seed)
    return replace(made, weights={places[i]: share for i, share in made.weights.items()})


# ---------------------------------------------------------------------------------------------- kept between runs


def to_bytes(found: NetworkAnswers) -> bytes:
    """The answers as a .npz file; all else of `found` is plain text (see `read`)."""
    arrays = {
        "logits": np.array([one.mean_logits for one in found.answers]),
        "scores": np.array([one.score for one in found.answers]),
    }
    if all(one.by_picture is not None for one in found.answers):
        arrays["by_picture"] = np.array([one.by_picture for one in found.answers])
    with io.BytesIO() as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        return file.getvalue()


def read(content: bytes, rest: NetworkAnswers) -> NetworkAnswers | None:
    """`rest` with the answers that `content` holds; None where it is damaged."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            logits, scores = stored["logits"], stored["scores"]
            pictures = stored["by_picture"] if "by_picture" in stored else [None] * len(scores)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if not len(logits) == len(scores) == len(pictures) > rest.chosen:
        return None
    parts = zip(logits, scores, pictures, strict=True)
    return replace(rest, answers=[OutOfFold(logits=[a], scores=[float(b)], by_picture=c) for a, b, c in parts])
