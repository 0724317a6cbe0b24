"""Extractions on clusters, for tests; as a program one that is to be killed.

python -m tests.features.ray_job DIGITS ADDRESS
"""

from __future__ import annotations

import sys

from tests.ray_nodes import hold
from transferkit.features.shard_worker import ShardWorker
from transferkit.features.shards import Done, Shard


class Held(ShardWorker):
    """Waits in each shard for leave to go on with it."""

    def run(self, shard: Shard) -> Done:
        hold(shard.samples.paths[0])
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
