"""Trials that share a compiled trace come to what they would have come to alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from transferkit import compute, heads
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.features.extract import Held, Stored
from transferkit.training import reuse
from transferkit.training.fit import Goal
from transferkit.training.phase import Phase, Trainer
from transferkit.training.problem import Problem
from transferkit.training.reuse import HeadPool

WIDTH, COUNT = 12, 90


class Rows(Stored):
    """A store whose rows are given."""

    def __init__(self, x):
        self.x, self.shapes = x, [x.shape[1:]]

    def held(self, most=0):
        return Held(compute.hold([self.x]), np.arange(len(self.x), dtype=np.int32)[:, None])

    def take(self, pictures, views):
        return [self.x[pictures]]


def data(seed=0, count=COUNT):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    x = (rng.normal(0, 1, (count, WIDTH)) + 1.5 * np.eye(3, WIDTH)[labels]).astype(np.float32)
    return x, labels


def trained(pool, seed=0, **settings):
    """Score, loss, history and weights of a head trained on the toy data."""
    x, labels = data(settings.pop("data_seed", 0))
    width = {} if "head" in settings else {"head_width": (8,)}
    s = Settings(**{"backbone": "mini", "epochs": 3, "patience": 2, "seed": seed, **width, **settings})
    train, val = np.arange(60), np.arange(60, COUNT)
    samples = SimpleNamespace(task="classify", targets=labels)
    goal = Goal("accuracy", True, lambda outputs: float((outputs.argmax(1) == labels[val]).mean()))
    problem = Problem(samples, train, val, np.eye(3, dtype=np.float32)[labels], None, goal)
    shape = heads.HeadSettings(() if s.head == "linear" else s.head_width, s.dropout, s.l1, s.l2, s.pooling, s.seed)
    body = heads.body(WIDTH, 3, shape, (x.mean(0), x.std(0)) if s.normalize else None)
    trainer = Trainer(s, problem, 0, Reporter(quiet=True), rate=s.learning_rate or 3e-3, pool=pool)
    score, loss = trainer.train(Phase("head", "head only", trainer.rate, s.epochs, warmup=False), body, Rows(x))
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in trainer.history]
    return score, loss, rows, compute.values(body.trainable_variables)


TRIALS = {
    "as it comes": {},
    "learning rate": {"learning_rate": 0.02},
    "batch size": {"batch_size": 7},
    "dropout": {"dropout": 0.6},
    "decay": {"weight_decay": 0.3},
    "seed": {"seed": 5},
    "smoothing": {"label_smoothing": 0.3},
    "constant": {"schedule": "constant"},
    "other data": {"data_seed": 4},
    "longer": {"epochs": 5},
}  # fmt: skip


def same(a, b):
    assert a[0] == b[0]
    assert a[1] == pytest.approx(b[1], abs=1e-5)
    for own, other in zip(a[2], b[2], strict=True):
        assert own == pytest.approx(other, abs=1e-5)
    for own, other in zip(a[3], b[3], strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


def test_trials_of_one_shape_compile_once_and_each_comes_to_what_it_would_alone(monkeypatch):
    compiled = []
    inner = reuse.compute.steps
    monkeypatch.setattr(reuse.compute, "steps", lambda *a: compiled.append(a) or inner(*a))
    pool = HeadPool()
    for settings in [*TRIALS.values(), {}]:
        pooled = trained(pool, **settings)
        count = len(compiled)
        same(pooled, trained(None, **settings))
        del compiled[count:]  # the one that was trained alone
    assert len(pool) == len(compiled) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"head": "linear"}, {"head_width": (8, 4), "l1": 1e-3, "l2": 1e-2}, {"normalize": False}, {"dropout": 0.0},
        {"optimizer": "momentum", "learning_rate": 0.03}, {"optimizer": "rmsprop", "learning_rate": 1e-3},
        {"ema": False}, {"schedule": "plateau"}, {"class_weights": "balanced"},
    ],
)  # fmt: skip
def test_every_kind_of_head_and_optimizer_comes_to_what_it_would_alone(settings):
    pool = HeadPool()
    trained(pool, **{**settings, "seed": 3})  # somebody else's numbers are in the twin
    if "l1" in settings:
        trained(pool, **{**settings, "l1": 0.1})
    same(trained(pool, **settings), trained(None, **settings))
    assert len(pool) == 1


def test_trials_differ_where_their_settings_do():
    pool = HeadPool()
    outcomes = [trained(pool, **settings)[1] for settings in TRIALS.values()]
    assert len({round(loss, 7) for loss in outcomes}) == len(TRIALS)


def test_the_pool_keeps_the_most_recent_shapes():
    pool = HeadPool(capacity=2)
    for width in (4, 5, 4, 6):
        trained(pool, head_width=(width,))
    assert len(pool) == 2
    first = pool._twins.copy()
    trained(pool, head_width=(4,))
    assert list(pool._twins.values())[-1] in first.values()
    pool.clear()
    assert len(pool) == 0
