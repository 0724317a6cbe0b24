"""What a student is taught: half the labels, half what the teacher said of pictures that were left out."""

import numpy as np
import pytest

from transferkit import tasks
from transferkit.config import Settings
from transferkit.runs import distilling
from transferkit.runs.distilling import DistilledJob, soft_targets, student_settings
from transferkit.runs.finetune import Job
from transferkit.training.problem import Problem

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("task", tasks.NAMES)
def test_soft_targets_are_encoded_as_the_loss_wants_them(task):
    soft = soft_targets(LOGITS, 2.0, task)
    assert soft.shape == LOGITS.shape
    link = tasks.of(task).link
    if link == "softmax":
        assert np.allclose(soft.sum(1), 1)
        assert soft[0, 0] / soft[0, 1] == pytest.approx(np.exp(1.5)), "at the temperature"
    elif link == "sigmoid":
        assert soft[0] == pytest.approx(1 / (1 + np.exp(-LOGITS[0] / 2)))
    else:
        assert np.array_equal(soft, LOGITS), "numbers are standardised already"


def test_only_training_pictures_are_taught_and_the_labels_still_count(monkeypatch):
    """Six pictures, of which 1, 2, 4 and 5 are known: 1 and 4 are trained on, 2 and 5 validate."""
    targets = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0, 1]]
    known, soft = np.array([1, 2, 4, 5]), np.array([[0.3, 0.7], [0.6, 0.4], [0.8, 0.2], [0.1, 0.9]])
    monkeypatch.setattr(
        Job, "_problem", lambda self, train, val: Problem(None, train, val, targets, None, None)
    )  # fmt: skip
    job = object.__new__(DistilledJob)
    job.known, job.soft = known, soft
    found = job._problem(np.array([1, 4]), np.array([2, 5])).targets
    half = distilling.SOFT
    assert found[1] == pytest.approx((1 - half) * targets[1] + half * soft[0])
    assert found[4] == pytest.approx((1 - half) * targets[4] + half * soft[2])
    assert np.array_equal(found[[0, 2, 3, 5]], targets[[0, 2, 3, 5]]), "validation and test keep their labels"


def test_soft_targets_are_not_taken_for_labels_on_their_way_to_the_loss():
    soft = np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]], np.float32)
    kind = tasks.of("classify")
    assert kind.smoothed(soft, 0.0) == pytest.approx(soft)
    assert kind.smoothed(soft, 0.3) == pytest.approx(0.7 * soft + 0.1)
    assert kind.smoothed(np.eye(3, dtype=np.float32), 0.3) == pytest.approx(0.7 * np.eye(3) + 0.1)


def test_a_student_has_the_teachers_data_and_its_classifier_is_chosen():
    teacher = Settings(
        backbone="vgg16", seed=3, split=(0.6, 0.2, 0.2), augment="none", unfreeze="from:block5", budget=9
    )
    found = student_settings(teacher, "mini", "from:block4", "classify")
    assert (found.backbone, found.unfreeze, found.label_smoothing) == ("mini", "from:block4", 0.0)
    assert found.chooses_head
    assert (found.seed, found.split, found.augment, found.budget) == (3, (0.6, 0.2, 0.2), "none", None)
    frozen = student_settings(teacher, "mini", None, "classify")
    assert frozen.unfreeze == "none"
    assert frozen.chooses_head
