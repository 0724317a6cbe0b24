"""Workers for tests of answers on clusters; as a program a command that is to be killed.

python -m tests.delivery.ray_predict_job WORDS…: what follows `transferkit predict`, by workers that wait.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.ray_nodes import hold
from transferkit.delivery.answer_worker import AnswerWorker, ShardAnswers


class Held(AnswerWorker):
    """Waits in each shard for leave to go on with it. Its process is killed by a picture called `poison.png`."""

    def run(self, shard: Sequence[str]) -> ShardAnswers:
        hold(shard[0])
        if any(Path(path).name == "poison.png" for path in shard):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(shard)


def main(words: Sequence[str]) -> int:
    """Predict."""
    from transferkit.cli import cli
    from transferkit.cli._boundary import guarded
    from transferkit.delivery import ray_predict

    ray_predict.AnswerWorker = Held  # type: ignore[misc]
    return guarded(cli, ["predict", *words])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
