"""Nodes of a real Ray cluster on this machine."""

from __future__ import annotations

from typing import Any

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
