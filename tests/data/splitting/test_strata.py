"""Units are dealt out by their labels, none of which is lost to a part for another's sake."""

from __future__ import annotations

import numpy as np

from transferkit.data.splitting import strata
from transferkit.data.splitting.strata import UnitLabels


def test_a_label_is_brought_to_a_part_by_a_unit_that_takes_no_other_from_where_it_was() -> None:
    # Units 0 {a, b} and 1 {a} are in the first part, 2 {b} is in the second, which lacks a.
    labels = UnitLabels(np.array([0, 0, 1, 2]), np.array([0, 1, 0, 1]), np.ones(4, np.int64), 3, 2)
    parts = np.array([0, 0, 1])
    strata._reach_every_part(parts, labels, np.array([0.5, 0.5]))
    assert parts.tolist() == [0, 1, 1]
