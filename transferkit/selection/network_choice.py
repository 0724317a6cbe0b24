"""Which of several networks to build on: by what each answered for pictures that had no say in it, on the same folds.

The rule is that of classifiers (`choice`): of those within one paired standard error of the best, the smallest. What
is expected of the winner is not its own score, which is the best of many (BBC-CV, over all that could have won).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from transferkit.files import ARRAY_DAMAGE
from transferkit.selection import ensemble
from transferkit.selection.candidate_scores import CandidateScore, Judge, OutOfFold
from transferkit.selection.choice import HeadChoice, sets
from transferkit.selection.comparison import behind
from transferkit.selection.ensemble import Ensemble
from transferkit.selection.expectation import expected, lowered
from transferkit.selection.learner import Learner
from transferkit.selection.member import Voter


@dataclass(frozen=True)
class NetworkAnswers:
    """What the choice of a classifier came to on one network, or on another `Voter`.

    `answers` are the out-of-fold answers of whatever might have been chosen on it; `chosen` is the place of what was,
    and `setting` its own with the `scale` and `shift` that make logits of its outputs. `score` and `interval` (95 %)
    are what to expect of choosing on this network alone, `seconds` what it took, `choice` of them what the
    cross-validation took. `size` is the side of its pictures in pixels. `networks` and `mirrored`: see `Voter`;
    `flattered`: see `HeadChoice`.
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
    setting: dict[str, Any] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    mirrored: bool = False
    flattered: float = 0.0

    @classmethod
    def of(
        cls, network: str, parameters: int, size: int, found: HeadChoice, seconds: float, networks: tuple[str, ...] = ()
    ) -> NetworkAnswers:
        """Those of a choice."""
        trial = found.trial
        candidate = trial.candidate
        answers = [
            OutOfFold(logits=[t.mean_logits], scores=[t.score], by_picture=t.by_picture) for t in found.contenders
        ]
        place = next(i for i, t in enumerate(found.contenders) if t is found.trial)
        return cls(
            network, parameters, size, candidate.learner.name, candidate.features, found.score, found.interval, answers,
            place, seconds, found.seconds,
            {"learner": dict(trial.setting), "scale": trial.scale, "shift": trial.shift}, networks or (network,),
            flattered=found.flattered,
        )  # fmt: skip

    @property
    def member(self) -> Voter:
        """Who gave these answers."""
        return Voter(self.networks or (self.network,), self.mirrored)

    def trial(self, places: Mapping[str, tuple[int, int]], learners: Sequence[Learner]) -> CandidateScore:
        """What was chosen, to be fitted again on rows whose sets of features are at `places`."""
        candidate = next(
            c for c in sets(places, learners) if (c.learner.name, c.features) == (self.classifier, self.features)
        )
        own, setting = self.own, self.setting
        return CandidateScore(
            logits=own.logits, scores=own.scores, by_picture=own.by_picture, candidate=candidate,
            setting=setting["learner"], scale=setting["scale"], shift=setting["shift"],
        )  # fmt: skip

    @property
    def own(self) -> OutOfFold:
        """The answers of what was chosen."""
        return self.answers[self.chosen]


@dataclass(frozen=True)
class NetworkChoice:
    """The winner's place among the networks and what was made of them, and what to expect of choosing so: the score on
    new pictures with its 95 % interval. `plain` is the place of the best network by itself, `apparent` the winner's own
    score. `gains` are those of each network over the first, `refined` those of what was made of them over the best
    network in it, each with its standard error. `ensemble`: what several together come to, the shares by places; None
    where there are not two that look at pictures of one size."""

    winner: int
    score: float
    interval: tuple[float, float] | None
    apparent: float
    gains: list[tuple[float, float]]
    ensemble: Ensemble | None = None
    plain: int = 0
    refined: list[tuple[float, float]] = field(default_factory=list)


def choose(
    found: Sequence[NetworkAnswers], judge: Judge, seed: int = 0, refined: Sequence[NetworkAnswers] = ()
) -> NetworkChoice:
    """The network to build on.

    Args:
        found: what was cross-validated, on the same pictures and folds.
        judge: the goal on these pictures.
        seed: of the bootstrap.
        refined: what was made of some of these networks: their places follow those of `found`.
    """
    every = [*found, *refined]
    winner = _smallest(every, judge)
    over = [behind(_base(one, found, judge).own, one.own, judge) for one in refined]
    tried = [answers for one in every for answers in one.answers]
    several = _together(every, _voices(found, refined, over), judge, seed)
    if several is not None and several.taken:
        tried.append(several.answers)
    score, interval = lowered(*expected(tried, judge, seed), every[winner].flattered, judge)
    gains = [behind(found[0].own, one.own, judge) for one in found]
    apparent = every[winner].own.score
    return NetworkChoice(winner, score, interval, apparent, gains, several, _smallest(found, judge), over)


def _smallest(every: Sequence[NetworkAnswers], judge: Judge) -> int:
    """Of those within one standard error of the best the smallest, and of these one that looks once."""
    leader = _leader(every, judge)
    near = []
    for place, one in enumerate(every):
        gap, error = behind(one.own, leader.own, judge)
        if one is leader or gap <= error:
            near.append((one.parameters, one.mirrored, -judge.signed(one.own.score), place))
    return min(near)[-1]


def _leader(every: Sequence[NetworkAnswers], judge: Judge) -> NetworkAnswers:
    return max(every, key=lambda one: judge.signed(one.own.score))


def _base(one: NetworkAnswers, found: Sequence[NetworkAnswers], judge: Judge) -> NetworkAnswers:
    """The best network in a member by itself: what it has to beat."""
    return _leader([network for network in found if network.network in one.member.networks], judge)


def _voices(
    found: Sequence[NetworkAnswers], refined: Sequence[NetworkAnswers], over: Sequence[tuple[float, float]]
) -> list[int]:
    """Places of those that may answer together: the networks, each with mirror images where these gained, and features
    side by side where these did."""
    gained = [place for place, (gain, error) in enumerate(over) if gain > error]
    instead = {refined[place].network: len(found) + place for place in gained if refined[place].mirrored}
    beside = [len(found) + place for place in gained if not refined[place].mirrored]
    return [instead.get(one.network, place) for place, one in enumerate(found)] + beside


def _together(every: Sequence[NetworkAnswers], voices: Sequence[int], judge: Judge, seed: int) -> Ensemble | None:
    """Of those that look at pictures as the leader does: one decoded picture feeds them all."""
    leader = _leader([every[place] for place in voices], judge)
    places = [place for place in voices if every[place].size == leader.size]
    if len(places) < 2:
        return None
    made = ensemble.find([every[place].own.mean_logits for place in places], judge, seed)
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
    """`rest` with the answers that `content` holds; None where it is damaged.

    Args:
        content: what `to_bytes` gave.
        rest: all else of the answers.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            logits, scores = stored["logits"], stored["scores"]
            pictures = stored["by_picture"] if "by_picture" in stored else [None] * len(scores)
    except ARRAY_DAMAGE:
        return None
    if not len(logits) == len(scores) == len(pictures) > rest.chosen:
        return None
    parts = zip(logits, scores, pictures, strict=True)
    return replace(rest, answers=[OutOfFold(logits=[a], scores=[float(b)], by_picture=c) for a, b, c in parts])
