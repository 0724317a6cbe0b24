from __future__ import annotations

import csv
import io
import json
import os

from transferkit.delivery.answer_lines import as_csv, as_json_lines, as_table
from transferkit.delivery.predict import Prediction


def answers() -> list[Prediction]:
    good = Prediction("a b.png", "rose", 0.75, (("rose", 0.75), ("=cmd()", 0.25)))
    return [good, Prediction("bad\n.png", "", None, (), "is empty (0 bytes)")]


def test_csv_keeps_names_as_they_are() -> None:
    text = "\n".join(as_csv(answers(), ["=cmd()", "rose"], "classify")) + "\n"
    good, bad = csv.DictReader(io.StringIO(text, newline=""))
    assert (good["path"], good["predicted"], good["p_=cmd()"], good["p_rose"]) == ("a b.png", "rose", "0.25", "0.75")
    assert (bad["path"], bad["predicted"], bad["p_rose"], bad["error"]) == ("bad\n.png", "", "", "is empty (0 bytes)")


def test_json_lines_are_json_one_a_line() -> None:
    lines = list(as_json_lines(answers(), 1))
    assert json.loads(lines[0]) == {"path": "a b.png", "label": "rose", "confidence": 0.75, "scores": {"rose": 0.75}}
    assert json.loads(lines[1]) == {"path": "bad\n.png", "error": "is empty (0 bytes)"}
    odd = Prediction(os.fsdecode(b"\xff.png"), "rose", 1.0, ())
    (line,) = as_json_lines([odd], 1)
    assert json.loads(line.encode("utf-8").decode())["path"] == odd.path


def test_the_table_is_for_people() -> None:
    good, bad = as_table(answers(), 1, "classify", 10)
    assert good == "a b.png     rose 0.750"
    assert bad == "bad\\n.png   cannot be read: is empty (0 bytes)"
    several = Prediction("x", "a;b", 0.6, (("a", 0.9), ("b", 0.6), ("c", 0.1)))
    none = Prediction("x", "", 0.6, (("a", 0.1),))
    assert list(as_table([several, none], 2, "multilabel")) == ["x  [a;b]  a 0.900  b 0.600", "x  [no label]  a 0.100"]
    numbers = Prediction("x", "1234.5;2", None, (("width", 1234.5), ("height", 2.0)))
    assert list(as_table([numbers], None, "regress")) == ["x  width 1234.5  height 2"]
