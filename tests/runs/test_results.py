"""Any metric can be the goal: of every task, whichever way is up."""

import numpy as np
import pytest

from tests.runs.test_scoring import Pictures
from transferkit.errors import DataError
from transferkit.evaluation.metric_registry import GOALS
from transferkit.runs.results import answer, judge


def logits(task, good, n=90):
    """Targets, and network outputs that know them well or hardly."""
    rng = np.random.default_rng(1)
    noise, width = rng.normal(size=(n, 6)), 2.5 if good else 0.3
    if task == "classify":
        targets = rng.integers(0, 6, n)
        return targets, noise + width * np.eye(6)[targets], list("abcdef")
    if task == "ordinal":
        targets = rng.integers(0, 6, n)
        return targets, noise[:, :5] + width * (2 * (targets[:, None] > np.arange(5)) - 1), list("abcdef")
    if task == "multilabel":
        targets = (rng.random((n, 6)) < 0.4).astype(int)
        return targets, noise + width * (2 * targets - 1), list("abcdef")
    targets = rng.normal(20, 3, (n, 2))
    return targets, (targets - 20) / 3 + noise[:, :2] / (2 * width), ["x", "y"]


@pytest.mark.parametrize(("name", "task"), [(name, task) for name, row in GOALS.items() for task in row.tasks])
def test_a_better_network_is_better_by_every_goal(name, task):
    found = {}
    for good in (True, False):
        targets, outputs, classes = logits(task, good)
        units = (np.full(2, 20.0), np.full(2, 3.0)) if task == "regress" else None
        goal = judge(Pictures(task=task, targets=targets, classes=classes), name, units)
        found[good] = goal.score(outputs)
        assert np.isfinite(found[good])
    if name != "ece":  # confidence that is right is a matter of its own
        assert goal.better((found[True], 0.0), (found[False], 0.0))


@pytest.mark.parametrize(
    ("task", "targets", "name", "why"),
    [
        (
            "classify",
            np.zeros(9, int),
            "auc",
            "--metric auc says nothing on the 9 validation pictures: all are of class",
        ),
        ("classify", np.ones(9, int), "pr_auc", "all are of class 'b'"),  # 1 for every answer
        ("classify", np.ones(9, int), "accuracy", None),
        ("classify", np.array([1]), "accuracy", None),
        ("multilabel", np.array([[1, 0]]), "subset_accuracy", None),
        ("multilabel", np.tile([1, 0], (9, 1)), "roc_auc", "all have the label a; choose another (--metric loss)"),
        ("multilabel", np.zeros((9, 2), int), "map", "all have the label none"),
        ("regress", np.full((9, 2), 3.5), "r2", "the target is 3.5;3.5 in all; choose another (--metric mae)"),
        ("regress", np.full((9, 2), 3.5), "spearman", "the target is 3.5;3.5 in all"),
        ("regress", np.arange(9.0)[:, None] * np.ones(2), "mape", "some targets are 0"),
        ("regress", np.full((9, 2), 3.5), "mae", None),
    ],
)
def test_a_goal_that_says_nothing_on_validation_is_refused(task, targets, name, why):
    class Labelled(Pictures):
        def label(self, i):
            if task == "multilabel":
                return ";".join(c for c, on in zip("ab", targets[i], strict=True) if on)
            return ";".join(map(str, targets[i]))

    samples = Labelled(task=task, targets=targets, classes=["a", "b"])
    units = (np.full(2, 3.5), np.ones(2)) if task == "regress" else None
    if why is None:
        assert np.isfinite(judge(samples, name, units).score(np.zeros((len(targets), 2))))
        return
    with pytest.raises(DataError) as found:
        judge(samples, name, units)
    assert why in str(found.value)


def test_numbers_are_judged_exactly_and_answered_as_the_model_answers():
    units = (np.array([1700000000.0]), np.array([2.0]))
    targets = 1700000000.0 + np.arange(5.0)[:, None]
    goal = judge(Pictures(task="regress", targets=targets, classes=["y"]), "mae", units)
    exact = (targets - units[0]) / units[1]
    assert goal.score(exact) == 0
    assert goal.score(exact + 0.25) == pytest.approx(0.5)
    answers = answer("regress", exact, 1.0, units)
    np.testing.assert_array_equal(answers, np.float32(targets))
    assert answers.dtype == np.float64
