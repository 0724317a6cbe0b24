"""Where tasks run: in this process, or in worker processes of this machine that share the feature store."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, Listener, wait
from typing import Any, Protocol

from transferkit import importing
from transferkit.console import Reporter
from transferkit.errors import TrainingError
from transferkit.storage import scratch
from transferkit.tuning.records import Outcome, TrialPlan, TrialTask
from transferkit.tuning.trial_limits import ATTEMPTS, GRACE
from transferkit.tuning.trial_runner import Built, TrialRunner

WORKER = "transferkit.tuning.executors.worker"
LONGEST = 80  # bytes of a folder for temporary files in which a socket has room
START_SECONDS = 300.0  # a worker imports TensorFlow, perhaps beside others


class TrialEngine(Protocol):
    """Takes tasks and gives outcomes, in whatever order they are done."""

    slots: int

    def submit(self, task: TrialTask) -> None:
        """Begin `task`; at most `slots` at a time."""

    def wait(self) -> list[Outcome]:
        """Wait until at least one task is done."""

    def close(self) -> None:
        """End at once; what still runs is lost."""


class LocalRunner(Protocol):
    """What does tasks in this process."""

    def run(self, task: TrialTask) -> Outcome:
        """Do one, and tell what came of it."""

    def forget(self) -> None:
        """Drop what is kept in memory from task to task."""


class InProcess:
    """One task at a time, here, by what `make` gives."""

    slots = 1

    def __init__(
        self, plan: TrialPlan, reporter: Reporter, make: Callable[[TrialPlan, Reporter], LocalRunner] = TrialRunner
    ) -> None:
        self._bench = make(plan, reporter)
        self._waiting: list[TrialTask] = []

    def submit(self, task: TrialTask) -> None:
        """See `TrialEngine`."""
        self._waiting.append(task)

    def wait(self) -> list[Outcome]:
        """See `TrialEngine`."""
        return [self._bench.run(self._waiting.pop(0))]

    def close(self) -> None:
        """See `TrialEngine`."""
        self._bench.forget()


@dataclass
class _Worker:
    """A process with a line to it, and the task it is at."""

    process: subprocess.Popen[bytes]
    line: Connection
    task: TrialTask | None = None
    since: float = 0.0


@dataclass
class Processes:
    """Worker processes on this machine. A task whose worker dies is run again by a new one.

    Workers take no code from the working directory, nor from the folders `foreign`: those of the data.
    """

    plan: TrialPlan
    slots: int
    reporter: Reporter
    foreign: list[str] = field(default_factory=list)
    _workers: list[_Worker] = field(default_factory=list)
    _attempts: dict[str, int] = field(default_factory=dict)

    def submit(self, task: TrialTask) -> None:
        """See `TrialEngine`."""
        idle = next((w for w in self._workers if w.task is None), None) or self._start()
        idle.task, idle.since = task, time.monotonic()
        with suppress(BrokenPipeError, ConnectionError):  # it has died; `wait` finds its line at an end
            idle.line.send(task)

    def wait(self) -> list[Outcome]:
        """See `TrialEngine`."""
        done: list[Outcome] = []
        while not done:
            busy = [w for w in self._workers if w.task]
            assert busy, "nothing was submitted"
            ready = wait([w.line for w in busy], timeout=1.0)
            for worker in busy:
                if worker.line in ready:
                    done += self._receive(worker)
                elif self._hangs(worker):
                    done.append(self._stop(worker))
        return done

    def close(self) -> None:
        """See `TrialEngine`."""
        for worker in self._workers:
            worker.line.close()
            worker.process.kill()
            worker.process.wait()
        self._workers.clear()

    def _receive(self, worker: _Worker) -> list[Outcome]:
        try:
            outcome: Outcome = worker.line.recv()
        except (EOFError, ConnectionError):
            return self._died(worker)
        worker.task = None
        return [outcome]

    def _died(self, worker: _Worker) -> list[Outcome]:
        """Run the dead worker's task again, or give it up."""
        task, code = worker.task, self._remove(worker)
        assert task is not None
        attempts = self._attempts[task.id] = self._attempts.get(task.id, 1) + 1
        what = f"signal {-code}" if code < 0 else f"exit code {code}"
        if attempts > ATTEMPTS:
            return [Outcome(task.id, "killed", error=f"its worker ended {ATTEMPTS} times, the last time by {what}")]
        self.reporter.say(f"{task.said}: its worker ended by {what}; running it again")
        self.submit(task)
        return []

    def _hangs(self, worker: _Worker) -> bool:
        allowed = worker.task.limits.seconds if worker.task else None
        return allowed is not None and time.monotonic() - worker.since > 2 * allowed + GRACE

    def _stop(self, worker: _Worker) -> Outcome:
        assert worker.task is not None
        name, seconds = worker.task.id, time.monotonic() - worker.since
        worker.process.kill()
        self._remove(worker)
        return Outcome(name, "timeout", seconds=seconds, error=f"no answer after {seconds:.0f} s; its worker was ended")

    def _remove(self, worker: _Worker) -> int:
        self._workers.remove(worker)
        worker.line.close()
        return worker.process.wait()

    def _start(self) -> _Worker:
        key, threads = os.urandom(32), max(1, (os.cpu_count() or 1) // self.slots)
        environment = {**os.environ, **importing.variables(self.foreign)}
        with _address() as address, Listener(address, authkey=key) as listener:
            # -P: whatever lies in the working directory or among the pictures, no module is taken from there.
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", WORKER], stdin=subprocess.PIPE, env=environment
            )  # fmt: skip
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin as given:  # it has ended; `_accept` says so
                given.write(pickle.dumps((listener.address, key, threads)))
            line = _accept(listener, process)
        line.send(self.plan)
        worker = _Worker(process, line)
        self._workers.append(worker)
        return worker


