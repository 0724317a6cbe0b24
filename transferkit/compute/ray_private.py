"""What we use of Ray that Ray does not promise (2.60): in one place, so that a new version of it is met here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

START_SECONDS = 180.0  # that a node may take to start: on a busy machine more than the 30 that Ray waits for it


def driver_path(job: Any, path: Any) -> None:
    """Set what a job puts on the module path of every worker.

    Args:
        job: a JobConfig of Ray.
        path: a list of folders, or what acts as one.
    """
    job._py_driver_sys_path = path


def worker_messages(shown: bool) -> None:
    """Whether Ray prints what befalls workers to standard output. Not even `log_to_driver=False` stops it."""
    from ray._private import worker

    worker._worker_logs_enabled = shown


def attempt() -> int:
    """How many times Ray has begun the running task before; 0 where it can't be known."""
    try:
        from ray._private import worker

        core: Any = worker.global_worker
        return int(core.core_worker.get_current_task_attempt_number())
    except (ImportError, AttributeError):
        return 0


@contextmanager
def patience() -> Iterator[None]:
    """Inside, `ray.init` waits START_SECONDS for the node that it starts. Ray asks for it again and again, for half a
    minute that cannot be set: here each question waits for an answer itself."""
    from ray._private import services

    ask: Any = services.get_node
    ends = time.monotonic() + START_SECONDS

    def asked(*arguments: Any, **options: Any) -> Any:
        while True:
            try:
                return ask(*arguments, **options)
            except RuntimeError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.1)

    services.get_node = asked
    try:
        yield
    finally:
        services.get_node = ask
