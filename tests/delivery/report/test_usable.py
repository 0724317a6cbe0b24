"""Can I use it? Every answer rests on the test split, and no comparison is made without evidence."""

import pytest

from tests.records import metrics_of
from transferkit.delivery.report.usable import usable

TEST = {"n": 200, "accuracy": 0.9, "accuracy_ci95": [0.85, 0.93]}
BEHIND = {"gain": 0.5, "low": 0.4, "high": 0.6, "p": 1e-9}
AHEAD = {"gain": -0.08, "low": -0.12, "high": -0.04, "p": 1e-6}
UNCLEAR = {"gain": 0.01, "low": -0.05, "high": 0.07, "p": 0.7}


def against(edge, value=0.4, key="accuracy"):
    return {key: value, "against": {key: edge}}


def metrics(**more):
    return metrics_of({"task": "classify", "test": TEST, "baselines": {"majority": against(BEHIND)}, **more})


def said(**more):
    state, sentences = usable(metrics(**more))
    assert 1 <= len(sentences) <= 2
    return state, " ".join(sentences)


def test_yes_says_what_one_must_live_with():
    state, text = said()
    assert state == "yes"
    assert "of 100 new pictures like these, expect 7 to 15 wrong answers" in text


def test_a_class_that_was_not_tested_is_named_before_all_else():
    rows = [{"class": "a", "recall": 0.9, "support": 200}, *({"class": name, "support": 0} for name in "bc")]
    state, text = said(test={**TEST, "accuracy_ci95": [0.5, 0.9], "per_class": rows})
    assert state == "yes"
    assert text.endswith("No test picture shows b, c: how well these are recognised is not known.")


@pytest.mark.parametrize("edge", [UNCLEAR, AHEAD])
def test_a_model_that_does_not_beat_guessing_is_not_fit_for_use(edge):
    state, text = said(baselines={"majority": against(edge, 0.89)})
    assert state == "no"
    assert "always answering the most frequent class" in text


def test_a_baseline_that_wins_is_to_be_used_instead_only_with_evidence():
    state, text = said(baselines={"majority": against(BEHIND), "linear_probe": against(AHEAD, 0.98)})
    assert state == "care"
    assert "the simplest classifier on the same network" in text
    state, text = said(baselines={"majority": against(BEHIND), "linear_probe": against(UNCLEAR, 0.98)})
    assert state == "yes"
    assert "no clear difference from the simplest classifier" in text.lower()


def test_leakage_and_no_test_are_no_ground_for_a_yes():
    state, text = said(diagnosis={"state": "leakage suspected", "evidence": ["…"]})
    assert state == "no"
    assert "wrong answers" not in text
    assert said(test={"n": 0})[0] == "unknown"
    assert said(test={"n": 5, "accuracy": None}, baselines={})[0] == "unknown"


def test_without_a_test_cross_validation_is_called_by_its_name():
    judged = {"score": 0.81, "ci95": [0.77, 0.85], "folds": 5, "rounds": 1, "metric": "accuracy"}
    state, text = said(test={"n": 0}, cross_validation=judged)
    assert state == "unknown"
    assert "By cross-validation of the training pictures, expect accuracy 0.810 (95 % interval 0.770 to 0.850)" in text


def test_a_promise_to_abstain_is_repeated_only_where_test_kept_it():
    kept = {"accuracy": 0.95, "threshold": 0.8, "test_accuracy": 0.97, "test_coverage": 0.6,
            "test_accuracy_ci95": [0.92, 0.99]}  # fmt: skip
    text = said(abstention=[kept])[1]
    assert "at least 80 % confidence were right in 97 % (95 % interval 92 to 99 %); 60 % of the test pictures" in text
    assert "confidence" not in said(abstention=[{**kept, "test_accuracy": 0.94}])[1]
    assert "confidence" not in said(abstention=[{**kept, "threshold": None}])[1]


def test_a_wide_range_is_said_to_come_from_few_pictures():
    assert "40 test pictures" in said(test={"n": 40, "accuracy": 0.7, "accuracy_ci95": [0.5, 0.8]})[1]


def test_labels_and_numbers_are_answered_in_their_own_terms():
    test = {"n": 90, "map": 0.8, "micro_precision": 0.8, "micro_precision_ci95": [0.7, 0.9], "micro_recall": 0.6}
    state, text = said(task="multilabel", test=test, baselines={})
    assert (state, "expect 70 to 90 to be right, and of 100 that apply it finds about 60" in text) == ("yes", True)
    rows = [{"target": "age", "mae": 2.0, "mae_ci95": [1.5, 2.5]}, {"target": "weight", "mae": 10.0}]
    text = said(task="regress", test={"n": 90, "mae": 6.0, "per_target": rows}, baselines={})[1]
    assert "age by 1.500 to 2.500, weight by 10.000" in text  # no mean over two units
