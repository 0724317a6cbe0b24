"""The choice of a network: paired, towards the small one, and not flattered by its own luck."""

import numpy as np
import pytest

from transferkit.evaluation import metric_registry
from transferkit.selection import portfolio
from transferkit.selection.candidate_scores import Judge, OutOfFold
from transferkit.selection.portfolio import NetworkAnswers

N = 400


@pytest.fixture
def judge():
    return Judge("classify", np.arange(N) % 2, ("a", "b"), metric_registry.goal("accuracy", "classify"))


def answers(judge, right):
    """Out-of-fold answers that are right for the pictures where `right` is."""
    guess = np.where(right, judge.targets, 1 - judge.targets)
    return OutOfFold.of(np.eye(2)[guess] * 4.0, judge)


def network(name, parameters, *some, chosen=0, size=32):
    return NetworkAnswers(
        name, parameters, size, "ridge", "last", some[chosen].score, (0.1, 0.9), list(some), chosen, 1.0, 0.5
    )


def wrong(*places):
    found = np.ones(N, bool)
    found[list(places)] = False
    return found


def test_the_better_network_wins_though_it_is_larger(judge):
    small = network("small", 10, answers(judge, wrong(*range(100))))
    large = network("large", 99, answers(judge, wrong(*range(40))))
    found = portfolio.choose([small, large], judge)
    assert found.winner == 1
    gain, error = found.gains[1]
    assert gain == pytest.approx(0.15)
    assert error == pytest.approx(np.std([1.0] * 60 + [0.0] * 340, ddof=1) / 20)


def test_of_two_within_a_standard_error_the_smaller_is_taken(judge):
    """Fifty wrong answers each, of which the large network has one less: no reason to ship ten times the weights."""
    small = network("small", 10, answers(judge, wrong(*range(50))))
    large = network("large", 99, answers(judge, wrong(*range(50, 99))))
    found = portfolio.choose([large, small], judge)
    assert found.winner == 1
    assert found.apparent == small.own.score


def test_of_many_that_guess_the_expected_score_is_not_the_luckiest_ones(judge):
    rng = np.random.default_rng(0)
    guessing = [network(f"n{i}", i, *[answers(judge, rng.random(N) < 0.5) for _ in range(6)]) for i in range(8)]
    best = max(one.score for each in guessing for one in each.answers)
    found = portfolio.choose(guessing, judge)
    assert best > 0.55
    assert abs(found.score - 0.5) < abs(best - 0.5) / 2
    assert found.interval[0] < 0.5 < found.interval[1]


def test_what_is_kept_comes_back_and_damage_is_noticed(judge):
    one = network("n", 10, answers(judge, wrong(1)), answers(judge, wrong(2, 3)), chosen=1)
    content = portfolio.to_bytes(one)
    again = portfolio.read(content, network("n", 10, answers(judge, wrong()), chosen=0))
    assert [a.score for a in again.answers] == [a.score for a in one.answers]
    assert np.array_equal(again.answers[1].by_picture, one.answers[1].by_picture)
    assert portfolio.read(content[: len(content) // 2], one) is None


def test_only_networks_that_look_at_pictures_alike_are_put_together(judge):
    """Half of what each gets wrong the other gets right, and is sure of it."""
    one, two = answers(judge, wrong(*range(60))), answers(judge, wrong(*range(60, 120)))
    two.logits[0] *= 3
    one.logits[0][:60] /= 8
    found = portfolio.choose([network("a", 10, one), network("b", 20, two)], judge)
    assert found.ensemble is not None
    apart = portfolio.choose([network("a", 10, one), network("b", 20, two, size=64)], judge)
    assert apart.ensemble is None
