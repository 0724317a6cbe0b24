"""How `scripts/test` runs the tests."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DYING = "import os, signal\ndef test_dies():\n    os.kill(os.getpid(), signal.SIGKILL)\n"


def test_a_process_that_dies_ends_the_run_with_the_name_of_its_test(tmp_path: Path) -> None:
    """A process that is begun in its place waits for ever for tests that nobody hands out."""
    begun = re.search(r'-m pytest (.*) "\$@"', (ROOT / "scripts" / "test").read_text("utf-8").replace("\\\n", ""))
    assert begun is not None
    options = [re.sub(r"\$\{.*:-(\d+)\}", r"\1", option) for option in shlex.split(begun[1])]
    for name in "abcdef":
        (tmp_path / f"test_{name}.py").write_text("def test_passes(): pass\n")
    (tmp_path / "test_z.py").write_text(DYING)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # in three processes, which need one plugin
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "crashed while running 'test_z.py::test_dies'" in done.stdout
    assert "6 passed" in done.stdout
