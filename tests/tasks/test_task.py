"""What every task has to say for itself, whichever it is; and that nobody else asks for one by name."""

import re
from pathlib import Path

import numpy as np
import pytest

import transferkit
from transferkit import tasks
from transferkit.errors import ConfigError
from transferkit.evaluation.metric_registry import GOALS, goal
from transferkit.evaluation.metrics import score

CLASSES = ["a", "b", "c", "d"]
ROOT = Path(transferkit.__file__).parent


def targets_of(task, n=40):
    rng = np.random.default_rng(0)
    if task.exclusive:
        return rng.permutation(np.arange(n) % 4)
    if task.numbers:
        return rng.normal(20, 3, (n, 4))
    return (rng.random((n, 4)) < 0.5).astype(np.float32)


def logits_of(task, n=40, seed=1):
    return np.random.default_rng(seed).normal(0, 3, (n, task.logits(4)))


@pytest.fixture(params=tasks.NAMES)
def task(request):
    return tasks.of(request.param)


def test_the_scores_that_a_task_names_are_scores_of_its_own(task):
    targets = targets_of(task)
    encoded, units = task.encoded(targets, 4, np.arange(40))
    found = score(task.name, targets, task.answers(logits_of(task), 1.0, units), CLASSES)
    for name in task.metrics:
        assert GOALS[name].key in found or name == "top5_accuracy", name  # of more classes than there are here
        assert task.name in goal(name, task.name).tasks
    assert {task.default_metric, task.safe_metric} <= set(task.metrics)
    assert {task.judged_by, *task.shown_first, *task.hub_metrics} <= set(found)
    assert encoded.shape == (40, task.logits(4))
    assert encoded.dtype == np.float32


def test_losses_and_candidates_are_there(task):
    from transferkit.selection.candidates import LEARNERS
    from transferkit.training.losses import FUNCTIONS

    assert set(task.losses.values()) <= set(FUNCTIONS)
    assert task.default_loss in task.losses
    assert set(task.candidates) <= set(LEARNERS)


def test_who_is_right_and_sure_scores_best(task):
    targets = targets_of(task)
    encoded, units = task.encoded(targets, 4, np.arange(40))
    right = task.sure(targets, 4) if units is None else (task.sure(targets, 4) - units[0]) / units[1]
    found = score(task.name, targets, task.answers(right, 1.0, units), CLASSES)
    assert found[task.judged_by] == 1
    assert found[task.faultless[0]] == pytest.approx(task.faultless[1])
    hits = task.hits(right, encoded)
    assert hits is None or hits.all()
    assert (task.surprise(targets, task.answers(right, 1.0, units)) < 1e-3).all()


def test_layers_answer_as_numpy_does(task):
    import keras

    logits, units = logits_of(task).astype(np.float32), (np.arange(4.0), np.arange(1.0, 5))
    units = units if task.numbers else None
    x = inputs = keras.Input(logits.shape[1:])
    for layer in task.output_layers(1.7, units):
        x = layer(x)
    found = keras.ops.convert_to_numpy(keras.Model(inputs, x)(logits))
    np.testing.assert_allclose(found, task.answers(logits, 1.7, units), atol=1e-5)


def test_scores_by_picture_are_the_scores(task):
    """Where a score is a mean over pictures, it is that of what each picture is said to add to it."""
    targets = targets_of(task)
    units = task.encoded(targets, 4, np.arange(40))[1]
    one, other = (task.answers(logits_of(task, seed=s), 1.0, units) for s in (1, 2))
    seen = 0
    for key in {GOALS[name].key for name in task.metrics}:
        each = [task.per_picture(key, targets, answers) for answers in (one, other)]
        if each[0] is None or key == "top5_accuracy":  # of more classes than there are here
            continue
        difference = score(task.name, targets, one, CLASSES)[key] - score(task.name, targets, other, CLASSES)[key]
        assert (each[0] - each[1]).mean() == pytest.approx(difference, abs=1e-9), key
        seen += 1
    assert seen or task.name == "multilabel"


def test_a_model_agrees_with_itself_and_a_temperature_lowers_the_likelihood(task):
    targets = targets_of(task)
    units = task.encoded(targets, 4, np.arange(40))[1]
    answers = task.answers(logits_of(task), 1.0, units)
    assert task.agreement(answers, answers, None, 1e-4) == (None if task.numbers else 1.0)
    if task.calibrated:
        wild = 20 * logits_of(task)
        assert task.likelihood(wild, targets, 20.0) < task.likelihood(wild, targets, 1.0)


def test_an_unknown_task_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"task 'ordinals' is unknown; tasks: classify, .*nearest: 'ordinal'"):
        tasks.of("ordinals")
    assert tasks.named("auto") is None


def test_nobody_branches_on_the_name_of_a_task():
    """What differs by task is said by the task: elsewhere its name is compared with other names at most."""
    quoted = "|".join(tasks.NAMES)
    branch = re.compile(rf"""(==|!=|\bin \(|\{{)\s*["']({quoted})["']|===? "({quoted})"|["']({quoted})["']:""")
    files = [*ROOT.rglob("*.py"), *ROOT.rglob("*.j2"), *ROOT.rglob("*.html")]
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in files
        if file.parent != ROOT / "tasks" and file.name != "synonyms.py"
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if branch.search(line)
    ]
    assert len(files) > 200
    assert not found
