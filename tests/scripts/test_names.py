"""Each import of ours that stands in a text (code for another process, docs, notebooks) names something that exists."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMPORT = re.compile(r"from (transferkit[\w.]*) import \(?([\w, ]+)")
NAMED = (*ROOT.glob("tests/**/*.py"), *ROOT.glob("scripts/**/*.py"), *ROOT.glob("docs/**/*.md"),
         *ROOT.glob("notebooks/*.ipynb"), ROOT / "README.md")  # fmt: skip


def exists(module: str, name: str) -> bool:
    """Whether `from module import name` would work."""
    if find_spec(module) is None:
        return False
    return hasattr(import_module(module), name) or find_spec(f"{module}.{name}") is not None


def test_imports_in_texts_exist() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), module, name)
        for path in NAMED
        for module, names in IMPORT.findall(path.read_text("utf-8"))
        for name in (item.split(" as ")[0].strip() for item in names.split(","))
        if name
    }
    wrong = {entry for entry in found if not exists(entry[1], entry[2])}
    assert len(found) > 500
    assert not wrong
