from itertools import pairwise

import keras
import numpy as np
import pytest

from transferkit.training import schedules


def rates(name, peak, steps, warmup):
    return schedules.curve(name, peak, steps, warmup=0.05 * warmup)(np.arange(steps))


@pytest.mark.parametrize("warmup", [False, True])
def test_cosine_is_that_of_keras(warmup):
    theirs = keras.optimizers.schedules.CosineDecay(0.3, 100)
    if warmup:
        theirs = keras.optimizers.schedules.CosineDecay(0.0, 95, warmup_target=0.3, warmup_steps=5)
    ours = schedules.curve("cosine", 0.3, 100, warmup=0.05 * warmup)(np.arange(110))
    np.testing.assert_allclose(ours, [float(np.asarray(theirs(step))) for step in range(110)], atol=1e-6)


def test_cosine_starts_at_its_peak_without_warm_up_and_ends_near_zero():
    found = rates("cosine", 0.1, 100, False)
    assert found[0] == pytest.approx(0.1)
    assert found[50] == pytest.approx(0.05, rel=1e-3)
    assert 0 < found[-1] < 1e-3 * 0.1
    assert all(a > b for a, b in pairwise(found))


def test_warm_up_rises_over_a_twentieth_of_the_steps():
    found = rates("cosine", 0.1, 100, True)
    assert found[0] == 0
    assert found[5] == pytest.approx(0.1)
    np.testing.assert_allclose(np.diff(found[:6]), 0.02, rtol=1e-3)
    assert max(found) == pytest.approx(0.1)
    assert found[-1] < 1e-3 * 0.1


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_short_phase_is_not_spent_on_warming_up(steps):
    assert rates("cosine", 0.1, steps, True)[0] == pytest.approx(0.1)


def test_a_constant_rate_is_the_same_from_the_first_step_on():
    np.testing.assert_allclose(rates("constant", 0.1, 100, True), 0.1)


def test_a_plateau_leaves_the_rate_to_the_optimizer():
    assert schedules.curve("plateau", 0.1, 100, warmup=0.05) is None


def test_a_plateau_lowers_the_rate_after_three_epochs_without_improvement():
    optimizer, waited, seen = keras.optimizers.SGD(1.0), 0, []
    for improved in (False, False, True, False, False, False, False, False, False):
        waited = schedules.after_epoch(optimizer, improved, waited)
        seen.append(round(float(np.asarray(optimizer.learning_rate)), 6))
    assert seen == [1, 1, 1, 1, 1, 0.3, 0.3, 0.3, 0.09]
