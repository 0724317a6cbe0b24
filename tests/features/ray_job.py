"""Extractions on clusters, for tests; as a program one that is to be killed.

python -m tests.features.ray_job DIGITS ADDRESS
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from transferkit.features.shard_worker import ShardWorker
from transferkit.features.shards import Done, Shard

SIGNS = "TRANSFERKIT_TEST_SIGNS"  # what begins so goes to the workers


class Held(ShardWorker):
    """Leaves a sign when a shard begins, and waits for leave to go on with it: `go`, or `go-` and its first picture."""

    def run(self, shard: Shard) -> Done:
        import ray

        signs, first = Path(os.environ[SIGNS]), Path(shard.samples.paths[0]).stem
        node = ray.get_runtime_context().get_node_id()
        (signs / f"{first}.{node}.{os.getpid()}").touch()
        while not (signs / "go").exists() and not (signs / f"go-{first}").exists():
            time.sleep(0.05)
        return super().run(shard)


def settings() -> dict[str, object]:
    """Of all extractions here: three views a picture, pooled."""
    return {"head": "mlp", "views": 2, "precision": "float32", "quiet": True}


def main(digits: str, address: str) -> None:
    """Extract, with workers that wait."""
    import transferkit as tk
    from transferkit.features import extraction_engines

    extraction_engines.ShardWorker = Held
    tk.extract_features(digits, "mini", engine="ray", address=address, workers=2, worker_cpus=1, **settings())


if __name__ == "__main__":
    main(*sys.argv[1:])
