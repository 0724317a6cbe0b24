#!/usr/bin/env python
"""Draws the first screen of README: a real `transferkit demo` on a pseudo-terminal of 80 columns, as an SVG.

    scripts/screen.py [FILE]    (by default docs/figures/first_screen.svg)

What the picture shows is what the terminal showed, line by line, when the command had ended, in a new home.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402
from rich.terminal_theme import MONOKAI  # noqa: E402
from rich.text import Text  # noqa: E402

from tests.terminal import drive  # noqa: E402

COLUMNS = 80
COMMAND = "transferkit demo"
LABELS = r"^(Result|Chosen|Compared|Note|Problem|Weakest|Goal|Next|Use|Report|Details|Try)\b"


def screen(words: list[str]) -> list[str]:
    """The lines that stand on the terminal when the command has ended. Raises RuntimeError where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        home = {"HOME": folder, "TRANSFERKIT_CACHE": f"{folder}/cache", "TRANSFERKIT_STATE": f"{folder}/state"}
        session = drive([sys.executable, "-m", "transferkit", *words], Path(folder), COLUMNS, environment=home)
    lines = [line.rstrip() for line in session.screen.lines]
    if session.code:
        raise RuntimeError("\n".join(lines))
    return lines


def svg(lines: list[str]) -> str:
    """An SVG that asks nothing of the network."""
    import io

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    console.print(Text.assemble(("$ ", "bold green"), (COMMAND, "bold")))
    for line in lines:
        text = Text(line)
        text.highlight_regex(LABELS, "bold cyan")
        console.print(text, soft_wrap=True)
    drawn = console.export_svg(title=COMMAND, theme=MONOKAI, unique_id="screen")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)


def main() -> None:
    """Run the demo and write the picture."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "figures" / "first_screen.svg"
    lines = screen(COMMAND.split()[1:])
    while lines and not lines[-1]:
        lines.pop()
    target.write_text(svg(lines), "utf-8")
    print(target)


if __name__ == "__main__":
    main()
