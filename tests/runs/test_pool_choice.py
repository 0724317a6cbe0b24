"""What is said of a pool: by how much it gained in pairs, and why it is not used."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from transferkit.errors import DataError
from transferkit.evaluation.metric_registry import goal
from transferkit.features.row_blocks import StoredRows
from transferkit.runs import pool_choice
from transferkit.runs.pool_choice import PoolChoice, require_memory
from transferkit.selection.candidate_scores import Judge
from transferkit.selection.choice import HeadChoice, choose, sets
from transferkit.selection.linear import Discriminant, Ridge
from transferkit.selection.unlabeled import Taught, Way, WayScore

N, WIDTH = 60, 8


@pytest.fixture
def found() -> tuple[HeadChoice, Taught, Judge]:
    """What was chosen of two classifiers, and what it may learn from."""
    rng, labels = np.random.default_rng(0), np.arange(N) % 2
    x = (rng.normal(size=(N, 1, WIDTH)) + labels[:, None, None]).astype(np.float32)
    judge, y = Judge("classify", labels, ("a", "b"), goal("accuracy", "classify")), np.eye(2)[labels]
    rounds = [np.array_split(rng.permutation(N), 5) for _ in range(2)]
    choice = choose(x, y, rounds, sets({"last": (0, WIDTH)}, [Discriminant(), Ridge()]), judge)
    return choice, Taught(x, y, rng.normal(size=(30, WIDTH)).astype(np.float32), choice.trial), judge


def asked(found: tuple[HeadChoice, Taught, Judge], gain: float, error: float) -> PoolChoice:
    choice, taught, judge = found
    best = WayScore(way=Way(own=True), trial=choice.trial, gain=gain, error=error)
    return PoolChoice(
        found=choice, best=best, taught=taught, judge=judge, metric="accuracy", score=0.648, interval=(0.5, 0.75)
    )  # fmt: skip


def test_the_gain_has_its_range_and_no_score_that_choosing_flatters_stands_beside_it(
    found: tuple[HeadChoice, Taught, Judge],
) -> None:
    choice, record = asked(found, 0.05, 0.02).outcome(True)
    assert record.words == (
        "30 unlabelled pictures are learnt from, by labels of similar pictures and the classifier's own answers, the "
        "best of 4 ways: gain in accuracy +0.050 (+0.011 to +0.089), by cross-validation"
    )
    assert (choice.score, choice.interval) == (0.648, (0.5, 0.75))
    assert choice.table[0].chosen
    assert choice.table[0].name.endswith(" with unlabelled pictures")
    assert sum(row.chosen for row in choice.table) == 1


def test_what_did_not_gain_is_told_apart_from_what_may_not_be_shipped(
    found: tuple[HeadChoice, Taught, Judge],
) -> None:
    choice, record = asked(found, -0.003, 0.011).outcome(False)
    assert record.words == (
        "30 unlabelled pictures were tried in 4 ways and are not used: best gain in accuracy -0.003 (-0.025 to "
        "+0.019), by cross-validation"
    )
    assert choice.score == 0.648, "that they were tried is part of the choice"
    assert choice.table == found[0].table
    _, refused = asked(found, 0.05, 0.02).outcome(False)
    assert "not used, since the model would cost more than it may: best gain in accuracy +0.050" in refused.words


def test_a_pool_is_refused_where_features_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_choice, "most_in_memory", lambda: 4000)
    x = np.zeros((20, 1, 10), np.float32)
    rows: Any = SimpleNamespace(x=x, kind=SimpleNamespace(width=10))
    few: Any = range(100)
    require_memory(rows, few)
    with pytest.raises(DataError, match="--unlabeled needs the features of all pictures in memory"):
        require_memory(rows, range(101))  # type: ignore[arg-type]
    rows.x = StoredRows(lambda places: x[places], (20, 1, 10))
    require_memory(rows, few)
    rows.x = StoredRows(lambda places: x[places], (101, 1, 10))
    with pytest.raises(DataError, match="101 pictures with labels"):
        require_memory(rows, few)
