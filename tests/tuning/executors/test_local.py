"""Worker processes: divided work, dead and hanging workers, and none left behind."""

import os
import pickle
import subprocess
import sys

import pytest

from transferkit.console import Reporter
from transferkit.tuning.executors import local
from transferkit.tuning.records import TrialLimits, TrialTask


@pytest.fixture
def pool(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "WORKER", "tests.tuning.fake_worker")
    made = local.Processes(str(tmp_path), 2, Reporter(quiet=True))
    yield made
    made.close()


def gather(pool, *names, limits=None):
    waiting, found, running = [TrialTask(name, {}, 0, limits or TrialLimits()) for name in names], {}, 0
    while waiting or running:
        while waiting and running < pool.slots:
            pool.submit(waiting.pop(0))
            running += 1
        for outcome in pool.wait():
            found[outcome.id] = outcome
            running -= 1
    return found


def test_all_tasks_come_back_from_as_many_processes_as_there_are_slots(pool, tmp_path):
    found = gather(pool, *(f"task-{n}" for n in range(6)))
    assert {o.status for o in found.values()} == {"ok"}
    lines = [line.split() for name in found for line in (tmp_path / name).read_text().splitlines()]
    assert len(lines) == 6, "each was run once"
    assert 1 <= len({process for process, _ in lines}) <= 2
    assert {int(threads) for _, threads in lines} == {max(1, (os.cpu_count() or 1) // 2)}


def test_a_task_whose_worker_dies_is_run_again_by_another(pool, tmp_path):
    found = gather(pool, "dies-once", "other")
    assert found["dies-once"].status == "ok"
    processes = [line.split()[0] for line in (tmp_path / "dies-once").read_text().splitlines()]
    assert len(set(processes)) == 2
    assert found["other"].status == "ok"


def test_a_task_that_kills_every_worker_is_given_up_with_the_reason(pool, tmp_path):
    found = gather(pool, "dies", "other")
    assert found["dies"].status == "killed"
    assert "exit code 7" in found["dies"].error
    assert len((tmp_path / "dies").read_text().splitlines()) == local.ATTEMPTS
    assert found["other"].status == "ok"


def test_a_worker_that_hangs_is_ended(pool, monkeypatch):
    monkeypatch.setattr(local, "GRACE", 0.5)
    found = gather(pool, "hangs", "other", limits=TrialLimits(seconds=0.5))
    assert found["hangs"].status == "timeout"
    assert found["other"].status == "ok"


@pytest.mark.parametrize("length", [70, 150])
def test_a_long_folder_for_temporary_files_is_no_hindrance(pool, tmp_path, monkeypatch, length):
    """Names of sockets have room for 107 bytes."""
    folder = tmp_path / ("é" * 30) / ("x" * length)
    folder.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert gather(pool, "one")["one"].status == "ok"
    # Nor is a machine without /tmp: then the worker calls over the machine's own network.
    pool.close()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != "/tmp" and access(path, mode))
    assert gather(pool, "two")["two"].status == "ok"


@pytest.mark.parametrize("given", [b"", pickle.dumps(("/no/such/line", b"key", 1))])
def test_a_worker_whose_search_was_killed_ends_without_a_word(given):
    done = subprocess.run([sys.executable, "-m", local.WORKER], input=given, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


DEAF = """
from queue import Queue
from threading import Thread
from time import sleep
from transferkit.tuning.executors import worker
class Line:
    def recv(self):
        raise {error}
Thread(target=worker._listen, args=(Line(), Queue()), daemon=True).start()
sleep(60)
"""


@pytest.mark.parametrize(("error", "code"), [("EOFError", 0), ("MemoryError", 1)])
def test_a_worker_that_cannot_hear_ends(error, code):
    done = subprocess.run([sys.executable, "-c", DEAF.format(error=error)], check=False, timeout=30)
    assert done.returncode == code


def test_nothing_is_left_running(pool):
    gather(pool, "one", "two")
    processes = [worker.process for worker in pool._workers]
    pool.close()
    assert all(process.poll() is not None for process in processes)


def test_workers_end_with_the_process_that_started_them(tmp_path):
    """Also where it was killed: nobody is there to tell them."""
    import signal
    import subprocess
    import sys
    import time

    import psutil

    code = (
        "import sys, time\n"
        "from transferkit.tuning.executors import local\n"
        "from transferkit.console import Reporter\n"
        "pool = local.Processes(None, 1, Reporter(quiet=True))\n"
        "print(pool._start().process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while psutil.pid_exists(worker) and time.monotonic() < deadline:
        if psutil.Process(worker).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.2)
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE
