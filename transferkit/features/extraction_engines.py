"""Where features are extracted in shards: in this process, or by actors on a Ray cluster. The rows are the same."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from transferkit.compute.ray_cluster import Cluster, fitting, require_installed
from transferkit.console import Reporter
from transferkit.errors import ConfigError, TrainingError
from transferkit.features.ray_shards import RayShards
from transferkit.features.shard_work import A, ShardWork
from transferkit.features.shard_worker import Extraction, ShardWorker
from transferkit.features.shards import Done, Extracted, Pictures, Shard, ShardQueue, Span

CPUS = 4  # of an actor where nothing is asked for: more of them compute less each


class ExtractionEngine(Protocol):
    """Extracts pictures, somewhere."""

    def run(self, work: Extraction, pictures: Pictures, reporter: Reporter) -> Extracted:
        """Compute and store what is lacking of all `pictures`."""


class Here:
    """In this process."""

    def run(self, work: Extraction, pictures: Pictures, reporter: Reporter) -> Extracted:
        """See `ExtractionEngine`. Raises what `ShardWorker.run` does."""
        worker, found = ShardWorker(work), Extracted()
        queue = ShardQueue(len(pictures), pictures.most())
        worker.begin()
        with reporter.progress("computing features", len(pictures)) as advance:
            while (span := queue.take(1)) is not None:
                done = worker.run(pictures.shard(span))
                queue.finish(span, done.seconds)
                found.add(pictures, span, done)
                advance(len(span))
        found.close(pictures, queue)
        return found


@dataclass(frozen=True)
class ExtractionShards:
    """An extraction as a cluster does it (see `ShardWork`)."""

    parcel: Extraction
    pictures: Pictures
    called = "extraction"

    @property
    def worker(self) -> type[ShardWorker]:
        """Holds the network, and puts rows into the store."""
        return ShardWorker

    @property
    def root(self) -> Path | None:
        """The folder of the pictures."""
        return self.pictures.samples.root

    def __len__(self) -> int:
        return len(self.pictures)

    def most(self) -> int:
        """See `Pictures.most`."""
        return self.pictures.most()

    def shard(self, span: Span) -> Shard:
        """See `Pictures.shard`."""
        return self.pictures.shard(span)

    def name(self, number: int) -> str:
        """Its path, as the data has it."""
        return self.pictures.samples.paths[self.pictures.order[number]]

    def run(self, shards: RayShards[Done], reporter: Reporter) -> Extracted:
        """All of it, on a cluster.

        Args:
            shards: of this work.
            reporter: is told of the progress.
        """
        found = Extracted()
        with reporter.progress("computing features", len(self)) as advance:
            for span, done in shards.answers():
                if done is not None:
                    found.add(self.pictures, span, done)
                advance(len(span))
        found.close(self.pictures, shards.queue)
        found.slow = shards.slow
        return found


class RayActors:
    """On a Ray cluster, by `workers` actors with `cpus` and `gpus` of a node each.

    `address`: see `ray_cluster.Cluster`. `workers` None: as many as there is room for. `cpus` None: 4, or as many as
    the smallest node has; on this machine its cores divided by `workers`.
    """

    def __init__(
        self, address: str | None = None, workers: int | None = None, cpus: float | None = None,
        gpus: float | None = None,
    ) -> None:  # fmt: skip
        self.address, self.workers, self.cpus, self.gpus = address, workers, cpus, gpus
        if cpus is not None and cpus > 1 and cpus != int(cpus):
            raise ConfigError(f"--worker-cpus {cpus:g}: above 1, Ray takes whole numbers only; use {int(cpus)}")

    def run(self, work: Extraction, pictures: Pictures, reporter: Reporter) -> Extracted:
        """See `ExtractionEngine`.

        Raises:
            ConfigError: no cluster, no room on it, or no machine of it makes the same rows.
            EngineError, TrainingError, StorageError: as `ShardWorker.run`.
        """
        shards = ExtractionShards(work, pictures)
        kept = ": rows that are stored are not computed again"
        with self.on_cluster(shards, reporter, work.bytes, kept) as run:
            return shards.run(run, reporter)

    @contextmanager
    def on_cluster(
        self, work: ShardWork[A], reporter: Reporter, room: int = 0, kept: str = ""
    ) -> Iterator[RayShards[A]]:  # fmt: skip
        """Any work in shards, with the cluster that it is done on, which is left afterwards.

        Args:
            work: what is to be done.
            reporter: is told of what is lost, slow or without room.
            room: bytes that it takes in the object store of a cluster that is started here.
            kept: what is said, where the cluster is gone, of what need not be done again.

        Raises:
            ConfigError: no cluster, or no room on it.
            TrainingError: the cluster is gone.
        """
        cluster = Cluster(self.address, os.cpu_count() or 1, room)
        try:
            wanted, slots = self.wanted(cluster.nodes(), cluster.local)
            yield RayShards(cluster, wanted, slots, work, reporter)
        except ConnectionError as error:
            raise TrainingError(
                f"the Ray cluster is gone ({error}); repeat the command when it is there again{kept}"
            ) from error
        finally:
            cluster.close()

    def wanted(self, nodes: list[dict[str, float]], local: bool) -> tuple[dict[str, float], int]:
        """What an actor takes of a node, and how many there are to be. Raises ConfigError where none has room."""
        able = [node["CPU"] for node in nodes if node.get("CPU", 0) >= 1] or [1.0]
        share = max(able) / self.workers if local and self.workers else min(CPUS, min(able))
        cpus = self.cpus or max(1, math.floor(share))
        found = {"CPU": cpus, "GPU": self.gpus or 0}
        room = fitting(nodes, found)
        if not room:
            most = "; ".join(sorted({f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in nodes}))
            raise ConfigError(
                f"no node of the Ray cluster has {cpus:g} CPUs and {self.gpus or 0:g} GPUs for a worker (there are "
                f"nodes with {most}); lower --worker-cpus or --worker-gpus, or add a node first"
            )
        return found, self.workers or room


def engine_of(
    name: str, address: str | None, workers: int | None, cpus: float | None, gpus: float | None
) -> ExtractionEngine:
    """The engine of that name.

    Args:
        name: "local" or "ray".
        address: of the cluster; the others as `RayActors` has them.
        workers: see there.
        cpus: see there.
        gpus: see there.

    Raises:
        ConfigError: there is no such engine, Ray is not installed, or what has no effect with the engine.
    """
    if name not in ("local", "ray"):
        raise ConfigError(f"--engine {name}: choose local or ray")
    if name == "ray":
        require_installed()
        return RayActors(address, workers, cpus, gpus)
    given: Mapping[str, object] = {"address": address, "workers": workers, "worker-cpus": cpus, "worker-gpus": gpus}
    idle = [f"--{option}" for option, value in given.items() if value is not None]
    if idle:
        raise ConfigError(f"{', '.join(idle)} has no effect with --engine {name}; add --engine ray, or drop it")
    return Here()
