#!/usr/bin/env python
"""Writes the table of rooms in docs/architecture.md from the package itself: order, promise and modules of each room.

scripts/architecture.py            write it
scripts/architecture.py --check    exit 1 where it is out of date
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: written by scripts/architecture.py -->\n", "<!-- end of rooms -->\n"


def promise(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


def order() -> list[str]:
    """Rooms and modules as the import contract has them, the lowest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [name.strip().partition(".")[2] for layer in reversed(layers) for name in layer.split("|")]


def rooms(name: str) -> Iterator[tuple[str, Path, list[str]]]:
    """A room and the rooms inside it: its name, the file with its promise, its modules."""
    path = ROOT / "transferkit" / name
    if not path.is_dir():
        yield f"`{name}`", path.with_suffix(".py"), []
        return
    yield f"`{name}/`", path / "__init__.py", sorted(p.stem for p in path.glob("*.py") if p.stem != "__init__")
    for part in sorted(p.parent.name for p in path.glob("*/__init__.py")):
        yield from rooms(f"{name}/{part}")


def table() -> str:
    """The table in Markdown, with its marks."""
    lines = ["| room | promise | modules |", "|---|---|---|"]
    for layer in order():
        for room, file, modules in rooms(layer):
            lines.append(f"| {room} | {promise(file)} | {' '.join(f'`{module}`' for module in modules)} |")
    return BEGIN + "\n".join(lines) + "\n" + END


def main() -> int:
    """Write or check; the exit code."""
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN)
    wanted = before + table() + rest.split(END)[1]
    if wanted == page:
        return 0
    if "--check" in sys.argv:
        print("docs/architecture.md is out of date: run scripts/architecture.py")
        return 1
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
