import numpy as np
import pytest

from transferkit.errors import ConfigError, DataError
from transferkit.evaluation import calibration
from transferkit.evaluation.calibration import (
    apply_temperature,
    ece,
    fit_temperature,
    nll,
    reliability,
)


def drawn(seed, n=4000, count=5, scale=1.5):
    """Logits and targets drawn from them: calibrated by construction at temperature 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, (n, count))
    probs = apply_temperature(logits, 1.0, "classify")
    return logits, (probs.cumsum(1) > rng.random((n, 1))).argmax(1)


def test_ece_of_a_case_worked_by_hand():
    # Four answers at 0.9, three right: gap 0.15. Two at 0.6, both right: gap 0.4.
    probs = [[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 2
    assert ece(probs, [0, 0, 0, 1, 0, 0]) == pytest.approx((4 * 0.15 + 2 * 0.4) / 6)


def test_bins_hold_every_picture_once_even_on_the_edges():
    probs = np.array([[1.0, 0.0], [0.5, 0.5], [0.6, 0.4], [0.8, 0.2]])
    rows = reliability(probs, [0, 0, 1, 0], bins=10)
    assert sum(row["count"] for row in rows) == 4
    assert rows[-1]["count"] == 1  # 1.0 belongs to the last bin
    assert rows[0] == {"lower": 0.0, "upper": 0.1, "count": 0, "confidence": None, "accuracy": None}


def test_multilabel_reliability_is_of_every_label():
    rows = reliability([[0.95, 0.05]], [[1, 0]], bins=10)
    assert (rows[0]["count"], rows[0]["accuracy"]) == (1, 0.0)
    assert (rows[-1]["count"], rows[-1]["accuracy"]) == (1, 1.0)


def test_calibrated_probabilities_have_nearly_no_error():
    logits, true = drawn(0)
    assert ece(apply_temperature(logits, 1.0, "classify"), true) < 0.02


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0, 4.0])
def test_the_temperature_that_was_put_in_is_found(factor):
    logits, true = drawn(1)
    assert fit_temperature(logits * factor, true) == pytest.approx(factor, rel=0.06)


def test_multilabel_temperature_is_found():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (2000, 4))
    true = (rng.random(logits.shape) < apply_temperature(logits, 1.0, "multilabel")).astype(int)
    assert fit_temperature(logits * 3, true, "multilabel") == pytest.approx(3, rel=0.06)


def test_scaling_lowers_the_calibration_error_and_changes_no_answer():
    logits, true = drawn(3)
    before = apply_temperature(logits * 3, 1.0, "classify")
    after = apply_temperature(logits * 3, fit_temperature(logits * 3, true), "classify")
    assert ece(after, true) < ece(before, true) / 3
    assert (before.argmax(1) == after.argmax(1)).all()


def test_a_small_perfect_validation_set_does_not_sharpen_without_end():
    logits = np.eye(3)[[0, 1, 2] * 4] * 3.0
    assert 0.4 < fit_temperature(logits, [0, 1, 2] * 4) <= 1.0


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (np.zeros((5, 3)), [0, 1, 2, 0, 1]),  # flat: no temperature changes anything
        (np.zeros((0, 3)), np.zeros(0, int)),
        ([[np.inf, 0.0]], [0]),
    ],
)
def test_what_cannot_be_fitted_keeps_one(logits, targets):
    assert fit_temperature(logits, targets) == 1.0


def test_utterly_wrong_logits_stay_in_bounds():
    true = np.arange(200) % 4
    assert 1.0 < fit_temperature(np.eye(4)[(true + 1) % 4] * 50, true) <= 10.0


def test_huge_logits_neither_overflow_nor_warn():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]])
    assert apply_temperature(logits, 1.0, "multilabel").tolist() == [[1, 0], [0, 1]]
    assert apply_temperature(logits, 1.0, "classify").tolist() == [[1, 0], [0, 1]]
    assert nll(logits, [0, 1], 1.0, "classify") == 0.0


def test_regression_has_no_temperature():
    with pytest.raises(ConfigError, match="regress"):
        fit_temperature([[1.0]], [[1.0]], "regress")
    with pytest.raises(DataError, match="fit each other"):
        fit_temperature([[1.0, 2.0]], [0, 1])


def test_a_temperature_is_kept_only_where_it_helps_pictures_it_was_not_fitted_to():
    """Well calibrated logits of few pictures: a fit harmed the test loss in 64 % of cases, so kept in 21 %."""
    harm = []
    rng = np.random.default_rng(0)
    for _ in range(100):
        logits = rng.normal(0, 2, (2040, 4))
        probs = apply_temperature(logits, 1.0, "classify")
        true = (rng.random((2040, 1)) > probs.cumsum(1)).sum(1).clip(0, 3)
        temperature = fit_temperature(logits[:40], true[:40])
        harm.append(nll(logits[40:], true[40:], temperature, "classify") - nll(logits[40:], true[40:], 1.0, "classify"))
    assert np.mean(np.array(harm) > 0.002) < 0.35


def test_uncalibrated_undoes_the_temperature():
    logits = np.random.default_rng(0).normal(0, 3, (50, 4))
    plain = calibration.apply_temperature(logits, 1.0, "classify")
    for temperature in (0.4, 1.0, 3.0):
        shipped = calibration.apply_temperature(logits, temperature, "classify")
        np.testing.assert_allclose(calibration.uncalibrated(shipped, temperature), plain, atol=1e-6)
