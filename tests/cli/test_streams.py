"""Standard streams that are closed, full or in an encoding without the characters; and requests to end."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.calls import call
from tests.data.pictures import folder_of_classes
from tests.marks import extended
from transferkit import addresses
from transferkit.cli._boundary import heed_termination
from transferkit.compute import starting
from transferkit.errors import ConfigError
from transferkit.runs.finetune import Job

posix = pytest.mark.skipif(os.name != "posix", reason="shell redirections and signals of POSIX systems")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_classes(tmp_path_factory.mktemp("data") / "flowers", {"日本": 4, "réséda": 4})


def shell(redirections: str, *words: object, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """A command in a shell, with redirections behind it."""
    command = " ".join(["exec", sys.executable, "-m", "transferkit", *map(str, words), redirections])
    environment = {**os.environ, **variables}
    return subprocess.run(["bash", "-c", command], capture_output=True, timeout=200, env=environment, check=False)


class OpError(Exception):
    """Called as the base of TensorFlow's errors is."""


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (MemoryError("Unable to allocate 9 GiB for an array"), True),
        (RuntimeError("can't start new thread"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (ImportError("libscipy_openblas.so: failed to map segment from shared object"), True),
        (ImportError("libx.so: failed to map segment from shared object: Operation not permitted"), False),  # noexec
        (ImportError("libx.so: cannot allocate memory in static TLS block"), False),
        (OpError("an exception:Status: 1, message: could not create a primitive, in file mkl_conv_ops.cc:1112"), True),
        (OpError("an exception:Status: 5, message: could not execute a primitive, in file x.cc:306"), True),
        (OpError("Status: 3, message: could not create a primitive"), False),  # not implemented
        (ValueError("out of memory"), False),
    ],
)
def test_a_full_memory_is_no_bug_of_ours(error: Exception, memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("transferkit.data.source.scan", scan)
    said = call("data", "summary", ".")
    assert said.code == 1
    assert ("error: out of memory" in said.err) == memory
    assert ("bug in transferkit" in said.err) != memory
    assert ("ulimit -v" in said.err) == memory


@posix
@pytest.mark.parametrize("bound", [2 << 30, None], ids=["bounded", "without a bound"])
@pytest.mark.parametrize(
    "error",
    [
        ImportError("libtensorflow_cc.so.2: failed to map segment from shared object"),
        ImportError(
            "Traceback (most recent call last):\n  File 'x'\nImportError: a.so: failed to map segment\n\nFailed"
        ),
        AttributeError("partially initialized module 'jax' has no attribute 'version'"),
    ],
    ids=["the loader's words", "the loader's words in a traceback", "a library that failed unnoticed"],
)
def test_libraries_that_cannot_be_mapped_are_a_full_memory(
    error: Exception, bound: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    class Refusing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "keras":
                raise error

    most = resource.RLIM_INFINITY if bound is None else bound
    monkeypatch.setattr(resource, "getrlimit", lambda _: (most, most))

    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refusing(), *sys.meta_path])
    memory = bound is not None or isinstance(error, ImportError)
    said = "the libraries of tensorflow do not fit" if memory else "Keras refuses its settings"
    with pytest.raises(MemoryError if memory else ConfigError, match=said) as caught:
        starting._import()
    assert "Traceback" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("left", "memory"), [(100 << 20, True), (3 << 30, False), (None, False)])
def test_a_library_of_keras_that_is_missing_for_want_of_memory(
    left: int | None, memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "left", lambda: left)
    monkeypatch.setattr(addresses, "bound", lambda: None if left is None else left + (1 << 30))
    assert starting._cramped(ImportError("To use Keras, you need to have `optree` installed.")) == memory
    bounded = left is not None and left < 3 << 30
    assert starting._cramped(SystemError("error return without exception set")) == bounded


