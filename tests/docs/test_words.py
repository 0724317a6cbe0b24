"""What a newcomer reads is in plain words: technical terms stand in brackets, labels are those of the summary."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]
UNUSUAL = re.compile(
    r"\b(whoever|slander\w*|man of straw|thereof|hitherto|simpler means|anew|said aloud|mend|mends|mended|mending)\b",
    re.I,
)
# In code names run into each other, as in `made_anew`.
ODD_NAMES = re.compile(r"(?<![a-z])(anew|slander|whoever|twins?|mended)(?![a-z])", re.I)
LABELS = {"Result", "Chosen", "Compared", "Problem", "Weakest", "Next", "Use", "Report"}


def prose(path: Path) -> str:
    """Its text without code, on one line."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S)
    return " ".join(text.split())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_terms_are_explained(path: Path) -> None:
    text = prose(path)
    assert not UNUSUAL.findall(text)
    assert not re.findall(r"(?<!\()linear probe(?!\))", text), "it is the simplest classifier (linear probe)"


@pytest.mark.parametrize("room", ["transferkit", "scripts"])
def test_code_and_its_comments_use_them_too(room: str) -> None:
    lines = [(p, line) for p in sorted((ROOT / room).rglob("*.py")) for line in p.read_text("utf-8").splitlines()]
    assert lines
    found = [f"{p.relative_to(ROOT)}: {line.strip()}" for p, line in lines if ODD_NAMES.search(line)]
    assert not found, "\n".join(found)


def test_notebooks_name_the_labels_that_the_summary_has() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        named = set(re.findall(r"\*\*([A-Z]\w+)\*\*", prose(path)))
        assert named <= LABELS, path.name
