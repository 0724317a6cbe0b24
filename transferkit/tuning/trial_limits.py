"""What a trial may take: memory measured and bounded, and when a worker is given up."""

from __future__ import annotations

from collections.abc import Callable

ATTEMPTS = 3  # of a task whose worker is lost
GRACE = 60.0  # seconds beyond twice its own time limit after which a worker is taken to hang
SHARE = 0.85  # of the machine's memory, where the user names no bound


class TrialMemoryError(MemoryError):
    """A trial took more memory than it may."""


def memory_in_use() -> int:
    """Resident bytes of this process."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def within(limit: int | None) -> Callable[[], None]:
    """A function that raises TrialMemoryError once this process holds more than `limit` bytes."""

    def check() -> None:
        used = memory_in_use() if limit else 0
        if limit and used > limit:
            raise TrialMemoryError(
                f"the trial's process holds {used / 1e9:.1f} GB, its bound is {limit / 1e9:.1f} GB; smaller batches or "
                "networks take less, --trial-memory raises the bound"
            )

    return check
