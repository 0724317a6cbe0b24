import numpy as np
import pytest

from transferkit.evaluation.baselines import majority


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
