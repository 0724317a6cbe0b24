"""Answers on a real cluster of three nodes: killed workers, a lost node, a killed asking process, a deadly picture."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.calls import call
from tests.delivery.ray_predict_job import Held
from tests.marks import RAY
from tests.ray_nodes import ROOT, SIGNS, begun, lose_a_worker_and_a_node, three_nodes
from transferkit.delivery import ray_predict
from transferkit.features import ray_shards, shards
from transferkit.features.shards import ENDS

pytestmark = RAY


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of one CPU each."""
    with three_nodes() as found:
        yield found


@pytest.fixture
def signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "signs"
    folder.mkdir()
    monkeypatch.setenv(SIGNS, str(folder))
    return folder


def test_without_a_cluster_there_is_one_error_and_no_file(digits_run: Any, digits: Path, tmp_path: Path) -> None:
    words = ("--engine", "ray", "--address", "127.0.0.1:1", "--output", tmp_path / "a.csv")
    done = call("predict", digits_run.folder, digits, *words, "--quiet")
    assert done.code == 2
    assert "no Ray cluster to be had at '127.0.0.1:1'" in done.err
    assert not list(tmp_path.glob("*a.csv*"))


def test_a_killed_asking_process_leaves_no_worker_and_no_file(
    cluster: Any, digits_run: Any, digits: Path, signs: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "answers.csv"
    output.parent.mkdir()
    words = [digits_run.folder, digits, "--engine", "ray", "--address", cluster.address, "--workers", 1]
    command = [sys.executable, "-m", "tests.delivery.ray_predict_job", *map(str, words), "--output", str(output)]
    with open(tmp_path / "err", "wb") as err:
        asking = subprocess.Popen(command, stdout=err, stderr=err, cwd=ROOT)
        first, _, process = begun(signs, 1)[0]
        (signs / f"go-{first}").touch()
        begun(signs, 2)  # the first shard is answered, and on its way into the file
        asking.kill()
        asking.wait()
    _, alive = psutil.wait_procs([psutil.Process(process)] if psutil.pid_exists(process) else [], timeout=90)
    assert not alive, (tmp_path / "err").read_text()
    assert not output.exists()


def test_a_killed_worker_a_lost_node_and_a_deadly_picture_change_no_other_answer_nor_their_order(
    cluster: Any, digits_run: Any, digits: Path, signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test: of the three nodes one is gone afterwards."""
    monkeypatch.setattr(ray_predict, "AnswerWorker", Held)
    monkeypatch.setattr(ray_shards, "LOOK", 0.5)
    monkeypatch.setattr(shards, "LOSSES", 1)  # each loss takes a process that has to begin again
    pictures = [path for folder in sorted(digits.iterdir()) for path in sorted(folder.iterdir())][: 3 * shards.LEAST]
    deadly = tmp_path / "poison.png"
    shutil.copy(pictures[0], deadly)
    expected, found = digits_run.predict(pictures), []

    def ask() -> None:
        where = {"address": cluster.address, "workers": 3, "worker_cpus": 1}
        found.append(digits_run.predict([*pictures, deadly], engine="ray", **where))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    lose_a_worker_and_a_node(cluster, signs)
    thread.join(200)
    assert found, "the answers did not end"
    assert found[0][:-1] == expected, "to the last bit, in the order of the pictures"
    assert (found[0][-1].path, found[0][-1].error) == (str(deadly), ENDS)
