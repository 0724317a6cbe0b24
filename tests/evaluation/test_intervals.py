import time
from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.marks import extended
from transferkit.errors import ConfigError, DataError
from transferkit.evaluation.intervals import FAST, from_counts_of, mcnemar, of_table, paired_bootstrap, wilson


def test_wilson_gives_the_published_interval():
    # Newcombe 1998, table I, method 3: 81 of 263 and 15 of 148.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_wilson_stays_inside_and_is_never_a_point():
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    low, high = wilson(20, 20)
    assert high == 1.0
    assert low < 0.9


def test_wilson_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    drawn = rng.binomial(80, 0.85, 2000)
    covered = [low <= 0.85 <= high for low, high in (wilson(int(k), 80) for k in drawn)]
    assert 0.92 < np.mean(covered) < 0.98


@pytest.mark.parametrize(("k", "n"), [(1, 0), (5, 4), (-1, 4)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(DataError, match="expected"):
        wilson(k, n)


def answers(seed, n=300, count=4, right=0.8):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, count, n)
    return true, np.where(rng.random(n) < right, true, rng.integers(0, count, n))


def resampled(metric, true, guess, ends_at_one=0, **settings):
    return of_table(
        lambda t, p: {"score": metric(t, p)}, true, guess, ends_at_one=lambda _: ends_at_one, **settings
    ).get("score")


def test_the_interval_of_accuracy_is_close_to_theory():
    true, guess = answers(0)
    share = (true == guess).mean()
    half = NormalDist().inv_cdf(0.975) * np.sqrt(share * (1 - share) / len(true))
    low, high = from_counts_of(true, guess, 4, repeats=4000)[0]["accuracy"]
    assert (low, high) == pytest.approx((share - half, share + half), abs=0.008)


def test_counts_and_resampled_pictures_agree():
    true, guess = answers(1)

    def macro_f1(t, p):
        return f1_score(t, p, average="macro")

    slow = resampled(macro_f1, true, guess, repeats=600, stratify=True)
    assert from_counts_of(true, guess, 4, repeats=600)[0]["macro_f1"] == pytest.approx(slow, abs=0.012)


def test_stratified_resamples_keep_every_class():
    true = np.array([0] * 50 + [1])
    seen = []
    resampled(lambda t, p: seen.append((t == 1).sum()) or 1.0, true, true, repeats=50, stratify=True)
    assert set(seen) == {1}


def test_the_seed_decides():
    true, guess = answers(2)
    first = from_counts_of(true, guess, 4, seed=0)
    assert first == from_counts_of(true, guess, 4, seed=0)
    assert first != from_counts_of(true, guess, 4, seed=1)


def test_a_hundred_classes_are_quick():
    true, guess = answers(3, n=5000, count=100)
    start = time.perf_counter()
    found, f1 = from_counts_of(true, guess, 100)
    assert time.perf_counter() - start < 5
    assert set(found) == set(FAST)
    assert all(low < high for low, high in [*found.values(), *f1])


def test_a_perfect_score_is_as_sure_as_that_many_right_answers():
    """Where a score ends at 1, who asks for its interval has to say: no caller can forget it."""
    true, _ = answers(5, n=30)
    found, f1 = from_counts_of(true, true, 4)
    assert set(found.values()) == {wilson(30, 30)}
    assert f1 == [wilson(int(count), int(count)) for count in np.bincount(true)]
    assert resampled(accuracy, true, true, ends_at_one=30) == wilson(30, 30)
    assert resampled(accuracy, true, true) == (1.0, 1.0)  # an error of 1 everywhere is no perfect score
    with pytest.raises(TypeError, match="ends_at_one"):
        of_table(lambda t, p: {"score": 1.0}, true, true)


def test_an_undefined_score_has_no_interval():
    assert resampled(lambda t, p: None, [1, 2, 3], [1, 2, 3], repeats=20) is None


def test_several_labels_cannot_be_stratified():
    with pytest.raises(ConfigError, match="stratify"):
        resampled(lambda t, p: 1.0, np.zeros((3, 2)), np.zeros((3, 2)), stratify=True)


def accuracy(t, p):
    return float((t == p).mean())


def test_a_real_difference_is_told_from_none():
    true, good = answers(4, n=400, right=0.9)
    _, worse = answers(4, n=400, right=0.5)
    found = paired_bootstrap(accuracy, true, good, worse, repeats=400)
    assert found.low > 0
    assert found.p < 0.01
    assert found.difference == pytest.approx(accuracy(true, good) - accuracy(true, worse))
    same = paired_bootstrap(accuracy, true, good, good, repeats=100)
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_mcnemar_is_the_exact_binomial_test():
    a = np.array([True] * 10 + [False] * 2 + [True] * 50)
    b = np.array([False] * 10 + [True] * 2 + [True] * 50)
    # 2 · (C(12,0) + C(12,1) + C(12,2)) / 2¹²
    assert mcnemar(a, b) == pytest.approx(2 * (1 + 12 + 66) / 4096)
    assert mcnemar(a, a) == 1.0
    with pytest.raises(DataError, match="same pictures"):
        mcnemar(a, b[:5])


@pytest.mark.parametrize("count", extended([15, 40, 200], [40, 200]))
def test_intervals_hold_what_they_say_for_few_pictures_too(count):
    """95 % intervals cover the truth in at least 92 % of 300 draws; plain percentiles did in 88 % at 15 pictures."""
    rng = np.random.default_rng(count)
    covered = {"mae": 0, "macro_f1": 0}
    for seed in range(300):
        y = rng.normal(size=count)
        low, high = resampled(
            lambda a, b: float(np.abs(a - b).mean()), y, y + rng.normal(size=count), repeats=300, seed=seed
        )
        covered["mae"] += low <= np.sqrt(2 / np.pi) <= high
        true = np.arange(count) % 3
        guess = np.where(rng.random(count) < 0.7, true, (true + rng.integers(1, 3, count)) % 3)
        low, high = from_counts_of(true, guess, 3, repeats=300, seed=seed)[0]["macro_f1"]
        covered["macro_f1"] += low <= 0.7 <= high
    assert min(covered.values()) >= 0.92 * 300
