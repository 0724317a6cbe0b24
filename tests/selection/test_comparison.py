"""Candidates compared in pairs: what is plain is preferred, but not to what is surely better."""

from __future__ import annotations

import numpy as np

from transferkit.evaluation.metric_registry import goal
from transferkit.selection.candidate_scores import Candidate, CandidateScore, Judge
from transferkit.selection.comparison import simplest
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
