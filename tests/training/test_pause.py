"""A phase that pauses after some epochs and goes on later is the phase that never paused."""

import numpy as np
import pytest

from transferkit import compute

from ..marks import extended
from .job import recipe_for


@pytest.mark.usefixtures("one_cache")
@pytest.mark.parametrize("policy", extended(["from:block4", "none"], ["none"]))
def test_paused_twice_equals_never_paused(digits, tmp_path, policy):
    settings = {"epochs": 5, "patience": 4, "unfreeze": policy}
    whole = recipe_for(digits, **settings)
    expected = whole.run()
    for pause in (1, 3, 5):
        parts = recipe_for(digits, tmp_path / "checkpoints", **settings)
        parts.pause = pause
        found = parts.run()
        assert found.phases[-1].epochs == pause
    columns = ("phase", "epoch", "loss", "val_loss", "val_score", "learning_rate")
    assert [[r[c] for c in columns] for r in found.history] == [[r[c] for c in columns] for r in expected.history]
    np.testing.assert_array_equal(found.val_outputs, expected.val_outputs)
    for a, b in zip(compute.values(found.model.weights), compute.values(expected.model.weights), strict=True):
        np.testing.assert_array_equal(a, b)
