import numpy as np
import pytest

from transferkit import tasks
from transferkit.errors import ConfigError
from transferkit.evaluation.metric_registry import GOALS, goal
from transferkit.evaluation.metrics import score

EXAMPLES = {
    "classify": (np.arange(6), np.full((6, 6), 1 / 6), list("abcdef")),
    "multilabel": (np.eye(4, 2, dtype=int), np.full((4, 2), 0.4), ["a", "b"]),
    "ordinal": (np.arange(6), np.full((6, 6), 1 / 6), list("abcdef")),
    "regress": (np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0]), ["x"]),
}


@pytest.mark.parametrize(("name", "task"), [(n, t) for n, g in GOALS.items() for t in g.tasks])
def test_every_goal_is_a_score_of_each_of_its_tasks(name, task):
    assert isinstance(score(task, *EXAMPLES[task])[goal(name, task).key], float)


def test_every_task_has_a_default_goal():
    assert all(task.name in goal(task.default_metric, task.name).tasks for task in tasks.every())
    assert goal("auto", "regress").key == "mae"


def test_direction_decides_what_is_better_and_undefined_never_wins():
    accuracy, loss = goal("accuracy", "classify"), goal("loss", "classify")
    assert accuracy.better(0.9, 0.8)
    assert not accuracy.better(0.8, 0.8)
    assert loss.better(0.8, 0.9)
    assert accuracy.better(0.0, None)
    assert not accuracy.better(None, 0.1)
    assert not loss.better(float("nan"), 1.0)


@pytest.mark.parametrize(
    ("name", "task", "say"),
    [
        ("acuracy", "classify", "'accuracy'"),
        ("mae", "classify", "is for regress and ordinal, not for classify"),
        ("loss", "clasify", "classify"),
    ],
)
def test_a_wrong_name_is_answered_with_the_allowed_ones(name, task, say):
    with pytest.raises(ConfigError, match=say):
        goal(name, task)
