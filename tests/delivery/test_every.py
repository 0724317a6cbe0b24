"""The table of all formats, and the example that travels with each: what needs no converter."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data.pictures import photo
from tests.records import facts_of
from transferkit.delivery.exporting import companions
from transferkit.delivery.exporting.every import Exports, FormatRow
from transferkit.delivery.exporting.export import Export
from transferkit.delivery.exporting.formats import FORMATS


def made(missed: list[str], agreement: float | None = 1.0) -> Export:
    figures: dict[str, Any] = {
        "split": "val", "n": 30, "size_bytes": 1.5e6, "latency_ms": 4.25, "largest_difference": 3.2e-7,
        "agreement": agreement, "missed": missed,
    }  # fmt: skip
    return Export(Path("exports/x"), Path("exports/x/model"), figures)


def test_one_table_that_fits_a_terminal() -> None:
    reason = "format onnx needs tf2onnx, onnx; install with: pip install 'transferkit[onnx]'"
    rows = [
        FormatRow("keras", "float32", "made", made([])),
        FormatRow("litert", "float16", "made", made(["the answers agree for 90.00%"], None)),
        FormatRow("onnx", "float32", "missing", reason=reason),
    ]
    found = Exports(Path("runs/a/exports"), rows)
    lines = str(found).splitlines()
    assert all(len(line) < 80 for line in lines)
    assert lines[1].split() == ["keras", "1.50", "MB", "4.2", "ms", "3.2e-07", "100.0%"]
    assert lines[2].split()[:2] == ["litert", "float16"]
    assert "kept although the answers agree for 90.00%" in lines[3]
    assert " ".join(" ".join(lines[4:6]).split()) == f"onnx not made: {reason}"
    assert [row.as_dict()["status"] for row in rows] == ["made", "made", "missing"]


def test_what_passes() -> None:
    good, gone, bad = (FormatRow("keras", "float32", status) for status in ("made", "missing", "failed"))  # type: ignore[arg-type]
    assert Exports(Path(), [good, gone]).passed
    assert not Exports(Path(), [good, bad]).passed
    assert not Exports(Path(), [gone]).passed


@pytest.mark.parametrize("kind", FORMATS)
def test_the_example_imports_nothing_of_ours(kind: str) -> None:
    """It runs where the file is used, where there is no transferkit: on its top level all imports are of others."""
    text = companions.example(FORMATS[kind], facts_of({"classes": ["a", "b"]}))
    imports = [ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "import json" in imports
    assert not [line for line in imports if "transferkit" in line]


STUB = """
import numpy as np
class InferenceSession:
    def __init__(self, *_, **__): pass
    def run(self, *_): return [np.array([[0.2, 0.3, 0.5, 0.1]])]
"""


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_the_example_prints_names_that_no_terminal_obeys(encoding: str, tmp_path: Path) -> None:
    names = ["\x1b]0;owned\x07", "two\nlines\r", "\u202e日本 😀", "<b>&'\"${{}}%s"]
    facts = facts_of({"classes": names})
    (tmp_path / "example.py").write_text(companions.example(FORMATS["onnx"], facts), "utf-8")
    (tmp_path / "export.json").write_text(json.dumps({"labels": names, "input": {"size": 32}}))
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "onnxruntime.py").write_text(STUB)
    photo(0, 40, 30).save(tmp_path / "a.png")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(tmp_path / "stub")}

    def said(picture: str) -> str:
        command = [sys.executable, "-P", tmp_path / "example.py", tmp_path / picture]
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        assert b"Traceback" not in done.stderr
        return (done.stdout + done.stderr).decode(encoding)

    lines = said("a.png").splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["0.5000", "0.3000", "0.2000"]
    assert lines[1] == "two\\nlines\\r 0.3000"
    assert lines[2] == "\\x1b]0;owned\\x07 0.2000"
    assert all(line.isprintable() for line in lines)
    assert said("gone\x1b[31m.png").strip().isprintable()


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["a.png", "b.png"], 2), (["--help"], 0)])
def test_the_example_explains_itself(arguments: list[str], code: int, tmp_path: Path) -> None:
    facts = facts_of({"classes": ["rose", "tülip\n"]})
    (tmp_path / "example.py").write_text(companions.example(FORMATS["litert"], facts), "utf-8")
    (tmp_path / "export.json").write_text(json.dumps({"labels": facts.classes, "input": {"size": 32}}))
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-P", tmp_path / "example.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == code
    said = done.stderr if code else done.stdout
    assert "usage: python example.py PICTURE" in said
    assert "for example: python example.py photo.jpg" in said
    assert "Classes: rose, t\\xfclip\\n" in said
    assert "Traceback" not in done.stderr
    (tmp_path / "export.json").unlink()
    alone = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert alone.returncode == 1
    assert "keep this program beside its files" in alone.stderr
