"""How often the 95 % interval of the cross-validated score holds the truth, where the truth can be known: simulated
pictures, chosen and fitted as `--head auto` does, and then scored on 20,000 new ones."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from benches.measuring import Bar, measurement

NEW = 20_000  # pictures by which the truth is measured
STATED, OFF = 0.95, 0.02
BARS = (
    Bar("off", "<=", OFF, "95 % interval of the cross-validated score: distance of its simulated coverage from 95 %"),
)


@dataclass(frozen=True)
class World:
    """`pictures` of `classes` that lie `apart` in `width` features, of which the first half is "last" and only the
    `telling` first say anything."""

    pictures: int
    classes: int
    apart: float
    width: int
    telling: int


WORLDS = {
    "few, hard": World(60, 3, 0.55, 12, 12),
    "hard": World(150, 3, 0.55, 12, 12),
    "easy": World(150, 4, 1.6, 20, 8),
    "many features": World(120, 2, 0.5, 60, 15),
    "more pictures": World(400, 5, 0.8, 16, 16),
}


@measurement("coverage", BARS)
@click.option("--repeats", default=300, show_default=True, help="Of each of the simulated worlds.")
def measure(quick: bool, repeats: int) -> dict[str, Any]:
    """Coverage and width of the interval, and the bias of the expected score, in simulated worlds."""
    found = {name: _coverage(world, 20 if quick else repeats) for name, world in WORLDS.items()}
    shares = [row["coverage"] for row in found.values()]
    mean = float(np.mean(shares))
    return {"repeats": repeats, "coverage": mean, "off": abs(mean - STATED), "lowest": min(shares),
            "highest": max(shares), "worlds": found}  # fmt: skip


def _coverage(world: World, repeats: int) -> dict[str, float]:
    started = time.perf_counter()
    rows = np.array([_once(world, np.random.default_rng(seed)) for seed in range(repeats)])
    inside = (rows[:, 1] <= rows[:, 3]) & (rows[:, 3] <= rows[:, 2])
    return {
        "coverage": float(inside.mean()),
        "width": float((rows[:, 2] - rows[:, 1]).mean()),
        "bias": float((rows[:, 0] - rows[:, 3]).mean()),
        "truth": float(rows[:, 3].mean()),
        "seconds": time.perf_counter() - started,
    }


def _once(world: World, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """The expected score, its interval, and the truth."""
    from transferkit.evaluation.metric_registry import goal
    from transferkit.selection.candidate_scores import Judge
    from transferkit.selection.candidates import learners
    from transferkit.selection.choice import choose, fit, sets

    n, classes = world.pictures, world.classes
    centres = world.apart * rng.normal(size=(classes, world.width)) * (np.arange(world.width) < world.telling)
    labels, new = rng.permutation(np.arange(n) % classes), rng.integers(0, classes, NEW)
    x = (centres[labels] + rng.normal(size=(n, world.width))).astype(np.float32)[:, None]
    fresh = (centres[new] + rng.normal(size=(NEW, world.width))).astype(np.float32)
    judge = Judge("classify", labels, tuple(map(str, range(classes))), goal("accuracy", "classify"))
    places = {"last": (0, world.width // 2), "all": (0, world.width)}
    rounds = [_folds(labels, rng) for _ in range(2)]
    found = choose(x, np.eye(classes)[labels], rounds, sets(places, learners("classify")), judge)
    projection, fitted = fit(x, np.eye(classes)[labels], found.trial)
    truth = float((fitted(projection(fresh)).argmax(1) == new).mean())
    low, high = found.interval or (0.0, 1.0)
    return found.score, low, high, truth


def _folds(labels: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Five stratified folds."""
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    return [np.sort(order[k::5]) for k in range(5)]
