"""A small real recipe on digits, for tests; as a program it may kill itself in the middle of a phase.

python -m tests.training.job DIGITS CHECKPOINTS RESULT.npz [PHASE EPOCH]
"""

import os
import sys
from itertools import count
from pathlib import Path

import numpy as np

QUICK = {
    "backbone": "mini", "epochs": 2, "patience": 1, "views": 1, "head_width": (16,), "batch_size": 16,
}  # fmt: skip


def part_of(digits, per_class, task="classify"):
    """`per_class` pictures of each digit for training and half as many for validation, hashed."""
    from dataclasses import replace

    from transferkit.data.source import scan

    samples = scan(digits)
    chosen = [i for i in range(len(samples)) if i % 20 < per_class + per_class // 2]
    found = samples.select(chosen).hashed()
    if task == "multilabel":
        bits = np.stack([found.targets % 2 == 0, found.targets > 4], 1).astype(np.float32)
        found = replace(found, task="multilabel", targets=bits, classes=("even", "large"))
    if task == "regress":
        values = np.stack([found.targets * 10.0 + 3, -found.targets], 1).astype(np.float32)
        found = replace(found, task="regress", targets=values, classes=("a", "b"))
    places = np.arange(len(found)) % (per_class + per_class // 2)
    return found, np.flatnonzero(places < per_class), np.flatnonzero(places >= per_class)


def judge(samples, units):
    """Accuracy, or closeness of numbers: higher is better."""
    from transferkit.training.fit import StoppingMetric

    def score(outputs):
        if samples.task == "classify":
            return float((outputs.argmax(1) == samples.targets).mean())
        if samples.task == "multilabel":
            return float(((outputs > 0) == samples.targets).mean())
        return -float(np.abs(outputs * units[1] + units[0] - samples.targets).mean())

    return StoppingMetric("score", True, score)


def always_better(samples, units):
    """A goal by which the last epoch of the last phase wins, so that a test sees its weights."""
    from transferkit.training.fit import StoppingMetric

    line = count()
    return StoppingMetric("score", True, lambda outputs: float(next(line)))


def recipe_for(digits, checkpoints=None, *, per_class=4, task="classify", goal=judge, weights="auto", cache=True,
               deadline=None, reporter=None, folds=(), size=32, **settings):  # fmt: skip
    """A Recipe on digits; `settings` replace those of QUICK."""
    from transferkit.backbones.build import build
    from transferkit.config import make
    from transferkit.console import Reporter
    from transferkit.data.augmentation.augment import augmentation
    from transferkit.data.images.decode import DecodeSettings
    from transferkit.features.row_sources import Views
    from transferkit.training import recipe

    quick = {k: v for k, v in QUICK.items() if (k, settings.get("augment")) != ("views", "none")}
    s = make({**quick, **settings})
    samples, train, val = part_of(digits, per_class, task)
    views = Views(DecodeSettings(size), augmentation(s.augment), 0 if s.augment == "none" else s.views, s.seed)
    problem = recipe.problem(samples, train, val, goal)
    parts = [recipe.problem(samples, train[a], train[b], goal) for a, b in folds]
    backbone, reporter = build(s.backbone, weights, size), reporter or Reporter(quiet=True)
    return recipe.Recipe(backbone, s, problem, views, reporter, checkpoints, deadline, cache, parts)


def numbers(trained):
    """What a run comes to: outputs, weights, and the history but for its seconds."""
    from transferkit import compute

    found = {f"w{i}": v for i, v in enumerate(compute.values(trained.model.weights))}
    found |= {"val": trained.val_outputs, "train": trained.train_outputs}
    rows = [[row["epoch"], row["loss"], row["val_loss"], row["val_score"]] for row in trained.history]
    return found | {"history": np.array(rows), "chosen": np.array(trained.chosen)}


RESUMED = {"unfreeze": "from:block3", "epochs": 4, "patience": 3, "batchnorm": "train", "dropout": 0.4}


def main(digits, checkpoints, result, phase="", epoch="0"):
    """Train; where a phase is named, die by SIGKILL half-way through its epoch."""
    from transferkit.training import checkpoint, fit

    checkpoint.SAVE_EVERY_SECONDS = -1.0
    inner = fit.Loop._train

    def train(self):
        if self.name == phase and self.epoch == int(epoch):
            inputs, targets, weights = next(iter(self.batches.epoch(self.epoch)))
            self.steps([x[:1] for x in inputs], targets[:1], weights[:1])  # some of the epoch's steps
            os.kill(os.getpid(), 9)
        return inner(self)

    fit.Loop._train = train
    np.savez(result, **numbers(recipe_for(Path(digits), Path(checkpoints), **RESUMED).run()))


if __name__ == "__main__":
    main(*sys.argv[1:])