@posix
def test_a_working_directory_that_was_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    said = call("finetune", "pictures")
    assert said.code == 2
    assert said.err.splitlines()[-1] == (
        "error: the working directory was removed; change to a folder that is there, and repeat the command"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "a.npy"),
            "cannot write a.npy (No space left on device); free",
        ),
        (OSError(errno.EFBIG, "File too large"), "cannot write a file (File too large: raise or lift"),
    ],
)
def test_a_disk_that_is_full_wherever_it_shows_is_no_bug_of_ours(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scan(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("transferkit.data.source.scan", scan)
    told = call("data", "summary", ".")
    assert told.code == 1
    assert told.err.splitlines()[-1].startswith(f"error: {said}")
    assert told.err.endswith("; --debug shows where\n")
    assert "bug in transferkit" not in told.err


@posix
def test_a_closed_output_is_nobody_listening(flowers: Path) -> None:
    assert shell(">&-", "data", "summary", flowers).returncode == 0
    said = shell(">&- 2>&- <&-", "data", "summary", flowers, "--json")
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")
    assert shell("2>&-", "data", "summary", flowers / "no").returncode == 2


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_output_is_one_clear_error(flowers: Path) -> None:
    said = shell(">/dev/full", "data", "summary", flowers)
    assert said.returncode == 1
    assert said.stderr == b"error: cannot write to standard output (No space left on device)\n"


# Something is said, then TensorFlow's lines are held back, a crash is told of, and the process ends.
UNHEARD = """
import sys
from transferkit import importing, native_logs
from transferkit.cli._boundary import complain
from transferkit.console import Reporter
importing.secure()
Reporter().say("begun")
with native_logs.filtered():
    print("a line of a library", file=sys.stderr, flush=True)
Reporter().warn("done")
complain("an error")
print("the result")
"""


@posix
@pytest.mark.parametrize("where", ["a full disk", "a reader who left"])
def test_no_work_ends_because_standard_error_does(where: str, flowers: Path) -> None:
    if where == "a full disk":
        lost = os.open("/dev/full", os.O_WRONLY)
    else:
        read, lost = os.pipe()
        os.close(read)
    try:
        program = [sys.executable, "-c", UNHEARD]
        done = subprocess.run(program, stdout=subprocess.PIPE, stderr=lost, text=True, check=False, timeout=100)
        assert (done.returncode, done.stdout) == (0, "the result\n")
        wrong = [sys.executable, "-m", "transferkit", "data", "summary", str(flowers / "no")]
        assert subprocess.run(wrong, stdout=lost, stderr=lost, check=False, timeout=100).returncode == 2
    finally:
        os.close(lost)


@posix
@pytest.mark.parametrize("encoding", extended(["cp1252", "latin-1", "ascii", "cp437"], ["latin-1", "cp437"]))
def test_every_encoding_gets_what_it_can_hold(encoding: str, flowers: Path) -> None:
    said = shell("", "data", "summary", flowers, PYTHONIOENCODING=encoding)
    assert said.returncode == 0
    assert r"\u65e5\u672c" in said.stdout.decode(encoding)
    assert ("réséda" if encoding != "ascii" else r"r\xe9s\xe9da") in said.stdout.decode(encoding)
    found = shell("", "data", "summary", flowers, "--json", PYTHONIOENCODING=encoding).stdout
    assert json.loads(found)["classes"] == {"réséda": 4, "日本": 4}
    wrong = shell("", "data", "summary", str(flowers) + "日", PYTHONIOENCODING=encoding)
    assert wrong.returncode == 2
    assert rb"\u65e5" in wrong.stderr


# ------------------------------------------------------------------------------------------- asked to end

# A library that swallows whatever is raised while it is imported, as TensorFlow does in places.
SWALLOWING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from transferkit.compute import starting
from transferkit.cli import _boundary, cli
def swallow():
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
        for _ in range(1000): pass
    except BaseException:
        pass
starting._import = swallow
starting.backend = lambda: "jax"
starting.ambient.fix = lambda dtypes: None
_boundary.heed_termination()
command = cli.get_command(None, "cache")
def work(**options):
    starting.start()
    print("it went on")
command.commands["info"].callback = work
sys.exit(_boundary.guarded(cli, ["cache", "info"]))
"""


@posix
@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_request_to_end_is_not_lost_in_an_import(number: int, code: int, said: str) -> None:
    command = [sys.executable, "-c", SWALLOWING, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr.strip(), done.stdout) == (code, said, "")


@pytest.fixture
def heeding() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    heed_termination()
    yield
    signal.signal(signal.SIGTERM, before)


@posix
@pytest.mark.extended
def test_a_terminated_run_says_so_and_can_be_resumed(
    digits: Path, tmp_path: Path, heeding: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["finetune", digits, "--backbone", "mini", "--epochs", "2", "--views", "0", "--augment", "none"]
    words += ["--output", tmp_path / "run", "--patience", "1", "--quiet"]
    with monkeypatch.context() as patch:

        def end(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)

        patch.setattr(Job, "_train_and_assess", end)
        result = call(*words)
    assert result.code == 143
    assert result.err.strip() == f"terminated\ngo on with:  transferkit resume {tmp_path / 'run'}"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    assert call("resume", tmp_path / "run", "--quiet").code == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "complete"
