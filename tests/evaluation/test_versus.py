"""A difference on the same pictures is called one where it is one, and chance is called chance at the stated rate."""

from __future__ import annotations

import numpy as np
import pytest

from tests.records import metrics_of
from transferkit.evaluation import metrics
from transferkit.evaluation.intervals import mcnemar
from transferkit.evaluation.versus import LEVEL, Answers, edge, interval, verdicts

NAMES = ["a", "b", "c"]


def answers(rng: np.random.Generator, true: np.ndarray, accuracy: float) -> Answers:
    """Probabilities that are right for a share `accuracy` of the pictures."""
    guess = np.where(rng.random(len(true)) < accuracy, true, (true + 1) % 3)
    return Answers(0.8 * np.eye(3)[guess] + 0.2 / 3)


def test_accuracy_is_tested_by_mcnemar_and_24_against_26_of_36_is_no_difference() -> None:
    true = np.zeros(36, np.int64)
    own, other = np.arange(36) < 24, np.arange(36) >= 10
    pair = [Answers(np.eye(3)[np.where(hits, 0, 1)]) for hits in (own, other)]
    found = edge("classify", "accuracy", true, *pair, NAMES)
    assert found is not None
    assert found.gain == pytest.approx(-2 / 36)
    assert found.p == mcnemar(own, other) > 0.5
    assert found.low < 0 < found.high


@pytest.mark.parametrize("key", ["accuracy", "loss", "macro_f1", "brier", "roc_auc", "top3_accuracy"])
def test_the_sign_is_that_of_better_whatever_the_score(key: str) -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=300)
    good, bad = answers(rng, true, 0.95), answers(rng, true, 0.6)
    found = edge("classify", key, true, good, bad, NAMES)
    assert found is not None
    if key == "top3_accuracy":  # of three classes: no difference at all
        assert found[0] == 0
        assert found.p == 1
        return
    assert found.low > 0
    assert found.p < 0.01
    own, other = (metrics.score("classify", true, a.outputs, NAMES)[key] for a in (good, bad))
    assert found.gain == pytest.approx(abs(own - other))
    swapped = edge("classify", key, true, bad, good, NAMES)
    assert swapped is not None
    assert swapped.gain == pytest.approx(-found.gain)


def test_labels_and_their_thresholds_go_with_their_own_answers() -> None:
    rng = np.random.default_rng(1)
    true = rng.integers(0, 2, (200, 3))
    outputs = np.clip(0.35 * true + 0.1 + 0.1 * rng.random((200, 3)), 0, 1)
    low, high = Answers(outputs, np.full(3, 0.3)), Answers(outputs)
    found = edge("multilabel", "micro_f1", true, low, high, NAMES)
    assert found is not None
    assert found.gain > 0.2
    same = edge("multilabel", "map", true, low, high, NAMES)
    assert same is not None
    assert (same.gain, same.p) == (0.0, 1.0)


def test_a_clear_r2_is_told_from_the_mean() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=(100, 1))
    guess = Answers(0.4 * y + 0.4 * rng.normal(size=y.shape))
    flat = Answers(np.full_like(y, np.median(y)))
    found = edge("regress", "r2", y, guess, flat, ["age"])
    assert found is not None
    own, other = (metrics.score("regress", y, a.outputs, ["age"])["r2"] for a in (guess, flat))
    assert found.gain == pytest.approx(own - other)
    assert found.p < 0.01


@pytest.mark.parametrize("count", [20, 100])
def test_equals_are_told_apart_in_no_more_than_the_stated_share_of_cases(count: int) -> None:
    """p < .05 in at most 5 % of 400 draws (and three standard errors): exact tests, small samples, heavy tails."""
    rng = np.random.default_rng(count)
    accused = {"accuracy": 0, "mae": 0, "r2": 0}
    covered = 0
    for _ in range(200):
        true = rng.integers(3, size=count)
        pair = answers(rng, true, 0.75), answers(rng, true, 0.75)
        found = edge("classify", "accuracy", true, *pair, NAMES)
        accused["accuracy"] += found.p < LEVEL
        covered += found.low <= 0 <= found.high
        y = rng.normal(size=(count, 1))
        pair = tuple(Answers(y + rng.standard_t(3, size=y.shape)) for _ in range(2))
        for key in ("mae", "r2"):
            accused[key] += edge("regress", key, y, *pair, ["y"]).p < LEVEL
    assert max(accused.values()) <= 200 * LEVEL + 3 * np.sqrt(200 * LEVEL)
    assert covered >= 200 * 0.95 - 3 * np.sqrt(200 * LEVEL)


def test_several_rivals_are_adjusted_for() -> None:
    rivals = {
        name: {"accuracy": 0.95, "against": {"accuracy": {"gain": -0.05, "low": -0.1, "high": -0.01, "p": p}}}
        for name, p in (("x", 0.02), ("y", 0.03), ("z", 0.04))
    }
    content = {"test": {"accuracy": 0.9}, "baselines": rivals}
    found = metrics_of(content)
    assert [(v.state, v.p) for v in verdicts(found, "accuracy")] == [
        ("unclear", pytest.approx(0.06)), ("unclear", pytest.approx(0.06)), ("unclear", pytest.approx(0.06))
    ]  # fmt: skip
    alone = metrics_of({**content, "baselines": {"x": rivals["x"]}})
    assert [v.state for v in verdicts(alone, "accuracy")] == ["ahead"]
    assert verdicts(found, "a_plugins_metric") == []


@pytest.mark.parametrize("key", ["mae", "r2"])
def test_a_score_by_itself_has_an_interval_that_holds_the_true_value(key: str) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(40):
        true = rng.normal(0, 3, (80, 1))
        guess = true + rng.normal(0, 1, true.shape)
        found = interval("regress", key, true, Answers(guess), ["t"], seed)
        assert found is not None
        held += found[0] <= {"mae": np.sqrt(2 / np.pi), "r2": 1 - 1 / 9}[key] <= found[1]
    assert held >= 33


def test_labels_are_judged_by_their_own_thresholds_and_undefined_scores_have_no_interval() -> None:
    rng = np.random.default_rng(0)
    true = (rng.random((60, 2)) < 0.4).astype(np.int64)
    outputs = np.clip(0.1 * true + 0.1 * rng.random(true.shape), 0, 1)
    found = interval("multilabel", "micro_f1", true, Answers(outputs, np.array([0.1, 0.1])), ["a", "b"])
    assert found is not None
    assert found[0] > 0.9
    assert interval("multilabel", "map", np.zeros_like(true), Answers(outputs), ["a", "b"]) is None
