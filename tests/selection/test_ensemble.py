"""Networks that answer together: taken where they err on different pictures, and not where they merely got lucky."""

import numpy as np
import pytest

from transferkit.evaluation import metric_registry
from transferkit.selection import ensemble
from transferkit.selection.candidate_scores import Judge

N = 600


def judge(task="classify"):
    rng = np.random.default_rng(1)
    if task == "classify":
        return Judge(task, rng.integers(0, 3, N), ("a", "b", "c"), metric_registry.goal("accuracy", task))
    if task == "multilabel":
        return Judge(task, rng.integers(0, 2, (N, 2)), ("a", "b"), metric_registry.goal("map", task))
    units = np.zeros(2), np.ones(2)
    return Judge(task, rng.normal(size=(N, 2)), ("a", "b"), metric_registry.goal("mae", task), units)


def noisy(goal, seed, noise):
    """Logits that know the targets, with noise of their own."""
    rng = np.random.default_rng(seed)
    if goal.task == "classify":
        known = 2.0 * np.eye(3)[goal.targets]
    else:
        known = 4.0 * goal.targets - 2 if goal.task == "multilabel" else np.asarray(goal.targets, np.float64)
    return known + rng.normal(0, noise, known.shape)


@pytest.mark.parametrize("task", ["classify", "multilabel", "regress"])
def test_networks_that_err_apart_are_better_together(task):
    goal = judge(task)
    found = ensemble.find([noisy(goal, seed, 1.5) for seed in (1, 2, 3)], goal)
    assert found.taken
    assert len(found.weights) > 1
    assert sum(found.weights.values()) == pytest.approx(1)
    assert found.gain > found.error > 0


def test_a_copy_brings_nothing_and_one_that_guesses_is_left_out():
    goal = judge()
    good = noisy(goal, 1, 1.0)
    assert not ensemble.find([good, good], goal).taken
    assert not ensemble.find([good, np.random.default_rng(5).normal(size=good.shape)], goal).taken


def test_it_is_judged_by_pictures_that_had_no_part_in_its_weights():
    """Of many that guess, weights can be found that fit the pictures; on others these guess too."""
    goal = judge()
    guesses = [np.random.default_rng(seed).normal(size=(N, 3)) for seed in range(12)]
    found = ensemble.find(guesses, goal)
    shares = [found.weights.get(i, 0.0) for i in range(12)]
    flattered = goal.score(ensemble.together(guesses, shares, "classify"))
    assert flattered > found.answers.score
    assert abs(found.answers.score - 1 / 3) < 0.05
    assert not found.taken


@pytest.mark.parametrize("task", ["classify", "multilabel"])
def test_together_is_the_mean_of_probabilities(task):
    from transferkit.evaluation import calibration

    goal = judge(task)
    one, two = noisy(goal, 1, 1.0), noisy(goal, 2, 1.0)
    p, q = (calibration.apply_temperature(x, 1.0, task) for x in (one, two))
    found = calibration.apply_temperature(ensemble.together([one, two], [0.25, 0.75], task), 1.0, task)
    assert np.allclose(found, 0.25 * p + 0.75 * q, atol=1e-5)
