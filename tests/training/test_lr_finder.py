from itertools import pairwise

import numpy as np
import pytest

from transferkit import compute
from transferkit.training import lr_finder, optimizers
from transferkit.training.batches import Batches

from .conftest import Arrays, head, toy

KEY = ("classify", "crossentropy")


def batches(scale=1.0):
    x, y = toy()
    return Batches(Arrays(x * scale), np.arange(60), y, np.ones(60, np.float32), 16, 0, 0)


def test_the_model_leaves_as_it_came_dropout_seeds_included():
    model = head()
    before = compute.values(model.variables)
    lr_finder.find(model, lambda rate: optimizers.build("adamw", rate), KEY, batches())
    for a, b in zip(before, compute.values(model.variables), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_rate_climbs_and_the_curve_ends_when_the_loss_blows_up(monkeypatch):
    monkeypatch.setattr(lr_finder, "HIGHEST", 1e4)
    _, curve = lr_finder.find(head(0.0), lambda rate: optimizers.build("sgd", rate), KEY, batches())
    climbed = [row["learning_rate"] for row in curve]
    assert climbed[0] == pytest.approx(lr_finder.LOWEST)
    assert all(a < b for a, b in pairwise(climbed))
    assert len(curve) < lr_finder.STEPS
    assert curve[-1]["loss"] > min(row["loss"] for row in curve)


def test_the_rate_found_trains_and_one_twenty_times_as_high_is_worse():
    def loss_after(rate):
        model = head(0.0)
        step = compute.steps(model, optimizers.build("momentum", rate), lr_finder.LOSSES[KEY])
        return [step(*chunk)[0] for epoch in range(3) for chunk in batches(10.0).epoch(epoch)]

    rate, _ = lr_finder.find(head(0.0), lambda r: optimizers.build("momentum", r), KEY, batches(10.0))
    assert 1e-4 < rate < 0.5
    found, high = loss_after(rate), loss_after(20 * rate)
    assert found[-1] < found[0]
    assert found[-1] < high[-1]


def test_a_curve_too_short_to_say_anything_gives_the_usual_rate():
    assert lr_finder._choose([{"learning_rate": 1e-5, "loss": 1.0}] * 5) == lr_finder.FALLBACK
