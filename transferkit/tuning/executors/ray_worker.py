"""What runs on the workers of a Ray cluster: one trial runner a process, kept from trial to trial."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from transferkit._version import __version__
from transferkit.compute import ray_private
from transferkit.data.containers import places
from transferkit.storage import cache_folder
from transferkit.tuning.records import Outcome, TrialPlan, TrialTask

LINGER = 5.0  # seconds that a process with a hanging trial lives on, so that its answer gets out


class Runner(Protocol):
    """What trains: a trial runner, or a stand-in."""

    def run(self, task: TrialTask) -> Outcome:
        """Train and judge."""


@dataclass(frozen=True, eq=False)
class Shipment:
    """What every worker process fetches once: the plan, what trains it, and how to tell where it is.

    `marker` is a file beside the checkpoints: who sees it shares a file system with the searching process. `folder` is
    where that one works. A trial is taken to hang after twice its time limit and `grace` seconds.
    """

    plan: TrialPlan
    make: Callable[[TrialPlan], Runner]
    marker: Path
    folder: Path
    grace: float
    version: str = __version__


@dataclass(frozen=True)
class Reply:
    """An outcome, and where and how it came about. `attempt` counts the workers that were lost before.

    Without an outcome: the process is about to end, for another trial hangs in it, and the task did not begin.
    """

    outcome: Outcome | None
    node: str
    shared: bool
    attempt: int = 0


def trial_runner(plan: TrialPlan) -> Runner:
    """The real thing."""
    from transferkit.console import Reporter
    from transferkit.tuning.trial_runner import TrialRunner
    from transferkit.wording import speak_shell

    speak_shell(True)  # the process that shows an error translates it
    return TrialRunner(plan, Reporter(quiet=True))


_bench: Bench | None = None  # of this process


def run(key: str, shipment: list[Any], task: TrialTask) -> Reply:
    """The Ray task: train one trial, with what this process keeps from trial to trial.

    Args:
        key: of the search; another key than before fetches the shipment.
        shipment: the reference to a Shipment, in a list so that Ray does not fetch it each time.
        task: the trial.

    Returns:
        Its outcome, and where it came about.
    """
    global _bench
    if _bench is None or (_bench.key != key and not _bench.hangs):
        import ray

        _bench = Bench(key, ray.get(shipment[0]))
    return _bench.run(task)


class Bench:
    """A runner in a thread of its own, so that a trial which hangs can be given up."""

    def __init__(self, key: str, shipment: Shipment) -> None:
        self.key, self.version, self._grace = key, shipment.version, shipment.grace
        with suppress(OSError):  # so that relative paths mean what they mean to the user, where that folder is shared
            os.chdir(shipment.folder)
        self.shared = shipment.marker.exists()
        plan = shipment.plan
        # Elsewhere the run's folder does not exist, and is not made: what trials leave goes beside this node's cache.
        self.plan = plan if self.shared else replace(plan, checkpoints=cache_folder().absolute() / "trials" / key)
        self._make = shipment.make
        self._inbox: queue.SimpleQueue[TrialTask] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self.hangs = False
        # One thread for all trials: Keras and TensorFlow keep part of their state by thread.
        threading.Thread(target=self._serve, daemon=True).start()

    def run(self, task: TrialTask) -> Reply:
        """Train, or say why not."""
        node = socket.gethostname()
        if self.hangs:
            return Reply(None, node, self.shared, ray_private.attempt())
        if self.version != __version__:
            error = (
                f"{node} has transferkit {__version__}, the search runs {self.version}; install the same on all nodes"
            )
            return Reply(Outcome(task.id, "failed", error=error), node, self.shared)
        outcome = self._train(task)
        if not self.shared:
            shutil.rmtree(self.plan.checkpoints / task.id, ignore_errors=True)  # nobody else can go on from it
            outcome = self._explained(outcome, node)
        return Reply(outcome, node, self.shared, ray_private.attempt())

    def _train(self, task: TrialTask) -> Outcome:
        started, allowed = time.monotonic(), task.limits.seconds
        self._inbox.put(task)
        try:
            return self._outbox.get(timeout=None if allowed is None else 2 * allowed + self._grace)
        except queue.Empty:
            seconds = round(time.monotonic() - started, 3)
        self.hangs = True
        end = threading.Timer(LINGER, os._exit, (1,))
        end.daemon = True
        end.start()
        return Outcome(
            task.id, "timeout", seconds=seconds, error=f"no answer after {seconds:.0f} s; its worker was ended"
        )

    def _serve(self) -> None:
        runner: Runner | None = None
        while True:
            task = self._inbox.get()
            try:
                runner = runner or self._make(self.plan)
                outcome = runner.run(task)
            except Exception as error:  # a trial runner tells what goes wrong; this is about making one
                outcome = Outcome(task.id, "failed", error=f"{type(error).__name__}: {error}"[:2000])
            self._outbox.put(outcome)

    def _explained(self, outcome: Outcome, node: str) -> Outcome:
        """A failure where the pictures are not to be seen gets the reason said."""
        samples = self.plan.samples
        first = samples.source(0) if len(samples) else None
        if outcome.status == "ok" or not isinstance(first, Path) or places.exists(first):
            return outcome
        hint = f"{node} does not see {first}: the pictures must lie under the same path on every node"
        return replace(outcome, error=f"{outcome.error} ({hint})")
