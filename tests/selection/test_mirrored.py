"""Mirror images help where they show the same thing with errors of their own, and are not taken on trust."""

import numpy as np
import pytest

from transferkit.evaluation import metric_registry
from transferkit.selection.candidate_scores import Candidate, CandidateScore, Judge, OutOfFold
from transferkit.selection.comparison import behind
from transferkit.selection.linear import Ridge
from transferkit.selection.mirrored import both_ways

N, WIDTH = 300, 6


@pytest.fixture
def judge():
    return Judge("classify", np.arange(N) % 2, ("a", "b"), metric_registry.goal("accuracy", "classify"))


@pytest.fixture
def rounds():
    return [np.array_split(np.random.default_rng(r).permutation(N), 5) for r in (0, 1)]


def looks(judge, seed):
    """Features float32 [n, d] of which the first says the class, with noise that goes with the look."""
    found = np.random.default_rng(seed).normal(0, 1, (N, WIDTH))
    found[:, 0] += 1.5 * judge.targets
    return found.astype(np.float32)


def trial():
    candidate = Candidate("all", 0, WIDTH, Ridge())
    return CandidateScore(
        logits=[], scores=[], by_picture=None, candidate=candidate, setting={"penalty": 1e-3}, scale=5.0, shift=0.5
    )


def answers(judge, rounds, mirrored):
    return both_ways(looks(judge, 1)[:, None], mirrored[:, None], np.eye(2)[judge.targets], rounds, trial(), judge)


def test_a_second_look_with_errors_of_its_own_gains(judge, rounds):
    once, twice = answers(judge, rounds, looks(judge, 1)), answers(judge, rounds, looks(judge, 2))
    gain, error = behind(once, twice, judge)
    assert gain > 2 * error > 0
    assert twice.score == pytest.approx(np.mean(twice.scores))
    assert len(twice.scores) == 2


def test_one_that_shows_another_class_loses(judge, rounds):
    lying = looks(judge, 2)
    lying[:, 0] = 1.5 - lying[:, 0]
    gain, error = behind(answers(judge, rounds, looks(judge, 1)), answers(judge, rounds, lying), judge)
    assert gain < -error


def test_no_picture_has_a_say_in_its_own_answer(judge, rounds):
    before = answers(judge, rounds, looks(judge, 2)).mean_logits
    other = Judge(judge.task, judge.targets.copy(), judge.classes, judge.goal)
    other.targets[7] = 1 - other.targets[7]
    y = np.eye(2)[other.targets]
    after = both_ways(looks(judge, 1)[:, None], looks(judge, 2)[:, None], y, rounds, trial(), other).mean_logits
    assert np.array_equal(before[7], after[7])
    assert not np.array_equal(before, after)
    assert OutOfFold.of(after, other).by_picture is not None
