from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from transferkit.compute.blas import few_threads
from transferkit.errors import DataError
from transferkit.evaluation import label_issues
from transferkit.evaluation.label_issues import find_label_issues, wrong_share
from transferkit.evaluation.rules import DOUBTFUL


@pytest.fixture(autouse=True)
def one_thread():
    """As a run calls it: small features are slower on several threads."""
    with few_threads(0):
        yield


def clusters(count: int = 400, classes: int = 4, width: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, D] of overlapping classes, and their labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=count)
    return 0.8 * rng.normal(size=(classes, width))[y] + rng.normal(size=(count, width)), y


def test_flipped_labels_come_first_with_the_right_label_suggested() -> None:
    x, right = clusters()
    flipped = np.random.default_rng(1).choice(len(x), 20, replace=False)
    given = right.copy()
    given[flipped] = (right[flipped] + 1 + np.arange(20) % 3) % 4
    found = find_label_issues(x, given, "classify", 4)
    worst = set(found.ranking[:20].tolist())
    assert len(worst & set(flipped.tolist())) >= 18
    assert (found.suggested[flipped] == right[flipped]).mean() >= 0.9
    assert found.likely[flipped].mean() >= 0.6
    assert np.delete(found.likely, flipped).mean() < 0.05
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-9)
    np.testing.assert_array_equal(found.confidence, found.probabilities[np.arange(len(x)), given])


def test_a_turned_label_of_several_is_found_and_named() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random((400, 3)) < 0.4).astype(np.float32)
    x = right @ rng.normal(size=(3, 20)) * 1.5 + rng.normal(size=(400, 20)) * 0.7
    given = right.copy()
    turned = rng.choice(400, 12, replace=False)
    which = rng.integers(3, size=12)
    given[turned, which] = 1 - given[turned, which]
    found = find_label_issues(x, given, "multilabel", 3)
    assert len(set(found.ranking[:12].tolist()) & set(turned.tolist())) >= 10
    assert (found.suggested[turned] == which).mean() >= 0.8


def test_copies_do_not_vouch_for_each_other() -> None:
    x, y = clusters()
    x[1], wrong = x[0], (y[0] + 2) % 4
    y[0] = y[1] = wrong
    groups = [str(max(i, 1)) for i in range(len(x))]
    apart, together = find_label_issues(x, y, "classify", 4), find_label_issues(x, y, "classify", 4, groups)
    assert together.confidence[0] < 0.4 * apart.confidence[0]
    assert {0, 1} <= set(together.ranking[:5].tolist())


def test_same_input_same_ranking_and_scale_of_features_does_not_matter() -> None:
    x, y = clusters(150)
    first, again = (
        find_label_issues(x, y, "classify", 4, seed=3),
        find_label_issues(x * 1000 + 5, y, "classify", 4, seed=3),
    )
    np.testing.assert_array_equal(first.ranking[:20], find_label_issues(x, y, "classify", 4, seed=3).ranking[:20])
    np.testing.assert_allclose(first.confidence, again.confidence, atol=1e-3)


def test_a_constant_feature_and_a_class_of_one_are_no_obstacle() -> None:
    x, y = clusters(60, classes=2)
    x[:, 0], y[0] = 7.0, 2
    found = find_label_issues(x, y, "classify", 3)
    assert np.isfinite(found.confidence).all()
    assert found.ranking[0] == 0


def drawn(rng: np.random.Generator, reach: float, classes: int, count: int, flipped: float) -> tuple[np.ndarray, ...]:
    """The judge of a Gaussian problem at its best: whether it contradicts a label, and how sure it is."""
    centres = reach * rng.normal(size=(classes, 8))
    y = rng.integers(classes, size=count)
    x = centres[y] + rng.normal(size=(count, 8))
    score = -((x[:, None] - centres) ** 2).sum(2) / 2
    wrong = rng.random(count) < flipped
    given = np.where(wrong, (y + rng.integers(1, classes, count)) % classes, y)
    best = np.sort(score, axis=1)
    return score.argmax(1) != given, best[:, -1] - best[:, -2], 1 - np.bincount(given).max() / count


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_clean_labels_are_called_wrong_in_less_than_one_case_of_a_hundred_however_weak_the_features(classes) -> None:
    """The stated rate: 200 simulated problems of each kind, from separable to guessing."""
    rng = np.random.default_rng(classes)
    for reach in (0.1, 0.3, 0.5, 0.8):
        fired = [wrong_share(*drawn(rng, reach, classes, 500, 0.0)).low > DOUBTFUL for _ in range(200)]
        assert np.mean(fired) <= 0.01, reach


