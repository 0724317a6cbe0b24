"""A threshold is promised only where validation proves it."""

import numpy as np
import pytest
from scipy.stats import binom

from transferkit.errors import ConfigError
from transferkit.evaluation import abstention
from transferkit.evaluation.abstention import abstain_threshold
from transferkit.evaluation.calibration import apply_temperature


def sure(confidence):
    return np.stack([confidence, 1 - np.asarray(confidence)], 1)


def test_abstaining_promises_what_the_binomial_law_allows_with_the_most_answers():
    probs, true = sure(np.linspace(0.99, 0.6, 400)), np.zeros(400, int)
    true[300:] = 1  # the hundred least confident answers are wrong
    threshold, coverage = abstain_threshold(probs, true, 0.9)
    assert 0.7 < coverage < 0.82
    answers = round(400 * coverage)
    assert binom.sf(min(answers, 300) - 1, answers, 0.9) <= 0.05
    assert threshold == pytest.approx(probs[answers - 1, 0])
    # Of 28 answers, all right, nobody knows whether 90 % are: 0.9 ** 28 is 0.052.
    assert abstain_threshold(probs[:28], true[:28], 0.9) == (None, 0.0)
    assert abstain_threshold(probs[:29], true[:29], 0.9) == (pytest.approx(probs[28, 0]), 1.0)


def test_equal_confidences_are_answered_together():
    probs = sure(np.full(40, 0.9))
    assert abstain_threshold(probs, [0] * 30 + [1] * 10, 0.9) == (None, 0.0)
    assert abstain_threshold(probs, [0] * 40, 0.9) == (0.9, 1.0)


@pytest.mark.parametrize(("count", "spread", "level"), [(100, 4, 0.9), (300, 4, 0.9), (300, 4, 0.95), (1000, 2, 0.9)])
def test_the_promise_of_abstaining_is_missed_in_no_more_than_the_stated_share_of_cases(count, spread, level):
    """Of 200 validation sets at most 5 % (and three standard errors) get a threshold whose true accuracy is lower;
    taking the best of all thresholds as it looked missed in two of three."""
    rng = np.random.default_rng(count)
    many = apply_temperature(rng.normal(0, spread, (100_000, 5)), 1.0, "classify").max(1)
    missed = given = 0
    for _ in range(200):
        probs = apply_temperature(rng.normal(0, spread, (count, 5)), 1.0, "classify")
        true = (rng.random((count, 1)) > probs.cumsum(1)).sum(1).clip(0, 4)  # perfectly calibrated
        threshold, _ = abstain_threshold(probs, true, level)
        if threshold is not None:
            given += 1
            missed += many[many >= threshold].mean() < level
    assert missed <= 200 * 0.05 + 3 * np.sqrt(200 * 0.05 * 0.95)
    assert given >= 60  # a promise that is never given would be kept, too


def test_an_accuracy_that_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="95"):
        abstain_threshold([[1.0, 0.0]], [0], 95)


def test_abstention_reaches_the_stated_accuracy_with_its_coverage():
    rng = np.random.default_rng(0)
    probs = apply_temperature(rng.normal(0, 5, (8000, 3)), 1.0, "classify")
    targets = np.array([rng.choice(3, p=p) for p in probs])  # perfectly calibrated
    rows = abstention.levels(probs[:4000], targets[:4000])
    assert [row.accuracy for row in rows] == [0.9, 0.95, 0.99]
    for row in rows:
        accuracy, coverage = abstention.selective(probs[4000:], targets[4000:], row.threshold)
        assert row.accuracy - 0.005 <= accuracy <= row.accuracy + 0.05
        assert coverage == pytest.approx(row.coverage, abs=0.05)
    assert rows[0].coverage > rows[1].coverage > rows[2].coverage


def test_abstention_says_what_is_out_of_reach_and_how_many_pictures_it_would_take():
    confident, targets = sure([0.95] * 93 + [0.99] * 7), np.array([0] * 93 + [1] * 7)  # the most confident are wrong
    rows = abstention.levels(confident, targets)
    assert [row.accuracy for row in rows] == [0.9, 0.95, 0.99]
    assert rows[1].as_json() == {"accuracy": 0.95, "threshold": None, "coverage": 0.0, "needed": None}
    assert abstention.selective(confident, targets, 0.999) == (None, 0.0)
    # All of forty right: 90 % is sure, 95 % takes 59 pictures and 99 % takes 299.
    rows = abstention.levels(sure(np.linspace(0.9, 0.99, 40)), np.zeros(40, int))
    assert [(row.accuracy, row.threshold, row.needed) for row in rows] == [(0.95, None, 59), (0.99, None, 299)]
