"""Memory that this process may take: of the machine, of the container or job it runs in, and by its own bound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from transferkit import addresses

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
# The first and second version of cgroups: where groups are, the files with limit and use, and in memory.stat the name
# of what the kernel gives back by itself (cached files), of a group and all below it.
_FIRST = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
_SECOND = "memory.max", "memory.current", "inactive_file"


def machine_memory() -> int:
    """Bytes of memory of the machine, or what is the least of: the limits of the groups that this process is in (a
    container, a job of Slurm or systemd), and its bound on addresses (`ulimit -v`)."""
    most = addresses.bound()
    bounds = [limit for limit, _ in _limits()] + ([] if most is None else [most])
    return min([int(psutil.virtual_memory().total), *bounds])


def available_memory() -> int:
    """Bytes of `machine_memory` that nobody has taken yet, as far as that is known."""
    left = addresses.left()
    free = [limit - used for limit, used in _limits()] + ([] if left is None else [left])
    return max(0, min([int(psutil.virtual_memory().available), *free]))


def _limits() -> Iterator[tuple[int, int]]:
    """Limit and use of each group with a limit that this process is in, directly or by one above."""
    for folder, (limit, used, cached) in _groups():
        with suppress(OSError, ValueError):  # no such file, or "max"
            most = int((folder / limit).read_text())
            yield most, _used(folder, used, cached)


def _used(folder: Path, used: str, cached: str) -> int:
    with suppress(OSError, ValueError):
        taken = int((folder / used).read_text())
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == cached:
                taken -= int(value)
        return max(0, taken)
    return 0


def _groups() -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Folders of the groups, innermost first. In a container its own is the root of what it sees, whatever the path
    says that the kernel tells."""
    told = ""
    with suppress(OSError, ValueError):
        told = OWN.read_text()
    for line in told.splitlines() or ["0::/", "0:memory:/"]:
        _, controllers, place = line.split(":", 2) if line.count(":") >= 2 else ("", "-", "/")
        roots = [CGROUPS, CGROUPS / "unified"] if not controllers else [CGROUPS / "memory"]
        if controllers and "memory" not in controllers.split(","):
            continue
        parts = [part for part in place.split("/") if part not in ("", "..")]
        for root in roots:
            for depth in range(len(parts), -1, -1):
                yield root.joinpath(*parts[:depth]), _FIRST if controllers else _SECOND
