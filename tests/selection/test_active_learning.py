"""Which pictures to label next: those chosen teach more than as many drawn at random."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.selection import active_learning
from transferkit.selection.active_learning import FEW, typical, unsure, worth_labelling

STEPS = (20, 40)


def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.asarray(bunch.data / 16, np.float32), np.asarray(bunch.target)


def course(seed: int, chosen: bool) -> list[float]:
    """Accuracy on 600 other digits of logistic regression on as many labels as `STEPS` say."""
    from sklearn.linear_model import LogisticRegression

    x, y = digits()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    tested, pool = order[:600], order[600:1400]
    learnt, answers, scores = np.zeros(0, np.int64), None, []
    for step in STEPS:
        rest, count = np.setdiff1d(pool, learnt), step - len(learnt)
        if chosen:
            picks = worth_labelling(x[rest], x[learnt], count, answers, len(learnt), seed)
            picked = rest[[pick.index for pick in picks]]
        else:
            picked = rng.permutation(rest)[:count]
        learnt = np.concatenate([learnt, picked])
        model = LogisticRegression(C=5).fit(x[learnt], y[learnt])
        scores.append(model.score(x[tested], y[tested]))
        answers = np.zeros((len(rest) - count, 10))
        answers[:, model.classes_] = model.predict_proba(x[np.setdiff1d(pool, learnt)])
    return scores


def test_chosen_pictures_teach_more_than_as_many_drawn() -> None:
    gain = np.mean([np.subtract(course(seed, True), course(seed, False)) for seed in range(3)], axis=0)
    assert (gain > 0.02).all(), gain


def test_unsure_pictures_teach_more_once_there_are_labels_enough() -> None:
    """On two classes whose border is what matters, by a model that knows roughly where it is."""
    from sklearn.linear_model import LogisticRegression

    gains = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(2000, 5)).astype(np.float32)
        y = (x[:, 0] + 0.5 * x[:, 1] > 0).astype(int)
        first, pool, tested = np.arange(40), np.arange(40, 1200), np.arange(1200, 2000)
        model = LogisticRegression(C=10).fit(x[first], y[first])
        picks = worth_labelling(x[pool], x[first], 20, model.predict_proba(x[pool]), len(first), seed)
        assert not any(pick.stands_for for pick in picks)
        scores = []
        for more in (pool[[pick.index for pick in picks]], rng.permutation(pool)[:20]):
            learnt = np.concatenate([first, more])
            scores.append(LogisticRegression(C=10).fit(x[learnt], y[learnt]).score(x[tested], y[tested]))
        assert len(first) >= 2 * FEW
        gains.append(scores[0] - scores[1])
    assert np.mean(gains) > 0.01, gains


def test_typical_pictures_come_from_clusters_that_nobody_has_labelled() -> None:
    rng = np.random.default_rng(0)
    centres = 10 * np.eye(4, 6)
    pool = (np.repeat(centres, [40, 30, 20, 10], axis=0) + rng.normal(size=(100, 6))).astype(np.float32)
    known = (centres[:1] + rng.normal(size=(3, 6))).astype(np.float32)
    picks = typical(pool, known, 3, 0)
    assert {int(np.searchsorted([40, 70, 90], pick.index, side="right")) for pick in picks} == {1, 2, 3}
    assert picks[0].stands_for >= picks[-1].stands_for


def test_of_pictures_that_are_as_unsure_each_kind_is_asked_once() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(3, 5)
    pool = (np.repeat(centres, [60, 20, 20], axis=0) + 0.02 * rng.normal(size=(100, 5))).astype(np.float32)
    picks = unsure(pool, np.full((100, 2), 0.5), 3, 0)
    assert sorted(int(np.searchsorted([60, 80], i, side="right")) for i in picks) == [0, 1, 2]


@pytest.mark.parametrize("labels", [0, 1000])
def test_never_the_same_twice_and_never_more_than_there_are(labels: int) -> None:
    x, _ = digits()
    some = np.concatenate([x[:15], x[:15]])  # and copies do no harm
    answers = np.full((30, 10), 0.1) if labels else None
    picks = worth_labelling(some, x[100:120], 50, answers, labels)
    assert len({pick.index for pick in picks}) == len(picks) == 30


def test_what_is_dense_does_not_depend_on_how_many_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    z, _ = digits()
    whole = active_learning._density(z[:500])
    monkeypatch.setattr(active_learning, "BLOCK", 64)
    assert np.allclose(active_learning._density(z[:500]), whole, rtol=1e-5)
    squares = ((z[:3, None] - z[None, :3]) ** 2).sum(2)
    assert np.allclose(active_learning._density(z[:3]), 1 / (np.sqrt(squares).sum(1) / 2), rtol=1e-4)
