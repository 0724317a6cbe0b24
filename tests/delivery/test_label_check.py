"""Doubted labels by the chance that they are right, in words and as numbers; and training on what was cleaned."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from tests.cli.calls import call
from transferkit.data.audit.checks import LabelIssue
from transferkit.runs import pictures
from transferkit.runs.manifest import given


def test_every_doubted_label_is_listed_by_one_chance_in_words(digits_run: Any) -> None:
    shown = call("data", "check", "--run", digits_run.folder, "--suspects", 15)
    assert shown.code == 0, shown.err
    head, _, listed = shown.out.partition("Labels most in doubt, by the chance that the label is right:\n")
    assert "15 × label: listed below" in head
    *lines, last = listed.splitlines()
    assert last == f"To go through them: transferkit data clean {digits_run.folder}"
    found = [re.fullmatch(r" +(under 1|\d+) %  (\d) → (\d)  (\S+)", line) for line in lines]
    assert len(found) == 15
    assert all(found), lines
    chances = [0 if match[1] == "under 1" else int(match[1]) for match in found if match]
    assert chances == sorted(chances)

    plain = json.loads(call("data", "check", "--run", digits_run.folder, "--suspects", 15, "--json").out)
    rows = plain["doubtful_labels"]
    assert [(r["label"], r["suggested"], r["path"]) for r in rows] == [m.group(2, 3, 4) for m in found if m]
    assert [r["chance_right"] for r in rows] == sorted(r["chance_right"] for r in rows)
    assert [LabelIssue(**r).said for r in rows] == [f"{match[1]} %" for match in found if match]
    assert [f["path"] for f in plain["findings"] if f["kind"] == "label"] == [r["path"] for r in rows]


@pytest.mark.parametrize(
    ("chance", "said"),
    [(0.0, "under 1 %"), (0.0049, "under 1 %"), (0.02, "2 %"), (0.5, "50 %"), (0.9949, "99 %"), (0.9999, "over 99 %")],
)
def test_chances_are_never_said_to_be_certain(chance: float, said: str) -> None:
    issue = LabelIssue("a/1.png", "a", "b", chance, False)
    assert issue.said == said
    assert f"is labelled 'a'; it looks like 'b' (chance that the label is right: {said})" in issue.finding().detail


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
def test_a_run_on_a_cleaned_file_knows_its_labels_without_it(digits: Path, tmp_path: Path) -> None:
    paths = [f"{name}/{name}_{i:04d}.png" for name, i in (("3", 0), ("3", 1), ("4", 2))]
    assert all((digits / path).exists() for path in paths)
    clean = tmp_path / "clean.csv"
    clean.write_text(f"path,action,label\n{paths[0]},relabel,8\n{paths[1]},exclude,\n{paths[2]},keep,\n")
    made = tk.finetune(digits, "mini", output=tmp_path / "run", epochs=1, views=0, augment="none", exclude_file=clean,
                       quiet=True)  # fmt: skip
    saved = {picture.path: picture.label for picture in made.layout.read_splits()}
    assert (saved[paths[0]], saved[paths[2]], paths[1] in saved) == ("8", "4", False)
    assert made.manifest["data"]["relabelled"] == [{"path": paths[0], "was": "3"}]
    assert f"--exclude-file {clean}" in made.manifest["command"]
    settings = given(made.layout.complete())
    assert pictures.changed(made.layout, made.manifest["data"]["path"], settings) == []
    clean.write_text("path,action,label\n")
    assert "labelled otherwise" in str(pictures.changed(made.layout, made.manifest["data"]["path"], settings))
    clean.unlink()
    own = pictures.own(made.layout, made.layout.read_splits(), "classify", made.metrics["classes"])
    assert own.label(own.paths.index(paths[0])) == "8"
    assert call("evaluate", made.folder, "--quiet").code == 0


def test_data_that_is_gone_is_named_with_what_to_do(digits_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferkit.delivery.label_check.places.exists", lambda path: False)
    found = call("data", "check", "--run", digits_run.folder)
    assert found.code == 2
    assert "is no longer there; put it back" in found.err
