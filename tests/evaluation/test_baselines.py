import time
import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from transferkit.errors import DataError
from transferkit.evaluation import baselines, linear_fits
from transferkit.evaluation.baselines import Split, majority, nearest_neighbours, probe


def linear_probe(train, val, test, task, classes):
    return probe(train, val, task, classes).scored(Split(*test), task, classes)


def test_majority_answers_with_the_commonest_class_of_training():
    found = majority([0, 1, 1, 1], [0, 0, 1], "classify", ["a", "b"])
    assert found.scores["accuracy"] == pytest.approx(1 / 3)
    assert found.scores["roc_auc"] == 0.5
    assert found.predictions.tolist() == [[0.25, 0.75]] * 3


def test_a_class_unseen_in_training_is_allowed_in_test():
    assert majority([0, 0], [1, 0], "classify", ["a", "b"]).scores["accuracy"] == 0.5


def test_multilabel_answers_with_the_share_of_each_label():
    found = majority([[1, 0], [1, 0], [1, 1], [0, 0]], [[1, 0], [0, 1]], "multilabel", ["a", "b"])
    assert found.predictions[0].tolist() == [0.75, 0.25]
    assert found.scores["hamming"] == 0.5


def test_regression_answers_with_the_median():
    found = majority([1.0, 2.0, 90.0], [2.0, 4.0], "regress", ["t"])
    assert found.scores["mae"] == 1.0
    assert found.chosen == {"answer": [2.0]}
    assert majority(np.ones((3, 2)), np.ones((1, 2)), "regress", ["x", "y"]).scores["mae"] == 0


def separable(seed, n=300, width=16, count=3, noise=1.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, count, n)
    centres = np.random.default_rng(99).normal(0, 2, (count, width))
    x = (centres[y] + rng.normal(0, noise, (n, width))).astype(np.float32)
    x[:, 0] *= 1000  # features of very different scale
    x[:, 1] = 7  # and one that never changes
    return x, y


CLASSES = ["a", "b", "c"]


@pytest.mark.parametrize("rival", [linear_probe, nearest_neighbours])
def test_probes_learn_what_can_be_separated(rival):
    found = rival(separable(0), separable(1), separable(2, n=90), "classify", CLASSES)
    assert found.predictions.shape == (90, 3)
    assert found.predictions.sum(1) == pytest.approx(np.ones(90))
    floor = majority(separable(0)[1], separable(2, n=90)[1], "classify", CLASSES).scores["accuracy"]
    assert found.scores["accuracy"] > floor + 0.3


@pytest.mark.parametrize("rival", [linear_probe, nearest_neighbours])
def test_the_test_split_changes_no_choice(rival):
    one = rival(separable(0), separable(1), separable(2), "classify", CLASSES)
    x, y = separable(2)
    other = rival(separable(0), separable(1), (x, (y + 1) % 3), "classify", CLASSES)
    assert one.chosen == other.chosen
    assert (one.predictions == other.predictions).all()
    assert other.scores["accuracy"] < one.scores["accuracy"]


def test_noise_asks_for_more_than_one_neighbour():
    found = nearest_neighbours(*(separable(s, noise=8) for s in range(3)), "classify", CLASSES)
    assert found.chosen["k"] >= 5


def test_more_neighbours_than_pictures_are_not_asked_for():
    found = nearest_neighbours(separable(0, n=4), separable(1), separable(2), "classify", CLASSES)
    assert found.chosen["k"] <= 4


@pytest.mark.parametrize("rival", [linear_probe, nearest_neighbours])
def test_classes_missing_from_training_get_no_crash(rival):
    x, y = separable(0)
    for kept in ([0, 2], [1]):
        own = np.isin(y, kept)
        found = rival((x[own], y[own]), separable(1), separable(2), "classify", CLASSES)
        assert set(found.predictions.argmax(1)) <= set(kept)


@pytest.mark.parametrize("rival", [linear_probe, nearest_neighbours])
def test_multilabel_and_a_label_that_never_occurs(rival):
    def part(seed):
        x, y = separable(seed)
        return x, np.stack([y == 0, y != 2, np.zeros(len(y))], axis=1).astype(int)

    found = rival(part(0), part(1), part(2), "multilabel", CLASSES)
    assert found.scores["map"] > 0.8
    assert (found.predictions[:, 2] < 0.5).all()


