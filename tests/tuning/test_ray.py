"""The Ray engine on real clusters: killed workers, lost nodes, a killed search, and what it leaves of itself."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from tests.marks import RAY
from tests.ray_nodes import add_node
from tests.tuning import ray_trials
from tests.tuning.ray_trials import digits_plan, drain, plan_of, simulated, values
from transferkit.compute import ray_cluster
from transferkit.console import Reporter
from transferkit.errors import ConfigError
from transferkit.tuning.executors import ray_executor, ray_worker
from transferkit.tuning.executors.local import InProcess
from transferkit.tuning.executors.ray_executor import Ray
from transferkit.tuning.records import Outcome, TrialLimits, TrialTask

pytestmark = RAY
ONE = {"cpus": 0.5, "make": simulated}


# -- what is refused, without a cluster


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'transferkit\[ray\]'"):
        Ray(plan_of(tmp_path), 1, Reporter(quiet=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["ray://127.0.0.1:9", "127.0.0.1:9"])
def test_an_address_where_nobody_answers_is_refused(tmp_path, address):
    with pytest.raises(ConfigError, match=rf"no Ray cluster to be had at '{address}'.*refused.*ray start --head"):
        Ray(plan_of(tmp_path), 1, Reporter(quiet=True), address=address)


class Busy:
    """Stands in for ray: a cluster that fails to start a server for its clients so many times."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, []

    def init(self, **options):
        self.calls.append("init")
        if self.calls.count("init") <= self.failures:
            raise ConnectionAbortedError("Starting Ray client server failed")

    def shutdown(self):
        self.calls.append("shutdown")


@pytest.mark.parametrize("failures", [1, 2])
def test_a_cluster_too_busy_to_answer_is_asked_once_more(failures):
    joining = ray_cluster.Cluster.__new__(ray_cluster.Cluster)
    joining.ray = busy = Busy(failures)
    if failures == 1:
        joining._join("auto")
        assert busy.calls == ["init", "shutdown", "init"]
    else:
        with pytest.raises(ConfigError, match="Starting Ray client server failed"):
            joining._join("auto")
        assert busy.calls == ["init", "shutdown", "init", "shutdown"]


@pytest.mark.parametrize(
    ("nodes", "wanted", "room"),
    [
        ([{"CPU": 4.0}, {"CPU": 3.0}], {"CPU": 2, "GPU": 0}, 3),
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 16.0}], {"CPU": 1, "GPU": 0.5}, 4),
        ([{"CPU": 1.0}], {"CPU": 0.1, "GPU": 0}, 10),
        ([{"CPU": 1.0}] * 5, {"CPU": 2, "GPU": 0}, 0),
    ],
)
def test_a_trial_runs_on_one_node_and_room_is_counted_so(nodes, wanted, room):
    assert ray_cluster.fitting(nodes, wanted) == room


def test_a_process_in_which_a_trial_hangs_takes_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_worker, "LINGER", 86_400.0)  # it would end this very process
    monkeypatch.chdir(Path.cwd())  # it goes where the search works; put back at the end
    let, task = tmp_path / "hanging-let", TrialTask("hanging", {"held": True}, 0, TrialLimits(seconds=0.1))
    bench = ray_worker.Bench("key", ray_worker.Shipment(plan_of(tmp_path), simulated, tmp_path, tmp_path, 0.0))
    hung = bench.run(task).outcome
    assert (hung.status, "its worker was ended" in hung.error) == ("timeout", True)
    assert bench.run(TrialTask("next", {}, 1)).outcome is None
    let.touch()
    assert not signs(tmp_path, "next")


class Bouncing:
    """Stands in for ray and for a remote function: answers come in the order given."""

    exceptions = SimpleNamespace(
        **{
            name: type(name, (Exception,), {})
            for name in ("OutOfMemoryError", "RayTaskError", "RuntimeEnvSetupError", "RayError")
        }
    )

    def __init__(self, *replies) -> None:
        self.replies, self.begun, self.told = list(replies), [], []

    def remote(self, key, shipment, task):
        self.begun.append(task.id)
        return len(self.begun)

    def options(self, **options):
        self.told.append(options)
        return self

    def wait(self, refs, num_returns, timeout):
        return refs, []

    def get(self, ref):
        return self.replies.pop(0)


def test_what_a_process_could_not_take_goes_to_a_new_one_with_the_attempts_it_has_left(capfd):
    ended = ray_worker.Reply(None, "here", True, attempt=1)
    answer = ray_worker.Reply(Outcome("7", "ok", 0.5), "there", True)
    engine = Ray.__new__(Ray)
    engine._ray = engine._remote = ray = Bouncing(ended, ended, answer)
    engine.reporter, engine._running, engine._apart = Reporter(), {}, set()
    engine._key, engine._shipment, engine._wanted, engine._restarts = "key", None, {"CPU": 1}, 0
    engine.submit(TrialTask("7", {}, 0))
    assert engine.wait() == [answer.outcome]
    assert ray.begun == ["7", "7", "7"]
    assert [options["max_retries"] for options in ray.told] == [1, 0]
    environments = [options["runtime_env"]["env_vars"] for options in ray.told]
    assert environments[0] != environments[1], "a process of its own each time"
    assert not engine._running
    assert "trial 7: its worker or node was lost; it was run again on there" in capfd.readouterr().err


