"""Nodes of a real Ray cluster on this machine, and signs that workers leave there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from transferkit.compute import ray_cluster

ROOT = Path(__file__).parents[1]
SIGNS = "TRANSFERKIT_TEST_SIGNS"  # names the folder of the signs; what begins so goes to the workers
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


def add_node(cluster: Any, **more: Any) -> Any:
    """A node, tried three times: Ray gives it half a minute, which is short where other tests keep the cores busy."""
    for last in (False, False, True):
        try:
            return cluster.add_node(**NODE, **more)
        except Exception:
            if last:
                raise
    raise AssertionError


@contextmanager
def three_nodes() -> Iterator[Any]:
    """A cluster of three nodes with one CPU each, of which `third` may be removed."""
    ray_cluster.load()
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # as if this package and its tests were installed on every node
        found = Cluster()
        add_node(found, include_dashboard=False)
        add_node(found)
        found.third = add_node(found)
    yield found
    found.shutdown()


def hold(first: str) -> None:
    """In a worker: leave a sign that the shard with this first picture has begun, and wait for leave to go on with it:
    `go`, or `go-` and the picture."""
    import ray

    signs, first = Path(os.environ[SIGNS]), Path(first).stem
    node = ray.get_runtime_context().get_node_id()
    (signs / f"{first}.{node}.{os.getpid()}").touch()
    while not (signs / "go").exists() and not (signs / f"go-{first}").exists():
        time.sleep(0.05)


def begun(signs: Path, count: int, seconds: float = 200) -> list[tuple[str, str, int]]:
    """First picture, node and process of `count` shards that have begun."""
    ends = time.monotonic() + seconds
    while len(found := [p.name.split(".") for p in signs.iterdir() if not p.name.startswith("go")]) < count:
        assert time.monotonic() < ends, f"{len(found)} of {count} shards began"
        time.sleep(0.05)
    return [(first, node, int(process)) for first, node, process in found]


def lose_a_worker_and_a_node(cluster: Any, signs: Path) -> None:
    """Once each of three nodes has begun a shard, kill the worker of one and remove another; then let all go on."""
    three = begun(signs, 3)
    assert len({node for _, node, _ in three}) == 3
    victim = next(process for _, node, process in three if node != cluster.third.node_id)
    lost = next(process for _, node, process in three if node == cluster.third.node_id)
    os.kill(victim, signal.SIGKILL)
    cluster.remove_node(cluster.third, allow_graceful=False)
    psutil.wait_procs([psutil.Process(p) for p in (victim, lost) if psutil.pid_exists(p)], timeout=90)
    begun(signs, 4)  # who took the killed one's place has begun its shard
    (signs / "go").touch()
