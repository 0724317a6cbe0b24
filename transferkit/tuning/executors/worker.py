"""A worker process: `python -m transferkit.tuning.executors.worker`, started by `local.Processes`."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
from multiprocessing.connection import Client, Connection
from typing import Any

from transferkit import library_room


def main() -> None:
    """Take the plan, then tasks, until the line ends."""
    # Ctrl-C reaches the whole process group; the searching process decides what becomes of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        address, key, threads = pickle.load(sys.stdin.buffer)  # nosec B301  # from the search that began us
        line = Client(address, authkey=key)
    except (EOFError, OSError):  # it was killed before it had told us
        return
    os.environ.pop("OPENBLAS_NUM_THREADS", None)
    library_room.spare()
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))
    _serve(line)


def _serve(line: Connection) -> None:
    from transferkit.console import Reporter
    from transferkit.tuning.trial_runner import TrialRunner
    from transferkit.wording import speak_shell

    speak_shell(True)  # the process that shows an error translates it
    inbox: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(line, inbox), daemon=True).start()
    bench = TrialRunner(inbox.get(), Reporter(quiet=True))
    while True:
        line.send(bench.run(inbox.get()))


def _listen(line: Connection, inbox: queue.Queue[Any]) -> None:
    """Hand on what comes; when the searching process is gone, so is the reason to go on."""
    code = 1  # whatever else ends this thread, memory that is refused to it for one, would leave the others waiting
    try:
        while True:
            inbox.put(line.recv())
    except (EOFError, OSError):
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
