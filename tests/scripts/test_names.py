"""What a name stands for: imports in texts (code for another process, docs, notebooks) name what exists, and no two
modules or classes have one name."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
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


def test_files_that_texts_name_are_there():
    """Tests that code and docs refer to, and every file of the checklists."""
    texts = [*ROOT.glob("transferkit/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("docs/**/*.md")]
    texts.append(ROOT / "SECURITY.md")
    named = {name for path in texts for name in re.findall(r"\btests/[\w/]+\.py", path.read_text("utf-8"))}
    listed = {*re.findall(r"`([\w/]+/\w+\.(?:py|md|j2))`", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))}
    listed = {name for name in listed if "NAME" not in name}
    assert min(len(named), len(listed)) > 15
    gone = {name for name in named | listed if not any((ROOT / top / name).is_file() for top in ("", "transferkit"))}
    assert not gone


def places_of(names: dict[str, list[str]]) -> dict[str, list[str]]:
    """Those of `names` that stand in more than one place."""
    return {name: places for name, places in names.items() if len(places) > 1}


def test_no_two_modules_have_one_name() -> None:
    # A verb of the command line or of the API may be called as what it calls.
    named = defaultdict[str, list[str]](list)
    for path in ROOT.glob("transferkit/**/*.py"):
        if path.stem not in ("__init__", "__main__") and path.parent.name not in ("cli", "api"):
            named[path.stem].append(path.relative_to(ROOT).as_posix())
    assert len(named) > 300
    assert not places_of(named)


def test_no_two_classes_have_one_name() -> None:
    named = defaultdict[str, list[str]](list)
    for path in ROOT.glob("transferkit/**/*.py"):
        if path != ROOT / "transferkit/plugins.py":  # what plugins import: a plain `Metric`, `Reader` and `Row` there
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    named[node.name].append(path.relative_to(ROOT).as_posix())
    assert len(named) > 300
    assert not places_of(named)
