"""The curve climbs where pictures are wanting, is flat where they are not, and never sees a picture twice."""

import json

import numpy as np
import pytest

from transferkit.evaluation.baselines import Split, probe
from transferkit.evaluation.learning_curve import FRACTIONS, _order, learning_curve


def blobs(n, d, classes, spread, seed):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, d))
    y = rng.integers(0, classes, n)
    return (centres[y] + spread * rng.normal(size=(n, d))).astype(np.float32), y


NAMES = list("abcd")


def test_hard_data_promise_a_gain_and_easy_data_none():
    hard = learning_curve(blobs(400, 60, 4, 3.0, 0), blobs(400, 60, 4, 3.0, 1), "classify", NAMES, strength=0.01)
    easy = learning_curve(blobs(400, 10, 4, 0.1, 0), blobs(400, 10, 4, 0.1, 1), "classify", NAMES, strength=0.01)
    assert hard.sizes == [round(400 * f) for f in FRACTIONS]
    assert hard.scores[0] + 0.1 < hard.scores[-1]
    assert hard.fit.gain > 0.01
    assert hard.fit.gain_low > 0
    assert easy.scores[-1] == 1.0
    assert easy.fit.gain_high < 0.01
    json.dumps(hard.as_json(), allow_nan=False)


def test_the_last_point_is_the_probe_on_all_training_pictures():
    train, val = blobs(200, 20, 4, 2.0, 0), blobs(150, 20, 4, 2.0, 1)
    curve = learning_curve(train, val, "classify", NAMES, strength=0.1)
    assert curve.metric == "accuracy"
    assert curve.spread[-1] == 0.0
    whole = probe(train, val, "classify", NAMES).scored(Split(*val), "classify", NAMES)
    assert curve.scores[-1] == pytest.approx(whole.scores["accuracy"], abs=0.05)


def test_a_probe_that_is_fitted_to_all_already_is_not_fitted_again():
    train, val = blobs(200, 20, 4, 2.0, 0), blobs(150, 20, 4, 2.0, 1)
    found = probe(train, val, "classify", NAMES)
    curve = learning_curve(train, val, "classify", NAMES, strength=found.strength, whole=found.of(val[0]))
    assert curve.scores[-1] == (found.of(val[0]).argmax(1) == val[1]).mean()
    plain = learning_curve(train, val, "classify", NAMES, strength=found.strength)
    assert (curve.sizes, curve.scores[:-1]) == (plain.sizes, plain.scores[:-1])


def test_the_seed_decides():
    args = (blobs(200, 20, 4, 2.0, 0), blobs(150, 20, 4, 2.0, 1), "classify", NAMES)
    assert learning_curve(*args, strength=0.1, seed=3) == learning_curve(*args, strength=0.1, seed=3)
    assert learning_curve(*args, strength=0.1, seed=3) != learning_curve(*args, strength=0.1, seed=4)


def test_too_few_pictures_give_no_curve():
    assert learning_curve(blobs(20, 5, 4, 1.0, 0), blobs(20, 5, 4, 1.0, 1), "classify", NAMES, strength=1.0) is None


@pytest.mark.parametrize("task", ["multilabel", "regress"])
def test_labels_and_numbers_have_a_curve_too(task):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(300, 12)).astype(np.float32), rng.normal(size=(12, 2))
    y = x @ w + rng.normal(size=(300, 2))
    y = (y > 0).astype(int) if task == "multilabel" else y
    curve = learning_curve((x[:200], y[:200]), (x[200:], y[200:]), task, ["a", "b"], strength=1.0)
    assert curve.metric == {"multilabel": "map", "regress": "r2"}[task]
    assert curve.scores[0] < curve.scores[-1] <= 1


def test_every_beginning_has_the_classes_in_proportion():
    labels = np.array([0] * 90 + [1] * 10)
    order = _order(labels, 100, np.random.default_rng(0))
    assert sorted(order) == list(range(100))
    for size in (20, 50):
        assert labels[order[:size]].sum() == pytest.approx(size / 10, abs=1)
