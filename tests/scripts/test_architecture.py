"""The table of rooms in docs/architecture.md is that of the package, and the tests are laid out as the package is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_of_rooms_is_that_of_the_package() -> None:
    command = [sys.executable, "scripts/architecture.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stdout


def mirrored(test: Path) -> bool:
    """Whether tests/<room>/test_<name>.py has a module or a room transferkit/<room>/<name>."""
    room = ROOT / "transferkit" / test.parent.relative_to(ROOT / "tests")
    name = test.stem.removeprefix("test_")
    return (room / f"{name}.py").is_file() or (room / name).is_dir()


def test_a_file_of_tests_mirrors_a_module_or_says_what_it_holds() -> None:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    assert sum(map(mirrored, files)) > len(files) / 2
    silent = [f for f in files if not mirrored(f) and not ast.get_docstring(ast.parse(f.read_text("utf-8")))]
    assert silent == []