# -- two nodes


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one CPU each, and a door for clients from outside."""
    ray_cluster.load()
    from ray.cluster_utils import Cluster

    # As if this package and its trials were installed on every node.
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    patch.setenv("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "120")  # other tests may keep the cores busy
    found = Cluster()
    add_node(found, include_dashboard=False, ray_client_server_port=20_801)
    add_node(found)
    patch.undo()
    yield found
    found.shutdown()


class Elsewhere:
    """What trains cannot be had on the worker."""

    def __reduce__(self):
        return importlib.import_module, ("nowhere",)


def signs(folder: Path, name: str = "*") -> list[Path]:
    return sorted(folder.glob(f"{name}-*[0-9]"))


def sign_of(folder: Path, name: str, seconds: float = 200) -> int:
    """The process at which task `name` runs, once it does."""
    ends = time.monotonic() + seconds
    while not signs(folder, name):
        assert time.monotonic() < ends, f"{name} never began"
        time.sleep(0.05)
    return int(signs(folder, name)[0].name.rpartition("-")[2])


@pytest.mark.slow
@pytest.mark.ray
def test_what_no_node_has_room_for_is_refused_and_too_many_workers_are_told(tmp_path, cluster):
    with pytest.raises(
        ConfigError, match=r"no node of the Ray cluster has 2 CPUs and 1 GPUs .*nodes with 1 CPUs, 0 GP"
    ):
        Ray(plan_of(tmp_path), 1, Reporter(quiet=True), address=cluster.address, cpus=2, gpus=1)
    reporter = Reporter(quiet=True)
    Ray(plan_of(tmp_path), 100, reporter, address=cluster.address, make=simulated).close()
    assert any("runs 2 trials with 1 CPUs each at a time, --workers asks for 100" in w for w in reporter.warnings)


@pytest.mark.slow
@pytest.mark.ray
def test_every_trial_is_accounted_for_whatever_befalls_workers(tmp_path, cluster, monkeypatch, capfd):
    monkeypatch.setattr(ray_executor, "GRACE", 1.0)
    reporter = Reporter()
    engine = Ray(plan_of(tmp_path), 4, reporter, address=cluster.address, **ONE)
    hanging = TrialTask("hanging", {"seconds": 600}, 7, TrialLimits(seconds=0.5))
    tasks = {name: TrialTask(name, {"held": name == "0"}, int(name)) for name in "012345"}
    engine.submit(tasks["0"])
    os.kill(sign_of(tmp_path, "0"), signal.SIGKILL)
    (tmp_path / "0-let").touch()
    for task in (TrialTask("dying", {"dies": True}, 8), TrialTask("failing", {"fails": True}, 9), hanging):
        engine.submit(task)
    done = []
    while len(done) < 4:
        done += engine.wait()
    done += drain(engine, [tasks[name] for name in "12345"])
    assert Counter(o.id for o in done) == Counter(["dying", "failing", "hanging", *"012345"])
    by_name = {o.id: o for o in done}
    assert {by_name[name].status for name in tasks} == {"ok"}
    assert [by_name[name].score for name in tasks] == [0, 1, 2, 3, 4, 5]
    assert len(signs(tmp_path, "0")) == 2
    assert by_name["dying"].status == "killed"
    assert "lost 3 times" in by_name["dying"].error
    assert len(signs(tmp_path, "dying")) == 3
    assert (by_name["failing"].status, by_name["failing"].error) == ("failed", "ValueError: no such thing")
    assert by_name["hanging"].status == "timeout"
    engine.close()
    out, err = capfd.readouterr()
    assert out == ""
    assert "trial 0: its worker or node was lost; it was run again" in err
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.slow
@pytest.mark.ray
def test_trials_follow_one_another_in_the_same_processes(tmp_path, cluster):
    engine = Ray(plan_of(tmp_path), 2, Reporter(quiet=True), address=cluster.address, make=simulated)
    done = drain(engine, [TrialTask(str(n), {}, n) for n in range(12)])
    engine.close()
    assert sorted(o.score for o in done) == list(range(12))
    assert len({sign.name.rpartition("-")[2] for sign in signs(tmp_path)}) <= 4


@pytest.mark.slow
@pytest.mark.ray
def test_a_process_about_to_end_costs_the_next_trials_nothing(tmp_path, cluster, monkeypatch, capfd):
    monkeypatch.setattr(ray_executor, "GRACE", 0.0)
    engine = Ray(plan_of(tmp_path), 2, Reporter(), address=cluster.address, make=simulated)
    tasks = [
        TrialTask("hanging", {"seconds": 600}, 0, TrialLimits(seconds=0.2)),
        *(TrialTask(str(n), {}, n) for n in range(3)),
    ]
    done = drain(engine, tasks)
    engine.close()
    assert sorted((o.id, o.status) for o in done) == [("0", "ok"), ("1", "ok"), ("2", "ok"), ("hanging", "timeout")]
    assert len(signs(tmp_path)) == 4
    assert "was lost" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.ray
def test_a_node_that_is_removed_costs_no_trial(tmp_path, cluster, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # as the other nodes have it
    node = add_node(cluster, resources={"third": 1})
    engine = Ray(plan_of(tmp_path), 6, Reporter(quiet=True), address=cluster.address, **ONE)
    tasks = [TrialTask(str(n), {"held": True}, n) for n in range(6)]
    for task in tasks:
        engine.submit(task)
    processes = [psutil.Process(sign_of(tmp_path, task.id)) for task in tasks]
    cluster.remove_node(node, allow_graceful=False)
    # Only then go on: a process answers the search itself, and may outlive its node for a moment.
    ends = time.monotonic() + 200
    while sum(process.is_running() for process in processes) > 4:
        assert time.monotonic() < ends
        time.sleep(0.05)
    for task in tasks:
        (tmp_path / f"{task.id}-let").touch()
    done = []
    while len(done) < len(tasks):
        done += engine.wait()
    engine.close()
    assert sorted((o.id, o.status, o.score) for o in done) == [(str(n), "ok", float(n)) for n in range(6)]
    assert len(signs(tmp_path)) == 8, "the two trials of the lost node ran twice, the others once"


@pytest.mark.slow
@pytest.mark.ray
def test_a_closed_engine_leaves_no_trial_running_and_the_cluster_as_it_was(tmp_path, cluster):
    engine = Ray(plan_of(tmp_path), 1, Reporter(quiet=True), address=cluster.address, **ONE)
    engine.submit(TrialTask("long", {"seconds": 600}, 0))
    process = psutil.Process(sign_of(tmp_path, "long"))
    engine.close()
    process.wait(60)
    again = Ray(plan_of(tmp_path), 1, Reporter(quiet=True), address=cluster.address, **ONE)
    assert [o.status for o in drain(again, [TrialTask("short", {}, 0)])] == ["ok"]
    again.close()


@pytest.mark.slow
@pytest.mark.ray
def test_a_search_outside_the_cluster_that_shares_no_folder_with_it(tmp_path, cluster, monkeypatch):
    """Through `ray://`; the workers look at another place for the marker, as on a machine without the shared disk."""
    reporter = Reporter()
    monkeypatch.setattr(ray_executor, "write_text", lambda path, text: None)
    engine = Ray(plan_of(tmp_path), 1, reporter, address="ray://127.0.0.1:20801", make=simulated)
    done = drain(engine, [TrialTask("0", {}, 0), TrialTask("1", {}, 1)])
    engine.close()
    assert [(o.status, o.error) for o in done] == [("ok", "")] * 2
    told = [w for w in reporter.warnings if "does not see" in w]
    assert len(told) == 1
    assert "begin at their first epoch" in told[0]
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.slow
@pytest.mark.ray
def test_a_worker_that_cannot_begin_says_why(tmp_path, cluster):
    engine = Ray(plan_of(tmp_path), 1, Reporter(quiet=True), address=cluster.address, cpus=0.5, make=Elsewhere())
    outcome = drain(engine, [TrialTask("0", {}, 0)])[0]
    engine.close()
    assert outcome.status == "failed"
    assert "same transferkit installed on every node? " in outcome.error
    assert "No module named 'nowhere'" in outcome.error


# -- a cluster of its own


@pytest.mark.slow
@pytest.mark.ray
def test_real_trials_on_a_cluster_of_their_own_and_a_killed_search(tmp_path, digits):
    """Trials give what they give in process; results and home stay clean; SIGKILL of the search ends all of it."""
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        search = subprocess.Popen(
            [sys.executable, ray_trials.__file__, str(folder), str(digits)], stdout=out, stderr=err, env=environment
        )
        ends = time.monotonic() + 400
        while not (folder / "ready").exists():
            assert search.poll() is None, (tmp_path / "err").read_text()
            assert time.monotonic() < ends, (tmp_path / "err").read_text()
            time.sleep(0.2)
        began = psutil.Process(search.pid).children(recursive=True)
        # Ray's two agents notice about a minute later; they run no trials.
        began = [process for process in began if not process.name().endswith("Agent")]
        trial = psutil.Process(sign_of(folder, "long"))
        search.kill()
        search.wait()
    _, alive = psutil.wait_procs([trial, *began], timeout=60)
    assert not alive
    assert (tmp_path / "out").read_text() == ""
    assert (tmp_path / "err").read_text() == "killed\n"
    assert not (home / ".ray").exists()
    plan = digits_plan(digits, tmp_path / "here")
    engine = InProcess(plan, Reporter(quiet=True))
    for here in drain(engine, ray_trials.TASKS):
        there = np.load(folder / f"outcome-{here.id}.npz")
        assert {name: str(value) for name, value in values(here).items()} == {k: str(there[k]) for k in there}
    engine.close()
    assert (folder / "checkpoints" / "0").exists(), "what trial 3 went on from"
