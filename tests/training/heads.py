"""A head on toy features, trained as a phase of the recipe; for tests."""

from types import SimpleNamespace

import numpy as np

from transferkit import compute, heads, tasks
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.features.row_sources import PassingRows, ResidentRows, Stored
from transferkit.features.store import ResidentSet
from transferkit.training.fit import StoppingMetric
from transferkit.training.phase import Phase, Trainer
from transferkit.training.problem import Problem

WIDTH, COUNT = 12, 90


class Rows(Stored):
    """A store whose rows are given."""

    def __init__(self, x):
        self.x, self.shapes = x, [x.shape[1:]]

    def resident(self, most=0):
        return ResidentRows(compute.hold([self.x]), np.arange(len(self.x), dtype=np.int32)[:, None])

    def take(self, pictures, views):
        return [self.x[pictures]]


class PassingBy(Rows):
    """Of which 20 are in memory at a time."""

    def resident(self, most=0):
        features, count = ResidentSet([(WIDTH,)]), len(self.x)
        features.append([str(number) for number in range(count)], self.x)
        places, stored = np.arange(count, dtype=np.int32)[:, None], np.stack([np.zeros(count, int), np.arange(count)])
        return PassingRows([], places, 20, features=features, stored=stored)


def data(seed=0, count=COUNT):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    x = (rng.normal(0, 1, (count, WIDTH)) + 1.5 * np.eye(3, WIDTH)[labels]).astype(np.float32)
    return x, labels


def trainer_of(labels, settings, pool=None, reporter=None, checkpoints=None):
    """A trainer on the first 60 rows, validated on the rest."""
    train, val = np.arange(60), np.arange(60, COUNT)
    samples = SimpleNamespace(task="classify", targets=labels, classes=("a", "b", "c"), kind=tasks.of("classify"))
    goal = StoppingMetric("accuracy", True, lambda outputs: float((outputs.argmax(1) == labels[val]).mean()))
    problem = Problem(samples, train, val, np.eye(3, dtype=np.float32)[labels], None, goal)
    rate, reporter = settings.learning_rate or 3e-3, reporter or Reporter(quiet=True)
    return Trainer(settings, problem, 0, reporter, checkpoints, rate=rate, pool=pool)


def trained(pool=None, seed=0, reporter=None, checkpoints=None, rows=Rows, **settings):
    """Score, loss, history and weights of a head trained on the toy data."""
    x, labels = data(settings.pop("data_seed", 0))
    width = {} if "head" in settings else {"head_width": (8,)}
    s = Settings(**{"backbone": "mini", "epochs": 3, "patience": 2, "seed": seed, **width, **settings})
    shape = heads.HeadSettings(() if s.head == "linear" else s.head_width, s.dropout, s.l1, s.l2, s.pooling, s.seed)
    body = heads.body(WIDTH, 3, shape, (x.mean(0), x.std(0)) if s.normalize else None)
    trainer = trainer_of(labels, s, pool, reporter, checkpoints)
    score, loss = trainer.train(Phase("head", "head only", trainer.rate, s.epochs, warmup=False), body, rows(x))
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in trainer.history]
    return score, loss, rows, compute.values(body.trainable_variables)


def same(a, b):
    assert a[0] == b[0]
    assert abs(a[1] - b[1]) < 1e-5
    for own, other in zip(a[2], b[2], strict=True):
        assert own.keys() == other.keys()
        assert all(v == other[k] or abs(v - other[k]) < 1e-5 for k, v in own.items())
    for own, other in zip(a[3], b[3], strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)
