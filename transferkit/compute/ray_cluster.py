"""A Ray cluster to work on: the caller's own session, one that is running, or one for the time of the work."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transferkit import importing
from transferkit.compute import ray_private
from transferkit.errors import ConfigError, TrainingError
from transferkit.storage import cache_folder, scratch

MISSING = "--engine ray needs Ray, which is not installed; pip install 'transferkit[ray]', or leave out --engine"
STORE = 100 * 2**20  # bytes of a local object store; it holds the plan
# One for all sessions of this process: Ray reads it once.
TOKEN = secrets.token_hex(32)
# Of the environment; what begins with TRANSFERKIT_ goes too, secrets (HF_TOKEN) do not.
HANDED = ("KERAS_BACKEND", "KERAS_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def require_installed() -> None:
    """Raise ConfigError where there is no Ray, before anything long is done. Imports nothing."""
    if (sys.modules["ray"] if "ray" in sys.modules else find_spec("ray")) is None:
        raise ConfigError(MISSING)


def load() -> Any:
    """The module `ray`, which then reports nothing to its makers.

    Raises ConfigError where it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Work that asks for no GPU sees none. Ray would announce that it is going to change this.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    # What needs more memory than there is would be repeated for ever.
    os.environ.setdefault("RAY_task_oom_retries", "1")
    # A node ends where its helper process is not there in half a minute, which takes longer on a busy machine.
    os.environ.setdefault("RAY_agent_register_timeout_ms", str(int(1000 * ray_private.START_SECONDS)))
    try:
        import ray
    except ImportError as error:
        raise ConfigError(MISSING) from error
    return ray


class Cluster:
    """A connection to Ray. `close` ends what `__init__` began, and nothing else."""

    def __init__(self, address: str | None, cores: int, store: int = 0) -> None:
        """Connect to `address` (`auto`, `host:port`, `ray://host:port`); None: the session of the caller, else the
        cluster that RAY_ADDRESS names, else a new one here with `cores` CPUs and room for `store` bytes of plan.

        Raises ConfigError where no cluster answers.
        """
        self.ray = load()
        self.ours = not self.ray.is_initialized()
        self.local = False
        self._scratch = ExitStack()
        if not self.ours:
            if address not in (None, "auto"):
                raise ConfigError(
                    f"--address {address} has no effect: ray.init was called; leave it out or ray.shutdown() first"
                )
            return
        address = address or os.environ.get("RAY_ADDRESS") or None
        self.local = address in (None, "local")
        with _handlers_kept():
            if self.local:
                self._start(cores, store)
            else:
                self._join(str(address))
        ray_private.worker_messages(False)  # standard output is for results; our outcomes tell it

    def nodes(self) -> list[dict[str, float]]:
        """Resources of every node that is alive."""
        return [dict(node["Resources"]) for node in self.ray.nodes() if node["Alive"]]

    def close(self) -> None:
        """Leave; a cluster that was started here ends."""
        if not self.ours:
            return
        self.ray.shutdown()
        ray_private.worker_messages(True)
        self._scratch.close()

    def _start(self, cores: int, store: int) -> None:
        # /tmp and not $TMPDIR: names of sockets may have 107 characters, of which Ray needs 65.
        folder = self._scratch.enter_context(scratch("/tmp" if os.path.isdir("/tmp") else None))
        # The ports that Ray opens run any code that is sent to them. Since 2.60 it asks for a token there; where it is
        # given one, it writes none into the user's home.
        token = {"RAY_AUTH_TOKEN": TOKEN} if "RAY_AUTH_MODE" not in os.environ else {}
        with _environment({**token, **importing.variables()}, "RAY_AUTH_MODE"), ray_private.patience():
            try:
                self.ray.init(
                    address="local", num_cpus=cores, object_store_memory=STORE + store, include_dashboard=False,
                    log_to_driver=False, logging_level=logging.ERROR, _temp_dir=str(folder),
                    job_config=self._job(),
                )  # fmt: skip
            except Exception as error:  # a bare one where the machine is too busy to start it (2.60)
                self._scratch.close()
                raise TrainingError(f"Ray did not start on this machine: {_words(error)}") from error

    def _job(self) -> Any:
        """Ray's settings of a job, without the folders that it would put on the path of every worker."""
        from ray.job_config import JobConfig

        job = JobConfig()
        ray_private.driver_path(job, _Trusted())
        return job

    def _join(self, address: str) -> None:
        try:
            _knock(address)
            self._connect(address)
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"no Ray cluster to be had at '{address}' ({_words(error)}); start one with `ray start --head`, "
                "check the address, or leave out --address for one on this machine"
            ) from error

    def _connect(self, address: str) -> None:
        for last in (False, True):
            try:
                # A client's job runs on the server, which does not know our folders.
                job = None if address.startswith("ray://") else self._job()
                self.ray.init(
                    address=address, log_to_driver=False, logging_level=logging.ERROR, job_config=job
                )  # fmt: skip
                return
            except (OSError, RuntimeError, ValueError) as error:
                self.ray.shutdown()  # half a connection stands in the way of the next one
                # A busy cluster gives up after half a minute, in which it should have started a server for us.
                if last or not isinstance(error, ConnectionAbortedError):
                    raise


class _Trusted(list[str]):
    """Ray extends this by the working directory and the folder of the script, before all else (Ray 2.60)."""

    def extend(self, path: Any) -> None:
        """Take what code may come from."""
        super().extend(importing.trusted(list(path)))


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray would try for half a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def fitting(nodes: list[dict[str, float]], wanted: Mapping[str, float]) -> int:
    """How many workers run at a time on a cluster.

    Args:
        nodes: the resources of each (`CPU`, `GPU`).
        wanted: those of a worker; one that wants none of a resource does not count it.
    """
    return sum(min(math.floor(node.get(k, 0) / v + 1e-9) for k, v in wanted.items() if v > 0) for node in nodes)


def whole_share(share: float) -> float:
    """A share that Ray takes: whole above 1, else four digits."""
    return math.floor(share) if share >= 1 else max(math.floor(share * 1e4) / 1e4, 1e-4)


def handed(cpus: float, data: Path | None) -> dict[str, str]:
    """Environment of the workers: the cache, threads, and where no code is taken from.

    Args:
        cpus: that a worker was given.
        data: the folder of the pictures, which is no place for code, as the working directory is none.
    """
    names = [name for name in os.environ if name in HANDED or name.startswith("TRANSFERKIT_")]
    found = {name: os.environ[name] for name in names}
    found["TRANSFERKIT_CACHE"] = str(cache_folder().absolute())
    # Several workers may share a GPU: none takes all of its memory at once.
    found |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    foreign = importing.spelled([os.getcwd(), *([] if data is None else [str(data)])])
    found |= {importing.FOREIGN: foreign, "PYTHONSAFEPATH": "1"}
    return found | dict.fromkeys(THREADS, str(max(1, int(cpus))))


def short(error: BaseException) -> str:
    """The error on one line: of Ray's pages the first says what happened."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]


def _words(error: Exception) -> str:
    """The error on one line; of a traceback from another process its last line says what happened."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return " … ".join(dict.fromkeys((*lines[:1], *lines[-1:])))[:500] or type(error).__name__


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """ray.init takes SIGTERM over; restore the former handler."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _environment(values: Mapping[str, str], *others: str) -> Iterator[None]:
    """`values` in the environment; afterwards they, and what became of `others`, are as they were."""
    before = {name: os.environ.get(name) for name in (*values, *others)}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
