"""Any metric can be the goal: of every task, whichever way is up."""

import numpy as np
import pytest

from tests.runs.test_scoring import Pictures
from transferkit.evaluation.goals import GOALS
from transferkit.runs.results import judge


def logits(task, good, n=90):
    """Targets, and network outputs that know them well or hardly."""
    rng = np.random.default_rng(1)
    noise, width = rng.normal(size=(n, 6)), 2.5 if good else 0.3
    if task == "classify":
        targets = rng.integers(0, 6, n)
        return targets, noise + width * np.eye(6)[targets], list("abcdef")
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
