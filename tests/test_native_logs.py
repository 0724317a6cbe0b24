"""What TensorFlow's C++ part logs while it is imported: kept back as the user's level says, shown where it failed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.marks import extended
from transferkit import native_logs

LOG = re.compile(r"^[IWEF]\d{4} |absl|oneDNN|cuda", re.M)
SCRIPTS = {
    "keras after us": "import transferkit, keras\nkeras.ops.zeros(3)\n",
    "a part of it": "import transferkit\nfrom tensorflow import constant\nconstant(0)\n",
}
WROTE = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1795672499.659532    9889 port.cc:153] oneDNN custom operations are on.\n"
    b"W0000 00:00:1795672499.659787    9889 gpu.cc:31] careful\n"
    b"2026-01-01 10:00:00.123456: E tensorflow/core/a.cc:7] failed\n"
    b"what somebody else says\nI am no log line\n"
)


def script(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k != native_logs.LEVEL}
    return subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("name", extended(SCRIPTS, ["a part of it"]))
def test_a_script_that_imports_keras_itself_shows_no_log_line(name: str) -> None:
    done = script(SCRIPTS[name])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.extended
def test_who_asks_for_the_log_gets_it(tmp_path: Path) -> None:
    done = script(
        "import transferkit, tensorflow, os; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])", TF_CPP_MIN_LOG_LEVEL="0"
    )
    assert done.stdout == "0\n"
    assert LOG.search(done.stderr)


FAKES = {
    "raises": ("import os; os.write(2, b'I0000 00:00:1.0 9 port.cc:1] why it failed\\n'); 1 / 0", "why it failed"),
    "dies": ("import os; os.abort()", "Fatal Python error"),
    "warns": ("import os; os.write(2, b'I0000 00:00:1.0 9 port.cc:1] log\\nreal trouble\\n')", "real trouble"),
}


@pytest.mark.parametrize(("code", "wanted"), FAKES.values(), ids=FAKES)
def test_no_trouble_is_hidden(code: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(code)
    done = script("import transferkit, tensorflow", PYTHONPATH=str(tmp_path))
    assert wanted in done.stderr
    assert "] log" not in done.stderr


@pytest.mark.parametrize(("level", "kept"), [("0", 6), ("1", 4), ("2", 3), ("3", 2), ("nonsense", 6)])
def test_the_level_says_which_lines(
    level: str, kept: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(native_logs.LEVEL, level)
    with native_logs.filtered():
        os.write(2, WROTE)
    assert capfd.readouterr().err.encode() == b"".join(WROTE.splitlines(keepends=True)[-kept:] if kept < 6 else [WROTE])
