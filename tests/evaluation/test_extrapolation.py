import numpy as np
import pytest

from transferkit.errors import DataError
from transferkit.evaluation.extrapolation import learning_curve_fit

SIZES = [100, 200, 400, 800, 1600]


def law(n, a=0.92, b=1.5, c=0.5):
    return a - b * np.asarray(n, float) ** -c


def test_a_law_without_noise_is_recovered():
    fit = learning_curve_fit(SIZES, law(SIZES))
    assert fit.a == pytest.approx(0.92, abs=0.003)
    assert fit.doubled.n == 3200
    assert fit.doubled.score == pytest.approx(law(3200), abs=0.002)
    assert fit.curve[-1].n == pytest.approx(6400)


def test_the_range_covers_the_truth_mostly():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        scores = rng.binomial(400, law(SIZES)) / 400
        row = learning_curve_fit(SIZES, scores, n_val=400, repeats=150, seed=seed).doubled
        covered += row.low <= law(3200) <= row.high
    assert covered >= 45


def test_a_saturated_curve_promises_nothing():
    fit = learning_curve_fit(SIZES, [0.9, 0.9, 0.9, 0.9, 0.9], n_val=2000)
    assert fit.gain == pytest.approx(0, abs=1e-6)
    assert fit.gain_high < 0.02


def test_more_validation_pictures_make_the_range_narrower():
    few, many = (learning_curve_fit(SIZES, law(SIZES), n_val=n).doubled for n in (50, 5000))
    assert many.high - many.low < (few.high - few.low) / 2


def test_no_score_above_the_ceiling_and_no_curve_that_falls():
    fit = learning_curve_fit([10, 20, 40], [0.5, 0.8, 0.99], n_val=30)
    assert max(row.high for row in fit.curve) <= 1.0
    assert fit.a <= 1.0
    values = [row.score for row in learning_curve_fit([10, 20, 40], [0.9, 0.8, 0.7]).curve]
    assert values == pytest.approx([0.8] * len(values))


def test_order_and_seed_do_not_matter_to_the_fit():
    one = learning_curve_fit(SIZES, law(SIZES), seed=0)
    two = learning_curve_fit(SIZES[::-1], law(SIZES)[::-1], seed=0)
    assert one.a == pytest.approx(two.a)


@pytest.mark.parametrize(
    ("sizes", "scores"), [([1, 2], [0.1, 0.2]), ([0, 1, 2], [0, 0, 0]), ([1, 2, 3], [0.1, 0.2, 1.2])]
)
def test_too_few_or_impossible_points_are_refused(sizes, scores):
    with pytest.raises(DataError):
        learning_curve_fit(sizes, scores)
