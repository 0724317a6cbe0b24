#!/usr/bin/env python3
"""What the searching process itself costs a trial on Ray, and what follows for 1, 10 and 100 workers.

    .venv/bin/python scripts/measure_ray.py                # about two minutes; prints the tables of docs/distributed.md
    .venv/bin/python scripts/measure_ray.py --quick

Trials are simulated: they wait. All else is real: Ray on this machine, the search's loop, a random oracle, the journal
with its fsync. Two costs come out of it. `driver` is the time in which the searching process works for one trial and
hands out no other; it bounds the throughput, whatever the number of workers. `gap` is what a worker waits between two
trials, beyond the trial itself, when it is the only one.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from transferkit import compute
from transferkit.config import make
from transferkit.console import Reporter
from transferkit.data.samples import Samples
from transferkit.tuning.executors.ray_executor import Ray
from transferkit.tuning.journal import Journal
from transferkit.tuning.oracles.oracle import Oracle
from transferkit.tuning.records import Outcome, TrialPlan, TrialTask
from transferkit.tuning.search import Search
from transferkit.tuning.search_space.space import parse_search

RUNS = (
    (0.0, 1, 200),
    (0.0, 4, 400),
    (0.1, 1, 50),
    (0.1, 4, 200),
    (1.0, 1, 10),
    (1.0, 4, 40),
    (10.0, 1, 2),
    (10.0, 4, 8),
)
QUICK = ((0.0, 1, 20), (0.1, 4, 20))
REAL = 10  # workers that are really run, to hold the extrapolation to
LENGTHS = (0.1, 1.0, 10.0, 60.0)
WORKERS = (1, 10, 100)


@dataclass
class Waiting:
    """A trial that takes `seconds` and no processor."""

    seconds: float

    def __call__(self, plan: TrialPlan) -> Waiting:
        return self

    def run(self, task: TrialTask) -> Outcome:
        # Those that warm up take long enough for each to get a process of its own.
        time.sleep(0.5 if task.epochs else self.seconds)
        score = float(task.values["learning_rate"])
        return Outcome(task.id, "ok", score, 0.0, (score,), 1, 1, self.seconds, note=str(os.getpid()))


class Timed:
    """`ray`, with the time spent blocked in `ray.wait` kept."""

    def __init__(self, ray: Any) -> None:
        self.ray, self.blocked = ray, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ray, name)

    def wait(self, *args: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return self.ray.wait(*args, **options)
        finally:
            self.blocked += time.perf_counter() - started


@dataclass(frozen=True)
class Figures:
    """Per trial, in seconds: all of it, and the part in which the searching process worked."""

    seconds: float
    slots: int
    trials: int
    wall: float
    driver: float


def oracle(trials: int) -> Oracle:
    """A random search over one range."""
    return Oracle(parse_search(["learning_rate=1e-5:1e-1:log"]), "random", trials, True, 0, 30)


def measure(seconds: float, slots: int, trials: int) -> Figures:
    """One search of `trials` trials that take `seconds` each, `slots` at a time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = Ray(plan_of(folder), slots, Reporter(quiet=True), cpus=1 / max(slots, 4), make=Waiting(seconds))
        try:
            warm(engine)
            timed = Timed(engine._ray)
            engine._ray = timed
            with Journal.open(folder / "trials.jsonl", {}, resume=False) as journal:
                search = Search(
                    plan_of(folder), oracle(trials), journal, engine, Reporter(quiet=True), True, "accuracy"
                )
                started = time.perf_counter()
                done = search.run()
                wall = time.perf_counter() - started
            assert len(done) == trials
            assert all(t.outcome.status == "ok" for t in done)
        finally:
            engine.close()
    return Figures(seconds, slots, trials, wall / trials, (wall - timed.blocked) / trials)


def warm(engine: Ray) -> None:
    """Wait until every slot has its process: Ray starts no more of them at a time than a node has CPUs."""
    seen = set[str]()
    for turn in range(100):
        for slot in range(engine.slots):
            engine.submit(TrialTask(f"warm-{turn}-{slot}", {"learning_rate": 1.0}, 0, epochs=1))
        left = engine.slots
        while left:
            done = engine.wait()
            left -= len(done)
            seen |= {outcome.note for outcome in done}
        if len(seen) == engine.slots:
            return
    raise SystemExit(f"{len(seen)} of {engine.slots} processes after 100 turns: this machine is too busy to measure")


def plan_of(folder: Path) -> TrialPlan:
    """As large as that of 2,000 pictures: what it weighs goes over the line once a worker."""
    count = 2000
    paths = tuple(f"some-class/a-picture-{n:06}.jpg" for n in range(count))
    none, hashes = (None,) * count, tuple(f"{n:064x}" for n in range(count))
    samples = Samples(folder, paths, np.zeros(count, np.int64), ("a",), "classify", none, none, hashes, None, "")
    return TrialPlan(
        samples, ((np.arange(1500), np.arange(1500, count)),), make({"backbone": "mini"}), folder / "trials"
    )


def predicted(length: float, workers: int, gap: float, driver: float) -> float:
    """Trials a minute: workers that wait for nothing but the gap, or as many as the searching process can serve."""
    return 60 * min(workers / (length + gap), 1 / driver)


@click.command()
@click.option("--quick", is_flag=True, help="Few trials; the figures mean nothing.")
def main(quick: bool) -> None:
    """Measure, and print Markdown."""
    compute.start()
    oracle(1).ask()  # imports Keras Tuner
    found = [measure(*run) for run in (QUICK if quick else RUNS)]
    print("| trial length | at a time | trials | wall per trial | beyond its length | driver per trial |")
    print("|---|---|---|---|---|---|")
    for f in found:
        beyond = f.wall * f.slots - f.seconds
        print(
            f"| {f.seconds:g} s | {f.slots} | {f.trials} | {f.wall * 1e3:,.1f} ms | {beyond * 1e3:.1f} ms | "
            f"{f.driver * 1e3:.1f} ms |"
        )
    gap = float(np.median([f.wall - f.seconds for f in found if f.slots == 1]))
    driver = float(max(f.driver for f in found))
    print(f"\ngap {gap * 1e3:.1f} ms (median of one at a time), driver {driver * 1e3:.1f} ms (the worst)\n")
    print("| trial length | " + " | ".join(f"{n} worker{'s' * (n > 1)}" for n in WORKERS) + " | bound by the driver |")
    print("|---|" + "---|" * (len(WORKERS) + 1))
    for length in LENGTHS:
        row = [predicted(length, n, gap, driver) for n in WORKERS]
        print(f"| {length:g} s | " + " | ".join(f"{v:,.0f}" for v in row) + f" | {60 / driver:,.0f} |")
    if not quick:
        check(gap, driver)


def check(gap: float, driver: float) -> None:
    """The extrapolation against as many workers as this machine can hold."""
    for length in (0.1, 1.0):
        real = measure(length, REAL, int(60 * REAL / (1 + 9 * length)))
        told = predicted(length, REAL, gap, driver)
        print(
            f"\n{REAL} workers, trials of {length:g} s: {60 / real.wall:,.0f} a minute measured, {told:,.0f} predicted"
        )


if __name__ == "__main__":
    main()
