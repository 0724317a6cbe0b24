"""Runners of a comparison of networks for the tests on Ray: they tell where they run, and one of them is killed."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from transferkit.console import Reporter
from transferkit.tuning.network_runner import NetworkRunner, NetworkRunners
from transferkit.tuning.records import Outcome, TrialPlan, TrialTask


@dataclass(frozen=True)
class Dying:
    """Makes runners that leave `<task>-<pid>` in `folder` when a task begins; the process in which `task` is begun for
    the first time is killed."""

    made: NetworkRunners
    folder: Path
    task: str

    def __call__(self, plan: TrialPlan, reporter: Reporter | None = None) -> DyingRunner:
        return DyingRunner(self, self.made(plan, reporter))


@dataclass(frozen=True)
class DyingRunner:
    """The real thing, or its end."""

    what: Dying
    runner: NetworkRunner

    def run(self, task: TrialTask) -> Outcome:
        first = not list(self.what.folder.glob(f"{task.id}-*"))
        (self.what.folder / f"{task.id}-{os.getpid()}").touch()
        if first and task.id == self.what.task:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.runner.run(task)

    def forget(self) -> None:
        self.runner.forget()