@pytest.mark.parametrize("rival", [linear_probe, nearest_neighbours])
@pytest.mark.parametrize("targets", [1, 2])
def test_regression_beats_the_median(rival, targets):
    def part(seed):
        x, _ = separable(seed)
        return x, 5 + x[:, 2 : 2 + targets] * 2 if targets > 1 else 5 + x[:, 2] * 2

    names = ["u", "v"][:targets]
    found = rival(part(0), part(1), part(2), "regress", names)
    assert found.scores["mae"] < 0.8 * majority(part(0)[1], part(2)[1], "regress", names).scores["mae"]


def test_the_linear_probe_agrees_with_scikit_learn():
    train, val, test = (separable(s, noise=4) for s in range(3))
    found = linear_probe(train, val, test, "classify", CLASSES)
    scaler = StandardScaler().fit(train[0])
    model = LogisticRegression(C=found.chosen["C"], max_iter=2000).fit(scaler.transform(train[0]), train[1])
    expected = model.predict_proba(scaler.transform(test[0]))
    assert np.abs(found.predictions - expected).max() < 0.02


def test_two_thousand_by_256_takes_seconds():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 6, 3000)
    x = (rng.normal(0, 1, (6, 256))[y] * 0.3 + rng.normal(0, 1, (3000, 256))).astype(np.float32)
    parts = [(x[a:b], y[a:b]) for a, b in ((0, 2000), (2000, 2500), (2500, 3000))]
    for rival in (linear_probe, nearest_neighbours):
        start = time.process_time()
        rival(*parts, "classify", list("abcdef"))
        assert time.process_time() - start < 10  # processor time, so that a busy machine does not fail it


def test_features_that_are_not_flat_are_refused():
    bad = np.zeros((4, 7, 7, 2)), np.zeros(4, int)
    with pytest.raises(DataError, match=r"train: features \(4, 7, 7, 2\)"):
        probe(bad, bad, "classify", CLASSES)


def test_neighbours_of_many_classes_take_the_memory_of_their_answers():
    rng, names = np.random.default_rng(0), [str(c) for c in range(1000)]
    parts = [(rng.normal(size=(n, 8)).astype(np.float32), rng.integers(0, 1000, n)) for n in (2000, 300, 300)]
    tracemalloc.start()
    found = nearest_neighbours(*parts, "classify", names)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.predictions.shape == (300, 1000)
    assert most < 60e6  # the votes of 50 neighbours for 1,000 classes would be 120 MB


def test_of_very_many_a_part_decides_the_regularisation_and_the_neighbours(monkeypatch):
    train, val, test = separable(0, noise=8), separable(1, noise=8), separable(2, noise=8)
    plain = linear_probe(train, val, test, "classify", CLASSES)
    monkeypatch.setattr(baselines, "LARGE", 100 * 16 * 3)  # of 300 pictures
    monkeypatch.setattr(baselines, "STORED", 100)
    fitted = linear_probe(train, val, test, "classify", CLASSES)
    assert fitted.scores["accuracy"] == pytest.approx(plain.scores["accuracy"], abs=0.05)
    near = nearest_neighbours(train, val, test, "classify", CLASSES)
    assert near.chosen["k"] <= 100
    votes = near.predictions * (near.chosen["k"] + 1)
    assert votes.sum(1) == pytest.approx(near.chosen["k"] + 1)


def test_comparing_a_few_at_once_finds_the_same_neighbours(monkeypatch):
    parts = [separable(s, noise=8) for s in range(3)]
    whole = nearest_neighbours(*parts, "classify", CLASSES)
    monkeypatch.setattr(baselines, "CELLS", 7 * 300)
    few = nearest_neighbours(*parts, "classify", CLASSES)
    assert few.chosen == whole.chosen
    np.testing.assert_array_equal(few.predictions, whole.predictions)


def test_a_probe_that_is_fitted_in_blocks_answers_as_one_that_is_fitted_at_once(monkeypatch):
    """Of classes of which training has not all."""
    (x, y), (val_x, val_y) = separable(0, count=4), separable(1, count=4)
    train, val, classes = Split(x[y > 0], y[y > 0]), Split(val_x, val_y), list("abcd")
    monkeypatch.setattr(linear_fits.softmax, "GRADIENT", 1e-7)
    monkeypatch.setattr(baselines, "STRENGTHS", (0.1, 1.0))
    monkeypatch.setattr(linear_fits, "STEPS", 2000)
    at_once = probe(train, val, "classify", classes)
    monkeypatch.setattr(linear_fits, "MANY_ANSWERS", 0)
    monkeypatch.setattr(linear_fits, "PART", 4 * 32)
    blocks = probe(train, val, "classify", classes)
    assert blocks.chosen == at_once.chosen
    np.testing.assert_allclose(blocks.of(val_x), at_once.of(val_x), atol=1e-3)
    assert not blocks.of(val_x)[:, 0].any()
