"""README's picture of the first screen is what the terminal shows today."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from transferkit import terms

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "figures" / "first_screen.svg"


def words(drawing: str) -> set[str]:
    """Words of the picture's text; names of temporary folders and numbers differ from run to run."""
    text = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", drawing))
    return set(re.findall(r"[a-z]{3,}", html.unescape(text).replace("\u00a0", " "), re.IGNORECASE))


def test_the_picture_speaks_as_the_summary_does() -> None:
    drawing = PICTURE.read_text("utf-8")
    said = words(drawing)
    for label in ("Result", "Compared", "Problem", "Next", "Use", "Report", "Details"):
        assert label in said, label
    for name in ("majority", "linear_probe", "nearest_neighbours"):
        assert set(re.findall(r"[a-z]{3,}", terms.rival(name, "classify").label)) <= said, name
    assert not re.search(r"(src|href)=|url\(http|@font-face", drawing)
    assert "first_screen.svg" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.extended
@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals here")
def test_the_script_draws_what_is_committed(tmp_path: Path) -> None:
    target = tmp_path / "screen.svg"
    environment = {**os.environ, "TRANSFERKIT_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, ROOT / "scripts" / "screen.py", target], check=True, env=environment, timeout=300)
    assert words(target.read_text("utf-8")) ^ words(PICTURE.read_text("utf-8")) <= {"min"}, "draw it again"
