"""Trials for the tests of the Ray engine: simulated ones that tell where they run, and a driver to be killed."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferkit.tuning.records import Outcome, TrialPlan, TrialTask

# A rung and what goes on from it, an ordinary trial, one that fails.
TASKS = [
    TrialTask("0", {"head_width": (16,)}, 0, epochs=2),
    TrialTask("1", {"dropout": 0.3}, 0),
    TrialTask("2", {"backbone": "no/such"}, 0),
    TrialTask("3", {"head_width": (16,)}, 0, epochs=3, continues="0"),
]


@dataclass
class Simulated:
    """Each task leaves `<id>-<pid>` when it begins; its values say how long it takes and what befalls it.

    Those that are `held` go on once there is a file `<id>-let`.
    """

    plan: TrialPlan

    def run(self, task: TrialTask) -> Outcome:
        """Wait, die or fail."""
        sign = self.plan.checkpoints.parent / f"{task.id}-{os.getpid()}"
        sign.parent.mkdir(parents=True, exist_ok=True)
        sign.touch()
        if task.values.get("dies"):
            os.kill(os.getpid(), 9)
        if task.values.get("fails"):
            raise ValueError("no such thing")
        while task.values.get("held") and not sign.with_name(f"{task.id}-let").exists():
            time.sleep(0.05)
        time.sleep(task.values.get("seconds", 0))
        return Outcome(task.id, "ok", float(task.seed), seconds=task.values.get("seconds", 0))


def simulated(plan: TrialPlan) -> Simulated:
    """For `Ray(make=…)`."""
    return Simulated(plan)


def plan_of(folder: Path) -> TrialPlan:
    """A plan over one tiny picture, for trials that look at none."""
    from transferkit.config import make
    from transferkit.data.samples import Samples

    pixels = [np.zeros((4, 4, 3), np.uint8)]
    samples = Samples(
        None, ("array[0]",), np.zeros(1, np.int64), ("a",), "classify", (None,), (None,), None, pixels, ""
    )
    return TrialPlan(samples, (), make({"backbone": "mini"}), folder / "checkpoints")


def digits_plan(digits: Path, folder: Path) -> TrialPlan:
    """A real plan on digits."""
    from tests.training.job import part_of
    from transferkit.config import make

    samples, train, val = part_of(digits, 4)
    base = make({"backbone": "mini", "unfreeze": "none", "epochs": 3, "patience": 2, "views": 1, "seed": 0})
    return TrialPlan(samples, ((train, val),), base, folder / "checkpoints", offline=True)


def values(outcome: Outcome) -> dict[str, Any]:
    """What must be the same wherever a trial ran."""
    names = ("id", "status", "score", "loss", "scores", "epochs", "best_epoch", "note", "error")
    return {name: getattr(outcome, name) for name in names}


def drain(engine: Any, tasks: list[TrialTask]) -> list[Outcome]:
    """Run all tasks as the search does: `slots` at a time."""
    left, running, done = list(tasks), 0, list[Outcome]()
    while left or running:
        while left and running < engine.slots:
            engine.submit(left.pop(0))
            running += 1
        found = engine.wait()
        running -= len(found)
        done += found
    return done


def main(folder: str, digits: str) -> None:
    """A search's process on a cluster of its own: two real trials and one that fails, then a long simulated one."""
    import signal

    from transferkit.console import Reporter
    from transferkit.tuning.executors.ray_executor import Ray

    handler = signal.getsignal(signal.SIGTERM)
    real = Ray(digits_plan(Path(digits), Path(folder)), 1, Reporter())
    assert signal.getsignal(signal.SIGTERM) is handler
    for outcome in drain(real, TASKS):
        np.savez(
            Path(folder) / f"outcome-{outcome.id}.npz", **{k: np.array(str(v)) for k, v in values(outcome).items()}
        )
    real.close()
    long = Ray(plan_of(Path(folder)), 2, Reporter(), make=simulated)
    long.submit(TrialTask("dying", {"dies": True}, 0))
    long.submit(TrialTask("long", {"seconds": 600}, 0))
    print(long.wait()[0].status, file=sys.stderr)
    (Path(folder) / "ready").touch()
    long.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
