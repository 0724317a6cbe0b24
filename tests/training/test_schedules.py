from itertools import pairwise

import keras
import numpy as np
import pytest

from transferkit.training import schedules


def rates(schedule, steps):
    return [float(np.asarray(schedule(step))) for step in range(steps)]


def test_cosine_starts_at_its_peak_without_warm_up_and_ends_near_zero():
    found = rates(schedules.build("cosine", 0.1, 100, warmup=False), 100)
    assert found[0] == pytest.approx(0.1)
    assert found[50] == pytest.approx(0.05, rel=1e-3)
    assert 0 < found[-1] < 1e-3 * 0.1
    assert all(a > b for a, b in pairwise(found))


def test_warm_up_rises_over_a_twentieth_of_the_steps():
    found = rates(schedules.build("cosine", 0.1, 100, warmup=True), 100)
    assert found[0] == 0
    assert found[5] == pytest.approx(0.1)
    np.testing.assert_allclose(np.diff(found[:6]), 0.02, rtol=1e-3)
    assert max(found) == pytest.approx(0.1)
    assert found[-1] < 1e-3 * 0.1


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_short_phase_is_not_spent_on_warming_up(steps):
    assert rates(schedules.build("cosine", 0.1, steps, warmup=True), steps)[0] == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_other_schedules_are_a_number(name):
    assert schedules.build(name, 0.1, 100, warmup=True) == 0.1


def test_a_plateau_lowers_the_rate_after_three_epochs_without_improvement():
    optimizer, waited, seen = keras.optimizers.SGD(1.0), 0, []
    for improved in (False, False, True, False, False, False, False, False, False):
        waited = schedules.after_epoch(optimizer, improved, waited)
        seen.append(round(float(np.asarray(optimizer.learning_rate)), 6))
    assert seen == [1, 1, 1, 1, 1, 0.3, 0.3, 0.3, 0.09]
