"""Candidates compared in pairs: what is plain is preferred, but not to what is surely better."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.evaluation.metric_registry import goal
from transferkit.selection.candidate_scores import Candidate, CandidateScore, Judge, OutOfFold
from transferkit.selection.comparison import behind, hopeful, simplest
from transferkit.selection.expectation import expected
from transferkit.selection.kernels import KernelRidge
from transferkit.selection.linear import Discriminant, Logistic


def test_what_is_worse_than_a_baseline_is_not_taken_for_being_plain() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    judge = Judge("classify", labels, tuple("0123"), goal("accuracy", "classify"))
    kinds = (("all", KernelRidge(), 0.20), ("last", Logistic(), 0.21), ("all", Discriminant("class mean", 0), 0.22))
    trials = []
    for features, learner, share in kinds:
        wrong = rng.permutation(400)[: int(400 * share)]
        answers = labels.copy()
        answers[wrong] = (answers[wrong] + 1) % 4
        logits = np.eye(4)[answers]
        trials.append(
            CandidateScore(
                candidate=Candidate(features, 0, 1, learner), setting={}, logits=[logits],
                scores=[judge.score(logits)], by_picture=judge.by_picture(logits),
            )
        )  # fmt: skip
    assert simplest(trials, judge).candidate.name == "logistic on last"
    assert simplest([trials[0], trials[2]], judge).candidate.name == "class mean on all"


def test_who_is_behind_is_the_worse_one_also_where_less_is_better_and_no_picture_has_a_part_of_the_score() -> None:
    labels = np.random.default_rng(0).integers(0, 2, (120, 3))
    judge = Judge("multilabel", labels, ("a", "b", "c"), goal("loss", "multilabel"))
    good, bad = (OutOfFold.of(strength * (2.0 * labels - 1), judge) for strength in (2.0, -0.5))
    assert good.by_picture is None
    gap, error = behind(bad, good, judge)
    assert gap == bad.score - good.score > 3 * error >= 0
    assert behind(good, bad, judge)[0] == -gap


@pytest.mark.parametrize("measure", ["accuracy", "balanced_accuracy"])
def test_ten_pictures_of_each_group_that_are_answered_alike_say_as_much_as_one(measure: str) -> None:
    rng = np.random.default_rng(0)
    labels, codes = np.arange(60) % 3, np.arange(60)
    answers = [np.where(rng.random(60) < share, (labels + 1) % 3, labels) for share in (0.2, 0.35)]

    def found(each: int, groups: np.ndarray | None) -> tuple[float, float]:
        judge = Judge("classify", np.repeat(labels, each), tuple("012"), goal(measure, "classify"), None, groups)
        trials = [OutOfFold.of(np.eye(3)[np.repeat(one, each)], judge) for one in answers]
        low, high = expected(trials, judge)[1] or (0, 0)
        return behind(trials[1], trials[0], judge)[1], high - low

    alone, pictures, groups = found(1, None), found(10, None), found(10, np.repeat(codes, 10))
    for one, many, grouped in zip(alone, pictures, groups, strict=True):
        assert many < 0.5 * one
        assert 0.75 * one < grouped < 1.35 * one


def test_who_is_not_surely_worse_may_still_win_and_who_was_given_up_may_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    judge = Judge("classify", labels, tuple("0123"), goal("accuracy", "classify"))

    def trial(name: str, share: float, rounds: int) -> CandidateScore:
        wrong = rng.permutation(400)[: int(400 * share)]
        answers = labels.copy()
        answers[wrong] = (answers[wrong] + 1) % 4
        once = OutOfFold.of(np.eye(4)[answers], judge)
        return CandidateScore(
            candidate=Candidate("all", 0, 1, Discriminant(name)), setting={}, logits=once.logits * rounds,
            scores=once.scores * rounds, by_picture=once.by_picture,
        )  # fmt: skip

    trials = [trial("best", 0.2, 2), trial("near", 0.24, 2), trial("far", 0.5, 2), trial("given up", 0.1, 1)]
    assert [candidate.learner.name for candidate in hopeful(trials, judge)] == ["best", "near"]
