"""How often the 95 % interval of the cross-validated score holds the truth, where the truth can be known: simulated
pictures, chosen and fitted as `--head auto` does, and then scored on 20,000 new ones."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from benches.measuring import Bar, measurement

NEW = 20_000  # pictures by which the truth is measured
STATED, OFF = 0.95, 0.02
TOLD = 20.0  # seconds between two lines of progress
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
BARS = (
    Bar("off", "<=", OFF, "95 % interval of the cross-validated score: distance of its simulated coverage from 95 %"),
)
Row = tuple[float, float, float, float]  # expected score, both ends of its interval, truth


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
@click.option("--minutes", default=10.0, show_default=True, help="Ends then, with the repeats that are done.")
@click.option("--processes", default=os.cpu_count() or 1, show_default=True, help="Each with one thread.")
def measure(quick: bool, repeats: int, minutes: float, processes: int) -> dict[str, Any]:
    """Coverage and width of the interval, and the bias of the expected score, in simulated worlds.

    Every world has its turn, so that what is done when the time is over, or at Ctrl-C, counts for all alike. Ctrl-C
    prints the figures so far and records none.
    """
    rows: dict[str, list[Row]] = {name: [] for name in WORLDS}
    wanted, started, told = 20 if quick else repeats, time.monotonic(), time.monotonic()
    try:
        for name, row in _simulated(wanted, processes):
            rows[name].append(row)
            over = time.monotonic() - started > 60 * minutes
            if time.monotonic() - told > TOLD or over:
                told = time.monotonic()
                click.echo(_said(rows, wanted, told - started), err=True)
            if over and all(rows.values()):
                break
    except KeyboardInterrupt:
        if all(rows.values()):
            click.echo(json.dumps(_figures(rows), ensure_ascii=False))
        raise SystemExit(130) from None
    return _figures(rows)


def _simulated(repeats: int, processes: int) -> Iterator[tuple[str, Row]]:
    """World after world, repeat after repeat, in this order whichever is done first: a repeat that takes long is not
    left out for it."""
    tasks = [(name, seed) for seed in range(repeats) for name in WORLDS]
    os.environ.update(dict.fromkeys(THREADS, "1"))  # before the processes load NumPy
    # Ctrl-C reaches them too; this process decides what becomes of them.
    with multiprocessing.get_context("spawn").Pool(processes, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield from pool.imap(_task, tasks)


def _task(task: tuple[str, int]) -> tuple[str, Row]:
    name, seed = task
    return name, _once(WORLDS[name], np.random.default_rng(seed))


def _figures(rows: dict[str, list[Row]]) -> dict[str, Any]:
    """`standard_error` is that of the simulation: of `coverage`, the mean over the worlds."""
    found = {name: _world(np.array(one)) for name, one in rows.items()}
    shares = [row["coverage"] for row in found.values()]
    mean, errors = float(np.mean(shares)), [row["standard_error"] for row in found.values()]
    return {"repeats": min(map(len, rows.values())), "coverage": mean,
            "standard_error": float(np.sqrt(np.sum(np.square(errors))) / len(errors)), "off": abs(mean - STATED),
            "lowest": min(shares), "highest": max(shares), "worlds": found}  # fmt: skip


def _world(rows: np.ndarray) -> dict[str, float]:
    inside = (rows[:, 1] <= rows[:, 3]) & (rows[:, 3] <= rows[:, 2])
    share = float(inside.mean())
    return {
        "coverage": share,
        "standard_error": float(np.sqrt(share * (1 - share) / len(rows))),
        "width": float((rows[:, 2] - rows[:, 1]).mean()),
        "bias": float((rows[:, 0] - rows[:, 3]).mean()),
        "truth": float(rows[:, 3].mean()),
    }


def _said(rows: dict[str, list[Row]], wanted: int, seconds: float) -> str:
    done = sum(map(len, rows.values()))
    share = "" if not all(rows.values()) else "coverage {coverage:.4f} ± {standard_error:.4f}".format(**_figures(rows))
    return f"{done:,} of {wanted * len(rows):,} in {seconds:.0f} s: {share}"


def _once(world: World, rng: np.random.Generator) -> Row:
    """One world of this kind, chosen on as the product does."""
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
