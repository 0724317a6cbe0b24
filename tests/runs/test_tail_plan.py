"""Layers are trained where the learning curve is flat and the time is there; else it is said why not."""

from types import SimpleNamespace

import pytest

from transferkit.evaluation.learning_curve import CLIMBS, climbs
from transferkit.evaluation.metrics_record import CurveFit, LearningCurve
from transferkit.runs import tail_plan


def fit(low):
    return CurveFit(curve=[], gain=low + 0.01, gain_low=low, gain_high=low + 0.02)


@pytest.fixture
def planned(monkeypatch):
    """What is planned for a network of the catalog, where 5 epochs take 20 seconds."""

    def of(curve, left=60.0, kind="bundled", layers=8):
        row = SimpleNamespace(kind=kind, stage_names=["block3", "block4"], layers=layers)
        work = SimpleNamespace(backbone=SimpleNamespace(row=row))
        whole = None if curve is None else LearningCurve(metric="r2", sizes=[9], scores=[0.5], fit=curve)
        monkeypatch.setattr(tail_plan, "_curve", lambda _: whole)
        monkeypatch.setattr(tail_plan, "_needed", lambda *_: 20.0)
        return tail_plan.plan(SimpleNamespace(work=lambda _: work), None, left)

    return of


def test_a_curve_that_climbs_asks_for_pictures_not_for_layers(planned):
    assert climbs(fit(CLIMBS + 0.001))
    found = planned(fit(CLIMBS + 0.001))
    assert found.policy == "none"
    doubled = "twice the pictures: R² of the linear probe +0.021, +0.011 to +0.031"
    assert f"the learning curve still climbs ({doubled})" in found.words


def test_a_flat_curve_unfreezes_the_top_for_the_time_that_is_left(planned):
    found = planned(fit(0.0))
    assert (found.policy, found.seconds) == ("from:block4", 60.0)
    assert "layers were trained too, since the learning curve does not clearly climb" in found.words


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"curve": None}, "too few pictures for a learning curve"),
        ({"curve": fit(0.0), "left": 19.0}, "5 epochs would have taken about 20 s"),
        ({"curve": fit(0.0), "kind": "file", "layers": 0}, "the network has no weights to train"),
    ],
)
def test_why_not_is_said(planned, more, why):
    found = planned(**more)
    assert found.policy == "none"
    assert why in found.words
    assert found.late == ("would have taken" in why)