@pytest.mark.parametrize(
    ("classes", "flipped", "power"), [(2, 0.1, 0.8), (2, 0.2, 0.8), (10, 0.1, 0.9), (10, 0.2, 0.99)]
)
def test_flipped_labels_are_told_where_features_are_strong(classes, flipped, power) -> None:
    rng = np.random.default_rng(classes)
    found = [wrong_share(*drawn(rng, 1.8, classes, 700, flipped)) for _ in range(150)]
    assert np.mean([w.low > DOUBTFUL for w in found]) >= power
    assert np.mean([w.low <= flipped for w in found]) >= 0.98
    assert np.median([w.share for w in found]) == pytest.approx(flipped, abs=0.03)


def test_weak_features_call_no_clean_label_wrong_and_strong_ones_find_what_was_flipped() -> None:
    """With the judges themselves: they doubted three of four clean labels of features this weak."""
    rng = np.random.default_rng(0)
    y, centres = rng.integers(10, size=400), rng.normal(size=(10, 64))
    for reach in (0.15, 0.3, 0.45):
        clean = find_label_issues(reach * centres[y] + rng.normal(size=(400, 64)), y, "classify", 10)
        assert not clean.likely.any()
        assert clean.wrong.low <= DOUBTFUL
    given = np.where(rng.random(400) < 0.15, (y + 3) % 10, y)
    noisy = find_label_issues(0.8 * centres[y] + rng.normal(size=(400, 64)), given, "classify", 10)
    assert noisy.wrong.low > DOUBTFUL
    assert noisy.wrong.share == pytest.approx((given != y).mean(), abs=0.05)
    assert (given != y)[noisy.likely].mean() >= 0.9


def test_the_penalty_that_surprises_least_judges_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clusters()
    before = find_label_issues(x, y, "classify", 4).probabilities
    monkeypatch.setattr(label_issues, "PENALTIES", label_issues.PENALTIES[::-1])
    np.testing.assert_array_equal(find_label_issues(x, y, "classify", 4).probabilities, before)


def test_comparing_a_few_at_once_finds_the_same_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clusters()
    before = find_label_issues(x, y, "classify", 4).probabilities
    monkeypatch.setattr(label_issues, "_CELLS", 7 * len(x))
    np.testing.assert_allclose(find_label_issues(x, y, "classify", 4).probabilities, before, atol=1e-6)


def test_numbers_and_too_few_pictures_are_refused() -> None:
    with pytest.raises(DataError, match=r"predictions\.csv"):
        find_label_issues(np.zeros((50, 3)), np.zeros((50, 1)), "regress", 1)
    with pytest.raises(DataError, match="19 pictures are too few"):
        find_label_issues(np.zeros((19, 3)), np.zeros(19, int), "classify", 2)


def test_one_table_of_answers_at_a_time_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clusters(300, classes=6)
    every = find_label_issues(x, y, "classify", 6)
    monkeypatch.setattr(label_issues, "_HELD", 0)
    monkeypatch.setattr(label_issues, "_ROWS", 7)
    few = find_label_issues(x, y, "classify", 6)
    np.testing.assert_allclose(few.probabilities, every.probabilities, rtol=1e-12)
    np.testing.assert_array_equal(few.suggested, every.suggested)
    assert few.wrong == every.wrong


def test_the_kernel_of_many_pictures_is_never_whole_and_comes_to_the_same(monkeypatch):
    x = np.random.default_rng(0).normal(size=(6000, 16)).astype(np.float32)
    whole = label_issues._kernel_features(x, 0)
    monkeypatch.setattr(label_issues, "_CELLS", 1 << 19)
    tracemalloc.start()
    parts = label_issues._kernel_features(x, 0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(parts, whole)
    landmarks = 8 * label_issues.LANDMARKS**2  # of which the decomposition takes several tables
    assert most < 1.5 * whole.nbytes + 3 * landmarks
