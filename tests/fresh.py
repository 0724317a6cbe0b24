"""Programs in a process of their own that has Keras, and has never seen transferkit unless the program imports it.

Importing Keras and TensorFlow takes seconds. A process that has done only that is kept, and forked for every program:
what runs there is as fresh as after the import, and a signal ends it as it ends any process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

# One line of JSON a program on standard input, its exit code on standard output. Nothing has computed when it forks,
# so TensorFlow has no threads yet that a fork would lose.
_PARENT = """
import json, os, signal, sys, traceback
import keras
def child(job):
    os.chdir(job["cwd"])
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(job["env"])
    sys.path[:0] = filter(None, job["env"].get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["-c", *job["arguments"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 0
    try:
        exec(compile(job["program"], "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        child(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Fresh:
    """Starts the programs. `close` ends the process that is kept."""

    def __init__(self) -> None:
        self._parent: subprocess.Popen[str] | None = None

    def __call__(
        self, program: str, *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `program`, Python source, with `arguments` in `sys.argv[1:]`.

        Args:
            program: what `python -c` would be given.
            arguments: for the program, as text.
            cwd: its working directory, by default this process'.
            env: its environment, by default this process'.

        Returns:
            Exit code (negative: the signal that ended it), standard output and standard error.
        """
        if not hasattr(os, "fork"):
            command = [sys.executable, "-P", "-c", program, *map(str, arguments)]
            return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
        with tempfile.TemporaryDirectory(prefix="fresh-") as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            job = {
                "program": program, "arguments": [*map(str, arguments)], "cwd": str(cwd or Path.cwd()),
                "env": dict(os.environ if env is None else env), "out": str(out), "err": str(err),
            }  # fmt: skip
            code = int(self._answer(json.dumps(job)))
            return subprocess.CompletedProcess(program, code, out.read_text("utf-8"), err.read_text("utf-8"))

    def _answer(self, job: str) -> str:
        if self._parent is None:
            self._parent = subprocess.Popen(
                [sys.executable, "-P", "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(job + "\n")
        self._parent.stdin.flush()
        return self._parent.stdout.readline()

    def close(self) -> None:
        """End the process that is kept."""
        if self._parent is not None:
            self._parent.kill()  # it has nothing to put in order, and TensorFlow takes its time over that
            self._parent.communicate()
