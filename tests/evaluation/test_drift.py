"""New pictures of the same kind pass; another kind is told, even by a handful of pictures."""

import numpy as np
import pytest

from transferkit.errors import DataError
from transferkit.evaluation.drift import FAR_P, USUAL, Typical, drift, typical


def features(n, seed, shift=0.0, d=100):
    """Correlated features, as networks give them: ten strong directions, and noise."""
    mix = np.random.default_rng(7).normal(size=(10, d))
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 10)) @ mix + 0.3 * rng.normal(size=(n, d)) + shift


@pytest.fixture(scope="module")
def reference():
    return typical(features(500, 0), features(200, 1))


def test_the_limit_holds_95_percent_of_validation(reference):
    inside = (reference.distance(features(200, 1)) <= reference.limit).mean()
    assert inside == pytest.approx(USUAL, abs=0.01)


def test_the_distance_is_mahalanobis_where_all_directions_are_free():
    x = features(400, 0, d=6)
    found = typical(x, features(50, 1, d=6))
    # Five free axes and one left over are all there is: the covariance is the sample's own.
    inverse = np.linalg.inv(np.cov(x.T))
    z = features(20, 2, d=6)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", z - x.mean(0), inverse, z - x.mean(0)) / 6)
    np.testing.assert_allclose(found.distance(z), expected, rtol=1e-6)


def test_the_same_kind_is_not_accused():
    accused = 0
    for seed in range(40):
        found = typical(features(300, 3 * seed), features(60, 3 * seed + 1))
        accused += drift(found, features(60, 3 * seed + 2)).far
    assert accused == 0


@pytest.mark.parametrize("n", [8, 200])
def test_another_kind_is_told(reference, n):
    found = drift(reference, features(n, 5, shift=1.0))
    assert found.far
    assert found.share > 0.9
    assert "another kind" in found.note
    assert drift(reference, features(n, 5)).note is None


def test_a_scale_of_features_changes_nothing(reference):
    scaled = typical(1000 * features(500, 0), 1000 * features(200, 1))
    x = features(50, 9)
    np.testing.assert_allclose(scaled.distance(1000 * x), reference.distance(x), rtol=1e-6)


def test_constant_features_are_no_division_by_zero():
    x = features(100, 0)
    x[:, :90] = 0
    found = typical(x, np.concatenate([features(50, 1)[:, :10] * 0, x[:50, 10:]], axis=1))
    assert np.isfinite(found.distance(x)).all()


def test_too_few_pictures_set_no_limit():
    assert typical(features(19, 0), features(100, 1)) is None
    assert typical(features(100, 0), features(19, 1)) is None


def test_features_of_another_network_are_refused(reference):
    with pytest.raises(DataError, match=r"expected|do not fit"):
        drift(reference, np.zeros((3, 7)))


@pytest.mark.parametrize("held", [20, 100, 1000])
@pytest.mark.parametrize("new", [10, 60, 500])
def test_false_alarms_are_as_rare_as_stated(held, new):
    """One in a thousand, of 4,000 to 20,000 draws, whatever law distances follow (they have one dimension here).

    A binomial law for the limit's own share gave 6 % at 20 validation pictures.
    """
    rng = np.random.default_rng(held + new)
    draws = min(20_000, 4_000_000 // max(held, new))
    limits = np.quantile(rng.exponential(size=(draws, held)), USUAL, axis=1)
    # Exponential distances: the number beyond a limit is binomial.
    beyond = rng.binomial(new, np.exp(-limits))
    flat = Typical(np.zeros(1), np.eye(1), np.ones(1), 1.0, 0.5, held)
    called = [drift(flat, np.repeat([1.0, 0.0], [b, new - b])[:, None]).far for b in range(new + 1)]
    assert np.array(called)[beyond].mean() <= FAR_P + 3 * np.sqrt(FAR_P / draws)
    assert called[-1] or new * held < 400  # and pictures that are all far are told, where there are enough
