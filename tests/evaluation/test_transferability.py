"""LogME against evidence computed the long way, and probes against what features hold."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from transferkit.errors import DataError
from transferkit.evaluation.transferability import cross_validated_probe, logme, pareto


def reference(f, y):
    """log p(y) with weights ~ N(0, 1/alpha) and noise 1/beta: a Gaussian with covariance F Fᵀ/alpha + I/beta."""

    def cost(logs):
        alpha, beta = np.exp(logs)
        covariance = f @ f.T / alpha + np.eye(len(f)) / beta
        return -multivariate_normal(np.zeros(len(f)), covariance).logpdf(y) / len(f)

    found = [minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 4000})
             for start in ([0.0, 0.0], [3.0, 1.0])]  # fmt: skip
    return -min(result.fun for result in found)


@pytest.mark.parametrize(("n", "d"), [(40, 6), (15, 30)])
@pytest.mark.parametrize("task", ["classify", "multilabel", "regress"])
def test_logme_is_the_maximum_evidence(n, d, task):
    rng = np.random.default_rng(d)
    f = rng.normal(size=(n, d))
    raw = f @ rng.normal(size=(d, 3)) + 0.5 * rng.normal(size=(n, 3))
    if task == "classify":
        y = raw.argmax(1)
        columns = np.eye(3)[y][:, np.unique(y)]
    elif task == "multilabel":
        y = columns = (raw > 0).astype(float)
    else:
        y, columns = raw, (raw - raw.mean(0)) / raw.std(0)
    expected = np.mean([reference(f, column) for column in columns.T])
    assert logme(f, y, task) == pytest.approx(expected, abs=1e-4)


def test_features_that_tell_more_have_more_evidence():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 300)
    signal, noise = np.eye(4)[y], rng.normal(size=(300, 20))
    values = [logme(strength * signal @ rng.normal(size=(4, 20)) + noise, y, "classify") for strength in (0, 1, 4)]
    assert values[0] < values[1] < values[2]


def test_perfect_and_constant_features_give_numbers():
    y = np.arange(30) % 3
    assert np.isfinite(logme(np.eye(3)[y], y, "classify"))
    assert np.isfinite(logme(np.ones((30, 4)), y, "classify"))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="do not fit"):
        logme(np.ones((3, 2)), np.ones(4), "regress")


def test_the_probe_is_judged_on_pictures_it_has_not_seen():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 120)
    order = rng.permutation(120)
    folds = [(np.setdiff1d(order, part), part) for part in np.array_split(order, 4)]
    noise = cross_validated_probe(rng.normal(size=(120, 200)), y, folds, "classify", ["a", "b"])
    assert noise.score < 0.7  # a probe scored on its own training pictures would have 1.0
    sure = cross_validated_probe(y[:, None] + 0.01 * rng.normal(size=(120, 5)), y, folds, "classify", ["a", "b"])
    assert sure.score == 1.0
    assert sure.metric == "accuracy"


def test_pareto_keeps_what_nothing_beats():
    assert pareto([1, 2, 3, 3], [0.5, 0.9, 0.8, 0.95]) == [True, True, False, True]
    assert pareto([1, 1], [0.5, 0.5]) == [True, True]