@contextmanager
def _address() -> Iterator[Any]:
    """Where a worker calls: a socket in a folder of our own, or None for the system's other means."""
    if os.name != "posix":
        yield None
        return
    # Names of sockets may have 107 bytes (103 on macOS), which a long TMPDIR takes for itself.
    long = len(os.fsencode(tempfile.gettempdir())) > LONGEST
    if long and not os.access("/tmp", os.W_OK | os.X_OK):
        yield ("127.0.0.1", 0)  # who else calls there does not know the key
        return
    with scratch("/tmp" if long else None) as folder:
        yield str(folder / "line")


def _accept(listener: Listener, process: subprocess.Popen[bytes]) -> Connection:
    """The worker's call, which comes before it imports anything slow. Raises TrainingError where it never comes."""
    found: list[Any] = []
    caller = threading.Thread(target=lambda: found.append(listener.accept()), daemon=True)
    caller.start()
    ends = time.monotonic() + START_SECONDS
    while caller.is_alive() and process.poll() is None and time.monotonic() < ends:
        caller.join(0.1)
    caller.join(0.5)
    if not found:
        process.kill()
        raise TrainingError(f"a worker process did not start (exit code {process.wait()}); try without --workers")
    line: Connection = found[0]
    return line


def engine(
    kind: str, plan: TrialPlan, workers: int, reporter: Reporter, built: Built | None = None, **options: Any
) -> TrialEngine:  # fmt: skip
    """What runs trials.

    Args:
        kind: "local" or "ray".
        plan: of the search.
        workers: trials at a time; of local ones more than 1 are processes.
        reporter: is told of the progress.
        built: takes the networks of trials in this process, and gives those that are there.
        options: of Ray: where the cluster is, and what a trial takes.
    """
    if kind == "ray":
        from transferkit.tuning.executors.ray_executor import Ray

        return Ray(plan, workers, reporter, **options)
    if workers > 1:
        root = plan.samples.root
        return Processes(plan, workers, reporter, [] if root is None else [str(root)])
    return InProcess(plan, reporter, partial(TrialRunner, built=built))
