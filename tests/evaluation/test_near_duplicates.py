"""Copies are found, neighbours are not."""

import numpy as np
import pytest

from transferkit.evaluation import near_duplicates as module
from transferkit.evaluation.near_duplicates import near_duplicates


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(0).normal(size=(900, 50)).astype(np.float32) * np.linspace(
        0.1, 10, 50, dtype=np.float32
    )


def test_honest_pictures_have_no_twin_and_copies_have(features):
    train, others = features[:600], features[600:]
    assert near_duplicates(train, others) == 0
    noise = 0.01 * np.random.default_rng(1).normal(size=(40, 50)) * features.std(0)
    copies = np.concatenate([others[:100], train[:40] + noise])
    assert near_duplicates(train, copies) == 40


def test_scale_and_constant_features_change_nothing(features):
    wide = np.concatenate([1000 * features, np.ones((900, 3))], axis=1)
    assert near_duplicates(wide[:600], wide[590:700]) == 10


def test_no_pictures_have_no_near_duplicates(features):
    assert near_duplicates(features[:19], features[:19]) == 0
    assert near_duplicates(features, features[:0]) == 0


def test_comparing_a_few_at_once_finds_the_same_distances(features, monkeypatch):
    stored, own = features[:600], np.arange(100, 500)
    apart = np.linalg.norm(stored[own][:, None] - stored, axis=2)
    apart[np.arange(len(own)), own] = np.inf
    monkeypatch.setattr(module, "CELLS", 7 * len(stored))
    np.testing.assert_allclose(module._nearest(stored[own], stored, own), apart.min(1), rtol=1e-4)
