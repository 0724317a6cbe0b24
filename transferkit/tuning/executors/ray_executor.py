"""Tasks on a Ray cluster: retried when a worker or a node is lost. The oracle and the journal stay in this process."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from transferkit.compute.ray_cluster import Cluster, fitting, handed, short, whole_share
from transferkit.console import Reporter
from transferkit.errors import ConfigError, TrainingError
from transferkit.files import write_text
from transferkit.tuning.executors.ray_worker import Reply, Runner, Shipment, run, trial_runner
from transferkit.tuning.records import Outcome, TrialPlan, TrialTask
from transferkit.tuning.trial_limits import ATTEMPTS, GRACE

LOOK = 10.0  # seconds without an outcome after which the cluster is looked at


class Ray:
    """An `Engine` whose tasks are Ray tasks: `slots` at a time, each with `cpus` and `gpus` of a node.

    `address`: `auto`, `host:port` or `ray://host:port` of a running cluster; None: a cluster on this machine for the
    time of the search (or RAY_ADDRESS, or the session that ray.init began). `cpus` None: 1, on this machine its cores
    divided by `slots`. `make` gives what trains on the workers. Raises ConfigError where Ray is not installed, no
    cluster answers, or no node has room for a trial.
    """

    _data: Path | None = None  # the folder of the pictures

    def __init__(
        self, plan: TrialPlan, slots: int, reporter: Reporter, address: str | None = None, cpus: float | None = None,
        gpus: float | None = None, make: Callable[[TrialPlan], Runner] = trial_runner,
    ) -> None:  # fmt: skip
        self.slots, self.reporter = slots, reporter
        cores = os.cpu_count() or 1
        self._cluster = Cluster(address, cores, _pixels(plan))
        self._ray = self._cluster.ray
        self._running: dict[Any, tuple[TrialTask, int]] = {}  # and how many workers it lost before
        self._restarts = 0  # tasks that were handed on from a process about to end
        self._apart: set[str] = set()  # nodes that do not share our files
        self._crowded = False
        self._key = uuid.uuid4().hex
        self._marker = plan.checkpoints.absolute() / f".search-{self._key}"
        try:
            share = cores / slots if self._cluster.local else 1
            self._wanted = {"CPU": cpus or whole_share(share), "GPU": gpus or 0}
            self._require_room()
            write_text(self._marker, "who sees this file shares these folders with the search\n")
            portable = replace(plan, checkpoints=plan.checkpoints.absolute(), samples=_absolute(plan.samples))
            self._shipment = self._ray.put(Shipment(portable, make, self._marker, Path.cwd(), GRACE))
            self._data = plan.samples.root
            self._remote = self._function()
        except BaseException:
            self.close()
            raise

    def submit(self, task: TrialTask) -> None:
        """See `Engine`."""
        self._begin(self._remote, task)

    def wait(self) -> list[Outcome]:
        """See `Engine`. Raises TrainingError where the cluster is gone."""
        assert self._running, "nothing was submitted"
        try:
            while True:
                ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=LOOK)
                if not ready:
                    self._look()
                    continue
                # Those that are done as well, without waiting.
                ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
                if outcomes := [outcome for ref in ready if (outcome := self._outcome(ref)) is not None]:
                    return outcomes
        except ConnectionError as error:
            raise TrainingError(
                f"the Ray cluster is gone ({error}); when it is there again, go on with --resume"
            ) from error

    def close(self) -> None:
        """See `Engine`. A cluster that was running before goes on."""
        with suppress(self._ray.exceptions.RayError, ConnectionError):
            for ref in self._running:
                self._ray.cancel(ref, force=True)
        self._running.clear()
        self._marker.unlink(missing_ok=True)
        self._cluster.close()

    # -- tasks

    def _begin(self, function: Any, task: TrialTask, lost: int = 0) -> None:
        # In a list, so that Ray hands on the reference and not the plan: a process fetches it once.
        self._running[function.remote(self._key, [self._shipment], task)] = task, lost

    def _begin_elsewhere(self, task: TrialTask, lost: int) -> None:
        """Ray knows of no process that it must not use; one with another environment is a new one."""
        self._restarts += 1
        variables = self._handed() | {"TRANSFERKIT_RESTARTS": str(self._restarts)}
        options = {"max_retries": ATTEMPTS - 1 - lost, "runtime_env": {"env_vars": variables}}
        self._begin(self._remote.options(**options), task, lost)

    def _function(self) -> Any:
        """The Ray task. System failures are retried by Ray; failures of ours come back as outcomes."""
        cpus, gpus = self._wanted["CPU"], self._wanted["GPU"]
        # A process sees the GPU that it was started with. Where a node has several, each trial needs its own process.
        lasting = not gpus or all(node.get("GPU", 0) <= 1 for node in self._cluster.nodes())
        return self._ray.remote(
            num_cpus=cpus, num_gpus=gpus, max_retries=ATTEMPTS - 1, retry_exceptions=False,
            max_calls=0 if lasting else 1, runtime_env={"env_vars": self._handed()},
        )(run)  # fmt: skip

    def _handed(self) -> dict[str, str]:
        """Environment of the workers; they take no code from the working directory or the data."""
        return handed(self._wanted["CPU"], self._data)

    def _outcome(self, ref: Any) -> Outcome | None:
        """What came of a task; None where its process could not take it and it was handed on."""
        (task, lost), errors = self._running.pop(ref), self._ray.exceptions
        try:
            reply: Reply = self._ray.get(ref)
        except errors.OutOfMemoryError as error:
            return Outcome(task.id, "memory", error=f"its node ran out of memory: {short(error)}")
        except (errors.RayTaskError, errors.RuntimeEnvSetupError) as error:
            # Failures of trials come back as outcomes: this one did not begin.
            hint = "a worker could not begin; is the same transferkit installed on every node?"
            return Outcome(task.id, "failed", error=f"{hint} {short(getattr(error, 'cause', None) or error)}")
        except errors.RayError as error:
            return Outcome(
                task.id, "killed", error=f"its worker or node was lost {ATTEMPTS} times, the last time: {short(error)}"
            )
        lost += reply.attempt
        if reply.outcome is None:
            self._begin_elsewhere(task, lost)
        else:
            self._tell(task, reply, lost)
        return reply.outcome

    def _tell(self, task: TrialTask, reply: Reply, lost: int) -> None:
        if lost:
            self.reporter.say(f"{task.said}: its worker or node was lost; it was run again on {reply.node}")
        if not reply.shared and reply.node not in self._apart:
            self._apart.add(reply.node)
            self.reporter.warn(
                f"{reply.node} does not see {self._marker.parent}: features are computed there once more, and trials "
                "that go on from others begin at their first epoch (same result, more time); docs/distributed.md"
            )

    # -- the cluster

    def _require_room(self) -> None:
        nodes = self._cluster.nodes()
        room = fitting(nodes, self._wanted)
        words = " and ".join(f"{v:g} {k}s" for k, v in self._wanted.items() if v)
        if not room:
            most = "; ".join(sorted({f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in nodes}))
            raise ConfigError(
                f"no node of the Ray cluster has {words} for a trial (there are nodes with {most}); lower --trial-cpus "
                "or --trial-gpus, or add a node first"
            )
        if room < self.slots:
            self.reporter.warn(
                f"the Ray cluster runs {room} trials with {words} each at a time, --workers asks for {self.slots}; the "
                "others wait"
            )
        idle = sum(node.get("GPU", 0) for node in nodes)
        if idle and not self._wanted["GPU"]:
            self.reporter.warn(f"the Ray cluster has {idle:g} GPUs, and trials use none; --trial-gpus 1 gives each one")

    def _look(self) -> None:
        """Say so, once, when no node is left that could run a trial."""
        crowded = not fitting(self._cluster.nodes(), self._wanted)
        if crowded and not self._crowded:
            self.reporter.warn(
                "no node is left with room for a trial; waiting for one to join (`ray start --address=…`), Ctrl-C ends"
            )
        self._crowded = crowded


def _absolute(samples: Any) -> Any:
    return samples if samples.root is None else replace(samples, root=samples.root.absolute())


def _pixels(plan: TrialPlan) -> int:
    """Bytes of pictures that travel in the plan itself."""
    return sum(p.nbytes for p in plan.samples.pixels or ())
