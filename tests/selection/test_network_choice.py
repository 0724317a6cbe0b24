"""The choice of a network: paired, towards the small one, and not flattered by its own luck."""

from dataclasses import replace

import numpy as np
import pytest

from transferkit.evaluation import metric_registry
from transferkit.selection import network_choice
from transferkit.selection.candidate_scores import Judge, OutOfFold
from transferkit.selection.candidates import learners
from transferkit.selection.ensemble import Ensemble
from transferkit.selection.network_choice import NetworkAnswers

N = 400
NONE = Ensemble({0: 0.5, 1: 0.5}, OutOfFold(logits=[], scores=[], by_picture=None), 0.0, 1.0)


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
    found = network_choice.choose([small, large], judge)
    assert found.winner == 1
    gain, error = found.gains[1]
    assert gain == pytest.approx(0.15)
    assert error == pytest.approx(np.std([1.0] * 60 + [0.0] * 340, ddof=1) / 20)


def test_of_two_within_a_standard_error_the_smaller_is_taken(judge):
    """Fifty wrong answers each, of which the large network has one less: no reason to ship ten times the weights."""
    small = network("small", 10, answers(judge, wrong(*range(50))))
    large = network("large", 99, answers(judge, wrong(*range(50, 99))))
    found = network_choice.choose([large, small], judge)
    assert found.winner == 1
    assert found.apparent == small.own.score


def test_of_many_that_guess_the_expected_score_is_not_the_luckiest_ones(judge):
    rng = np.random.default_rng(0)
    guessing = [network(f"n{i}", i, *[answers(judge, rng.random(N) < 0.5) for _ in range(6)]) for i in range(8)]
    best = max(one.score for each in guessing for one in each.answers)
    found = network_choice.choose(guessing, judge)
    assert best > 0.55
    assert abs(found.score - 0.5) < abs(best - 0.5) / 2
    assert found.interval[0] < 0.5 < found.interval[1]


def test_what_choosing_a_classifier_in_steps_flatters_by_is_taken_off_here_too(judge):
    one = network("n", 10, answers(judge, wrong(*range(50))), answers(judge, wrong(*range(20, 80))))
    plain = network_choice.choose([one], judge)
    found = network_choice.choose([replace(one, flattered=0.02)], judge)
    assert found.score == pytest.approx(plain.score - 0.02)
    assert found.interval == pytest.approx((plain.interval[0] - 0.02, plain.interval[1] - 0.02))


def test_what_is_kept_comes_back_and_damage_is_noticed(judge):
    one = network("n", 10, answers(judge, wrong(1)), answers(judge, wrong(2, 3)), chosen=1)
    content = network_choice.to_bytes(one)
    again = network_choice.read(content, network("n", 10, answers(judge, wrong()), chosen=0))
    assert [a.score for a in again.answers] == [a.score for a in one.answers]
    assert np.array_equal(again.answers[1].by_picture, one.answers[1].by_picture)
    assert network_choice.read(content[: len(content) // 2], one) is None


def test_only_networks_that_look_at_pictures_alike_are_put_together(judge):
    """Half of what each gets wrong the other gets right, and is sure of it."""
    one, two = answers(judge, wrong(*range(60))), answers(judge, wrong(*range(60, 120)))
    two.logits[0] *= 3
    one.logits[0][:60] /= 8
    found = network_choice.choose([network("a", 10, one), network("b", 20, two)], judge)
    assert found.ensemble is not None
    apart = network_choice.choose([network("a", 10, one), network("b", 20, two, size=64)], judge)
    assert apart.ensemble is None


def made(name, parameters, one, *, mirrored=False, networks=(), size=32):
    return replace(network(name, parameters, one, size=size), mirrored=mirrored, networks=networks or (name,))


def test_mirror_images_are_a_candidate_that_has_to_gain_more_than_its_error(judge):
    plain = network("a", 10, answers(judge, wrong(*range(60))))
    little = made("a", 10, answers(judge, wrong(*range(59))), mirrored=True)
    much = made("a", 10, answers(judge, wrong(*range(30))), mirrored=True)
    assert network_choice.choose([plain], judge, refined=[little]).winner == 0
    found = network_choice.choose([plain], judge, refined=[much])
    assert found.winner == 1
    assert found.plain == 0
    assert found.refined[0][0] == pytest.approx(30 / N)


def test_features_side_by_side_must_beat_the_better_network(judge):
    one, two = network("a", 10, answers(judge, wrong(*range(60)))), network("b", 20, answers(judge, wrong(*range(50))))
    pair = made("a with b", 30, answers(judge, wrong(*range(20))), networks=("b", "a"))
    found = network_choice.choose([one, two], judge, refined=[pair])
    assert found.winner == 2
    assert found.refined == [pytest.approx((30 / N, np.std([1.0] * 30 + [0.0] * (N - 30), ddof=1) / N**0.5))]


def test_in_an_average_a_network_looks_both_ways_only_where_that_gained(judge, monkeypatch):
    asked = []
    monkeypatch.setattr(network_choice.ensemble, "find", lambda logits, *_: asked.append(logits) or NONE)
    a, b = network("a", 10, answers(judge, wrong(*range(60)))), network("b", 20, answers(judge, wrong(*range(50))))
    worse = made("a", 10, answers(judge, wrong(*range(80))), mirrored=True)
    better = made("b", 20, answers(judge, wrong(*range(20))), mirrored=True)
    pair = made("a with b", 30, answers(judge, wrong(*range(49))), networks=("a", "b"))
    found = network_choice.choose([a, b], judge, refined=[worse, better, pair])
    (voices,) = asked
    assert [np.array_equal(x, y.own.mean_logits) for x, y in zip(voices, (a, better), strict=True)] == [True, True]
    assert found.ensemble.weights == {0: 0.5, 3: 0.5}, "by places among the networks and what was made of them"


def test_what_was_chosen_can_be_fitted_again(judge):
    one = replace(
        network("a", 10, answers(judge, wrong(1))),
        setting={"learner": {"penalty": 0.01}, "scale": 2.0, "shift": 0.5},
    )  # fmt: skip
    trial = one.trial({"last": (4, 8), "all": (0, 8)}, learners("classify"))
    assert (trial.candidate.name, trial.candidate.start, trial.candidate.stop) == ("ridge on last", 4, 8)
    assert (trial.setting, trial.scale, trial.shift) == ({"penalty": 0.01}, 2.0, 0.5)
