import re
from pathlib import Path

import numpy as np
import pytest

from transferkit import tasks, terms
from transferkit.errors import ConfigError
from transferkit.evaluation.metric_registry import GOALS, goal
from transferkit.evaluation.metrics import score

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {  # by what a task's targets are, so that a new task is asked too
    "class": (np.arange(6), np.full((6, 6), 1 / 6), list("abcdef")),
    "labels": (np.eye(4, 2, dtype=int), np.full((4, 2), 0.4), ["a", "b"]),
    "numbers": (np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0]), ["x"]),
}


@pytest.mark.parametrize(("name", "task"), [(n, t) for n, g in GOALS.items() for t in g.tasks])
def test_every_goal_is_a_score_of_each_of_its_tasks(name, task):
    assert isinstance(score(task, *EXAMPLES[tasks.of(task).form])[goal(name, task).key], float)


def test_every_task_has_a_default_goal():
    assert all(task.name in goal(task.default_metric, task.name).tasks for task in tasks.every())
    assert goal("auto", "regress").key == "mae"


@pytest.mark.parametrize("name", GOALS)
def test_every_metric_is_explained_and_no_abbreviation_goes_without_words(name):
    assert name in re.findall(r"`(\w+)`", (ROOT / "docs" / "metrics.md").read_text("utf-8"))
    key = GOALS[name].key
    assert key in terms.SCORES or not [word for word in key.split("_") if len(word) < 4], "give it words there"


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
        ("mae", "classify", r"is for regress and ordinal.*, not for classify"),
        ("loss", "clasify", "classify"),
    ],
)
def test_a_wrong_name_is_answered_with_the_allowed_ones(name, task, say):
    with pytest.raises(ConfigError, match=say):
        goal(name, task)
