"""`best --engine ray` on clusters of its own: the same result as in one process, a killed worker, a killed driver."""

from __future__ import annotations

import os
import subprocess
import sys
import time
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


def test_it_comes_to_the_same_on_a_cluster_though_a_worker_is_killed(here, digits, tiny, tmp_path, monkeypatch, capfd):
    signs = tmp_path / "signs"
    signs.mkdir()
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "cache"))  # nothing is computed yet
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # what the workers import these tests from
    monkeypatch.setattr(portfolio, "NetworkRunners", lambda splits: Dying(NetworkRunners(splits), signs, "network-1"))
    run = tk.best(digits, [tiny, "mini"], output=tmp_path / "run", engine="ray", workers=2, **GIVEN)
    assert came_of(run) == came_of(here)
    begun = [sign.name.rpartition("-") for sign in signs.iterdir()]
    assert sorted(name for name, _, _ in begun) == ["look-0", "look-1", "network-0", "network-1", "network-1"]
    assert str(os.getpid()) not in {process for _, _, process in begun}
    err = capfd.readouterr().err
    assert "network mini: its worker or node was lost; it was run again on" in err
    assert not (run.folder / "networks").exists()
    assert not ray_cluster.load().is_initialized()


def test_after_the_driver_is_killed_no_network_is_compared_again_and_it_comes_to_the_same(
    here, digits, tiny, tmp_path, monkeypatch
):
    output = tmp_path / "run"
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "cache"))
    words = [
        "best", digits, "--backbone", tiny, "--backbone", "mini", "--budget", "1h", "--augment", "none", "--precision",
        "float32", "--offline", "--engine", "ray", "--output", output,
    ]  # fmt: skip
    with open(tmp_path / "err", "wb") as err:
        driver = subprocess.Popen([sys.executable, "-m", "transferkit", *map(str, words)], stdout=err, stderr=err)
        ends = time.monotonic() + 400
        while not (Layout(output).networks.exists() and events(output, "done")):
            assert driver.poll() is None, (tmp_path / "err").read_text()
            assert time.monotonic() < ends, (tmp_path / "err").read_text()
            time.sleep(0.1)
        driver.kill()
        driver.wait()
    assert [event["network"] for event in events(output, "done")] == [str(tiny)]
    again = call("resume", output, "--quiet")
    assert again.code == 0, again.err
    assert [event["network"] for event in events(output, "done")] == [str(tiny), "mini"]
    assert all("--engine ray" in event["command"] for event in events(output, "start"))
    assert came_of(tk.load_run(output)) == came_of(here)


def test_a_cluster_that_is_not_there_is_named_and_the_comparison_can_go_on_without_it(digits, tiny, tmp_path):
    words = ["best", digits, "--backbone", tiny, "--augment", "none", "--offline", "--output", tmp_path / "run"]
    refused = call(*words, "--engine", "ray", "--address", "127.0.0.1:9")
    assert refused.code == 2
    assert "no Ray cluster to be had at '127.0.0.1:9'" in refused.err
    again = call(*words, "--resume", "--quiet")
    assert again.code == 0, again.err
