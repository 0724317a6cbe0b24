"""`best --engine ray` on clusters of its own: the same result as in one process, a killed driver, a killed worker."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.marks import RAY
from tests.tuning.ray_networks import Dying
from tests.tuning.test_portfolio import networks_alone
from transferkit.compute import ray_cluster
from transferkit.runs.layout import Layout
from transferkit.tuning import portfolio
from transferkit.tuning.journal import Journal
from transferkit.tuning.network_runner import NetworkRunners

pytestmark = [*RAY, pytest.mark.usefixtures("unpublished")]
GIVEN = {"augment": "none", "precision": "float32", "offline": True, "budget": "1h"}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    networks_alone(monkeypatch)


@pytest.fixture(scope="module")
def here(digits, tiny, tmp_path_factory):
    """What comes of it in one process."""
    folder = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(folder / "cache"))
        patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
        networks_alone(patch)
        return tk.best(digits, [tiny, "mini"], output=folder / "run", quiet=True, **GIVEN)


def came_of(run: tk.Run) -> dict[str, Any]:
    """All that must be the same wherever networks were compared: what it is, not how long it took."""
    metrics = run.metrics
    networks = [
        {name: value for name, value in row.items() if name not in ("seconds", "look_seconds")}
        for row in metrics["portfolio"]["networks"]
    ]
    parts = {name: metrics.get(name) for name in ("test", "cross_validation", "candidates", "ensemble", "temperature")}
    return {"networks": networks, "left_out": metrics["portfolio"]["left_out"], **parts}


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in Journal.read(Layout(folder).networks)[1] if event["event"] == kind]


# The command, whose process is killed when it has written down what came of the first network.
DRIVER = """
import os, signal, sys
from pathlib import Path
from tests.tuning.ray_networks import Dying
from transferkit.cli import main
from transferkit.tuning import portfolio
from transferkit.tuning.journal import Journal
from transferkit.tuning.network_runner import NetworkRunners
signs, append = Path(sys.argv.pop(1)), Journal.append
def written(journal, event):
    append(journal, event)
    if event["event"] == "done":
        os.kill(os.getpid(), signal.SIGKILL)
Journal.append = written
portfolio.NetworkRunners = lambda splits: Dying(NetworkRunners(splits), signs, "none")
main()
"""


def begun(signs: Path) -> list[str]:
    """The tasks that were begun, each time in a process that is not this one."""
    found = [sign.name.rpartition("-") for sign in signs.iterdir()]
    assert str(os.getpid()) not in {process for _, _, process in found}
    return sorted(name for name, _, _ in found)


def test_though_the_driver_is_killed_and_then_a_worker_no_network_is_compared_again_and_it_comes_to_the_same(
    here, digits, tiny, tmp_path, monkeypatch, fresh
):
    output, before, after = tmp_path / "run", tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "cache"))  # nothing is computed yet
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # what the workers import these tests from
    words = [
        "best", digits, "--backbone", tiny, "--backbone", "mini", "--budget", "1h", "--augment", "none", "--precision",
        "float32", "--offline", "--engine", "ray", "--workers", "2", "--output", output,
    ]  # fmt: skip
    killed = fresh(DRIVER, before, *words)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [event["network"] for event in events(output, "done")] == [str(tiny)]
    assert set(begun(before)) >= {"look-0", "look-1", "network-0"}
    monkeypatch.setattr(portfolio, "NetworkRunners", lambda splits: Dying(NetworkRunners(splits), after, "network-1"))
    again = call("resume", output)
    assert again.code == 0, again.err
    assert begun(after) == ["network-1", "network-1"]
    assert "network mini: its worker or node was lost; it was run again on" in again.err
    assert [event["network"] for event in events(output, "done")] == [str(tiny), "mini"]
    assert all("--engine ray" in event["command"] for event in events(output, "start"))
    assert came_of(tk.load_run(output)) == came_of(here)
    assert not (output / "networks").exists()
    assert not ray_cluster.load().is_initialized()


def test_a_cluster_that_is_not_there_is_named_and_the_comparison_can_go_on_without_it(digits, tiny, tmp_path):
    words = ["best", digits, "--backbone", tiny, "--augment", "none", "--offline", "--output", tmp_path / "run"]
    refused = call(*words, "--engine", "ray", "--address", "127.0.0.1:9")
    assert refused.code == 2
    assert "no Ray cluster to be had at '127.0.0.1:9'" in refused.err
    again = call(*words, "--resume", "--quiet")
    assert again.code == 0, again.err
