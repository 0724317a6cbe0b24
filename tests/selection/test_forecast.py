"""What more time would bring: a figure only where something supports it, and then one that holds."""

import numpy as np
import pytest

from transferkit.selection.forecast import Waiting, forecast, within


def test_too_few_networks_support_no_figure():
    waiting = [Waiting("d", 0.9, 60)]
    assert forecast([(0.7, 0.75), (0.8, 0.86)], waiting, 0.86, 1.0) is None
    assert forecast([(0.7, 0.75), (0.8, 0.86), (0.6, 0.66)], [], 0.86, 1.0) is None


def test_a_network_that_looks_much_better_is_expected_to_gain_that():
    known = [(0.6, 0.651), (0.7, 0.75), (0.65, 0.699), (0.72, 0.77)]
    found = forecast(known, [Waiting("d", 0.80, 60)], 0.77, 1.0)
    assert found.gain == pytest.approx(0.08, abs=0.005)
    assert found.interval[0] < found.gain < found.interval[1]
    assert found.chance > 0.99


def test_one_that_looks_much_worse_is_expected_to_bring_nothing():
    known = [(0.6, 0.651), (0.7, 0.75), (0.65, 0.699), (0.72, 0.77)]
    found = forecast(known, [Waiting("d", 0.50, 60)], 0.77, 1.0)
    assert found.gain == found.interval[0] == 0
    assert found.chance < 0.05


def test_no_gain_goes_beyond_the_best_score_there_is():
    found = forecast([(0.5, 0.9), (0.6, 0.7), (0.7, 0.95)], [Waiting("d", 0.9, 60)], 0.95, 1.0)
    assert found.interval[1] <= 0.05 + 1e-12


@pytest.mark.parametrize("compared", [3, 4, 8])
def test_the_interval_holds_what_comes_in_95_of_100(compared):
    """The network left out looks well enough for a gain every time, so that the interval is not cut at nothing."""
    rng, held, tries = np.random.default_rng(compared), 0, 400
    for number in range(tries):
        looks = rng.uniform(0.3, 0.4, compared)
        scores = looks + 0.03 + rng.normal(0, 0.002, compared)
        truth = 0.6 + 0.03 + rng.normal(0, 0.002) - scores.max()
        pairs = list(zip(looks, scores, strict=True))
        found = forecast(pairs, [Waiting("d", 0.6, 1)], scores.max(), 2.0, seed=number)
        held += found.interval[0] <= truth <= found.interval[1]
    assert 0.92 < held / tries < 0.98


def test_the_most_promising_are_taken_as_far_as_time_goes():
    waiting = [Waiting("a", 0.5, 100), Waiting("b", 0.9, 700), Waiting("c", 0.8, 400), Waiting("d", 0.6, 150)]
    assert [one.network for one in within(waiting, 600)] == ["c", "d"]
