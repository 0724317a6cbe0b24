"""Memory is that of the container or job a process runs in, wherever the kernel keeps it, or of its own bound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from transferkit import addresses
from transferkit.data import machine
from transferkit.data.machine import available_memory, machine_memory

GB = 1 << 30
TOTAL = psutil.virtual_memory().total
UNLIMITED = {"memory.max": "max", "memory.limit_in_bytes": 9223372036854771712}
unbounded = pytest.mark.skipif(addresses.bound() is not None, reason="the tests themselves are bounded")
pytestmark = unbounded


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for groups, and of no group at first."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN", tmp_path / "own")
    return tmp_path / "cgroup"


def told(groups: Path, own: str, **files: dict[str, object]) -> None:
    """What the kernel says of this process, and the files of groups (`a__b`: the group a/b)."""
    (groups.parent / "own").write_text(own)
    for folder, content in files.items():
        place = groups.joinpath(*folder.split("__"))
        place.mkdir(parents=True, exist_ok=True)
        for name, value in content.items():
            (place / name).write_text(f"{value}\n")


def test_without_groups_it_is_the_machine_s(groups: Path) -> None:
    assert machine_memory() == TOTAL
    assert 0 < available_memory() <= TOTAL


def test_the_second_version_s_group_of_a_job_bounds_and_what_it_has_taken_is_gone(groups: Path) -> None:
    stat = f"anon 1\ninactive_file {GB // 8}"  # cached files are given back
    job = {"memory.max": GB, "memory.current": GB // 2, "memory.stat": stat}
    told(groups, "0::/jobs/mine", jobs__mine=job, jobs={"memory.max": "max"})
    assert machine_memory() == GB
    assert available_memory() == GB - GB // 2 + GB // 8


def test_the_least_of_all_groups_above_counts(groups: Path) -> None:
    told(groups, "0::/jobs/mine/step", jobs__mine__step={"memory.max": 3 * GB}, jobs={"memory.max": GB})
    assert machine_memory() == GB


@pytest.mark.parametrize("controllers", ["memory", "cpu,memory"])
def test_the_first_version_s_group(groups: Path, controllers: str) -> None:
    own = f"9:name=systemd:/other\n4:{controllers}:/slurm/job_7\n0::/\n"
    stat = f"inactive_file 5\ntotal_inactive_file {GB // 4}"
    job = {"memory.limit_in_bytes": GB, "memory.usage_in_bytes": GB // 2, "memory.stat": stat}
    told(groups, own, memory__slurm__job_7=job, memory={"memory.limit_in_bytes": UNLIMITED["memory.limit_in_bytes"]})
    assert machine_memory() == GB
    assert available_memory() == GB - GB // 2 + GB // 4


def test_in_a_container_that_sees_its_own_group_as_the_root(groups: Path) -> None:
    told(groups, "4:memory:/docker/0123", memory={"memory.limit_in_bytes": GB})
    assert machine_memory() == GB
    told(groups, "0::/../../elsewhere", unified={"memory.max": GB // 2})
    assert machine_memory() == GB // 2


@pytest.mark.parametrize("own", ["", "nonsense", "0:", "4:memory:", "0::/jobs/mine\n\n"])
def test_what_is_not_understood_bounds_nothing(groups: Path, own: str) -> None:
    told(groups, own, jobs__mine={"memory.max": "max"}, memory={"memory.limit_in_bytes": "?"})
    assert machine_memory() == TOTAL


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds of addresses as Linux has them")
def test_a_bound_on_addresses_is_memory_too() -> None:
    code = (
        "import resource; from transferkit.data.machine import *\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({2 * GB}, {2 * GB}))\nprint(machine_memory(), available_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    most, free = map(int, done.stdout.split())
    assert most == min(2 * GB, TOTAL)
    assert 0 < free < 2 * GB
