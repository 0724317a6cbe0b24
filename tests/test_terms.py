"""Plain words for whatever files call it, and no key without words."""

from __future__ import annotations

import pytest

from transferkit import terms
from transferkit.evaluation.diagnosis import GOOD, RULES
from transferkit.tasks import NAMES


def test_every_diagnosis_has_words() -> None:
    assert {name for name, _ in RULES} | {GOOD, "unknown"} == set(terms.STATES)


@pytest.mark.parametrize("task", NAMES)
def test_baselines_in_words(task: str) -> None:
    for name in ("majority", "linear_probe", "nearest_neighbours", "random_weights"):
        label, phrase = terms.rival(name, task)
        assert "_" not in label + phrase
        assert len(label) <= 56, "too long for a table of 80 columns"
    assert "(linear probe)" in terms.rival("linear_probe", task).label
    assert terms.rival("of_a_plugin", task).label == "of a plugin"


@pytest.mark.parametrize(
    ("name", "plain", "technical"),
    [
        ("head", "new classifier", "new classifier (head)"),
        ("tail", "upper layers", "upper layers (tail)"),
        ("tail from:block5", "upper layers from:block5", "upper layers from:block5 (tail)"),
        ("fold 2/5", "fold 2/5", "fold 2/5"),
    ],
)
def test_phases_in_words(name: str, plain: str, technical: str) -> None:
    assert terms.phase(name) == plain
    assert terms.phase(name, technical=True) == technical


def test_scores_in_words() -> None:
    assert terms.score("mae") == "mean absolute error"
    assert terms.score("balanced_accuracy") == "balanced accuracy"
