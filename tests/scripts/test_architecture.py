"""The table of rooms in docs/architecture.md is that of the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_of_rooms_is_that_of_the_package() -> None:
    command = [sys.executable, "scripts/architecture.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stdout
