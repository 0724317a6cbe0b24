"""Answers for new pictures: every format, unreadable files, hostile names."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import Result, call
from tests.runs.sealing import reseal
from transferkit.console import Reporter
from transferkit.delivery.inputs import find, from_input
from transferkit.delivery.predict import BLOCK, Prediction, Predictor, abstain_at
from transferkit.errors import ConfigError, DataError
from transferkit.runs.scoring import BATCH


def test_find(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.jpg", "b/deep/1.PNG", "b/.hidden.png", "b/notes.txt", "loose.xyz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [path.relative_to(tmp_path).as_posix() for path in find([tmp_path / "b", tmp_path / "loose.xyz"])]
    assert sorted(found) == ["b/10.jpg", "b/2.png", "b/deep/1.PNG", "loose.xyz"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        find([tmp_path / "empty", tmp_path / "absent"])
    assert "empty: no pictures" in str(caught.value)
    assert "absent: no such file" in str(caught.value)


# ---------------------------------------------------------------------------------------- with a real run


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """Good pictures under hostile names, and files that are no picture."""
    root = tmp_path_factory.mktemp("mixed")
    sources = sorted((digits / "7").iterdir())
    names = [b"line\nbreak.png", b"=cmd().png", b"<script>.png", "🌹.png".encode(), b"not\xffutf8.png"]
    for source, name in zip(sources, names, strict=False):
        shutil.copy(source, os.path.join(os.fsencode(root), name))
    (root / "page.jpg").write_text("<html>")
    (root / "cut.png").write_bytes(sources[0].read_bytes()[:200])
    return root


def asked(run: Any, *more: object) -> Result:
    return call("predict", run.folder, *more, "--quiet")


@pytest.mark.parametrize("shape", ["csv", "json", "table"])
def test_good_pictures_are_answered_and_bad_ones_reported(shape: str, digits_run: Any, mixed: Path) -> None:
    result = asked(digits_run, mixed, "--format", shape)
    assert result.code == 1
    assert result.err == ""
    if shape == "table":
        assert len(result.out.splitlines()) == 7
        assert result.out.count("cannot be read:") == 2
        return
    read: list[dict[str, Any]] = (
        list(csv.DictReader(io.StringIO(result.out, newline="")))
        if shape == "csv"
        else [json.loads(line) for line in result.out.splitlines()]
    )
    assert {os.fsencode(row["path"]) for row in read} == {os.fsencode(path) for path in mixed.iterdir()}
    failed = {Path(row["path"]).name: row["error"] for row in read if row.get("error")}
    assert failed.keys() == {"page.jpg", "cut.png"}
    assert all(failed.values())


def test_top_and_json(digits_run: Any, digits: Path) -> None:
    picture = digits / "3" / "3_0000.png"
    (line,) = asked(digits_run, picture, "--json", "--top", 2).out.splitlines()
    answer = json.loads(line)
    assert len(answer["scores"]) == 2
    assert answer["scores"][answer["label"]] == max(answer["scores"].values()) == pytest.approx(answer["confidence"])
    table = asked(digits_run, picture, "--top", 10).out
    assert all(f"  {digit} 0." in table or f"  {digit} 1." in table for digit in range(10))


def test_more_pictures_than_a_batch_keep_their_order(digits_run: Any, digits: Path) -> None:
    paths = [path for digit in "102" for path in sorted((digits / digit).iterdir())]
    together = digits_run.predict(paths)
    assert [p.path for p in together] == [str(path) for path in paths]
    alone = digits_run.predict(paths[37])
    assert together[37].label == alone[0].label
    assert together[37].confidence == pytest.approx(alone[0].confidence, abs=1e-5)


def test_arrays_files_and_a_model_file_are_answered_alike(digits_run: Any, digits: Path) -> None:
    from PIL import Image

    path = digits / "5" / "5_0003.png"
    pixels = np.asarray(Image.open(path).convert("RGB"))
    by_file, by_array, in_list = (
        digits_run.predict(path), digits_run.predict(pixels), digits_run.predict([pixels, path])
    )  # fmt: skip
    assert by_array[0].path == "array"
    assert [p.scores for p in in_list] == [by_array[0].scores, by_file[0].scores]
    assert dict(by_file[0].scores) == pytest.approx(dict(by_array[0].scores), abs=1e-6)
    assert len(digits_run.predict(np.stack([pixels, pixels]))) == 2
    (answer,) = tk.predict(digits_run.folder / "model.keras", path, quiet=True)
    assert answer.as_dict() == by_file[0].as_dict()


@pytest.mark.extended
def test_hostile_class_names_survive_the_whole_way(tmp_path: Path, digits: Path) -> None:
    names = [
        b"line\nbreak",
        b"=cmd()",
        b"<script>alert(1)</script>".replace(b"/", b"|"),
        "🌹".encode(),
        b"na\xffme",
        b' a;"b"',
    ]
    root = os.fsencode(tmp_path / "data")
    for digit, name in enumerate(names):
        shutil.copytree(os.fsencode(digits / str(digit)), os.path.join(root, name))
    options = ("--backbone", "mini", "--epochs", 1, "--augment", "none", "--head-width", 8, "--quiet", "--json")
    result = call("finetune", tmp_path / "data", *options, "--output", tmp_path / "run")
    assert result.code == 0, result.err
    wanted = {os.fsdecode(name) for name in names}
    assert set(json.loads(result.out)["classes"]) == wanted
    assert set(json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))["classes"]) == wanted
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    (tmp_path / "run" / "CARD.md").read_text("utf-8")
    for shape in ("csv", "json", "table"):
        answer = call("predict", tmp_path / "run", tmp_path / "data", "--format", shape, "--quiet")
        assert answer.code == 0, answer.err
    rows = list(csv.DictReader(io.StringIO(call(
        "predict", tmp_path / "run", tmp_path / "data", "--format", "csv", "--quiet").out, newline="")))  # fmt: skip
    assert len(rows) == 120
    assert {row["predicted"] for row in rows} <= wanted
    scores = call("evaluate", tmp_path / "run", tmp_path / "data", "--json")
    assert json.loads(scores.out)["n"] == 120
    assert call("summary", tmp_path / "run").code == 0


# ------------------------------------------------------------------------------------------- which pictures


def test_patterns_lists_and_near_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("new/a/1.jpg", "new/b/2.jpg", "new/3.png", "odd[1].jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [str(p) for p in find(["new/**/*.jpg"])] == ["new/a/1.jpg", "new/b/2.jpg"]
    assert find(["odd[1].jpg"]) == [Path("odd[1].jpg")]  # what exists is no pattern
    (tmp_path / "new" / "list.csv").write_text("\ufefflabel,path\nx,b/2.jpg\ny,gone.jpg\n", "utf-8")
    assert find(["new/list.csv"]) == [Path("new/b/2.jpg"), Path("new/gone.jpg")]
    (tmp_path / "bad.csv").write_text("file\nnew/3.png\n")
    (tmp_path / "none.tsv").write_text("path\n")
    with pytest.raises(DataError) as caught:
        find(["bad.csv", "none.tsv", "new/*.webp", "new/*", "nwe", "new*"])
    text = str(caught.value)
    for words in ("column `path`; this one has file", "names no picture", "*.webp: this pattern matches nothing",
                  "nearest: 'new'", "new*: this pattern matches folders only"):  # fmt: skip
        assert words in text
    assert "new/*:" not in text


def test_standard_input_line_by_line_or_by_nul() -> None:
    lines = io.BytesIO(b"a b.png\r\n\nnot\xffutf8.png\nlast.png")
    assert [os.fsencode(p) for p in from_input(lines)] == [b"a b.png", b"not\xffutf8.png", b"last.png"]
    nul = io.BytesIO(b"line\nbreak.png\0b.png\0")
    assert [str(p) for p in from_input(nul)] == ["line\nbreak.png", "b.png"]


def test_standard_input_is_answered(digits_run: Any, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(path) for path in sorted((digits / "4").iterdir())[:3]]
    text = "\n".join([*names, str(digits / "gone.png")])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    done = asked(digits_run, "-", "--format", "json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 1
    assert [row["path"] for row in rows] == [*names, str(digits / "gone.png")]
    assert "does not exist" in rows[3]["error"]
    both = asked(digits_run, "-", digits)
    assert both.code == 2
    assert "stands alone" in both.err


# --------------------------------------------------------------------------------------- streaming and memory


class Counting:
    """Stands in for a model: answers at once, and the widest gap between what was pulled and what was answered."""

    def __init__(self, digits_run: Any) -> None:
        self.predictor = Predictor.of(digits_run.folder)
        self.pulled = self.answered = self.widest = 0

    def pull(self, paths: list[Path]) -> Iterator[Path]:
        for path in paths:
            self.pulled += 1
            self.widest = max(self.widest, self.pulled - self.answered)
            yield path

    def run(self, paths: list[Path]) -> list[Prediction]:
        found = []
        for prediction in self.predictor.stream(self.pull(paths), Reporter(quiet=True)):
            self.answered += 1
            found.append(prediction)
        return found


@pytest.mark.parametrize("share", [0, 3, 1], ids=["all good", "every third bad", "all bad"])
def test_only_a_window_is_held_whatever_fails(share: int, digits_run: Any, digits: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    good = sorted((digits / "1").iterdir())
    paths = [bad if share and i % share == 0 else good[i % len(good)] for i in range(900)]
    counting = Counting(digits_run)
    found = counting.run(paths)
    assert [p.path for p in found] == [str(p) for p in paths]
    assert all(bool(p.error) == (p.path == str(bad)) for p in found)
    assert counting.widest <= 2 * BLOCK + 2 * BATCH  # two blocks in the network, two batches read ahead


def test_a_faster_precision_answers_nearly_alike(digits_run: Any, digits: Path) -> None:
    exact, low = (
        [json.loads(line) for line in asked(digits_run, digits / "2", "--json", "--precision", p).out.splitlines()]
        for p in ("float32", "bfloat16")
    )
    assert [row["path"] for row in exact] == [row["path"] for row in low]
    assert max(abs(a["confidence"] - b["confidence"]) for a, b in zip(exact, low, strict=True)) < 0.1


# ------------------------------------------------------------------------------------------------- abstaining


def test_below_the_threshold_there_is_no_answer(digits_run: Any, digits: Path) -> None:
    rows = [json.loads(line) for line in asked(digits_run, digits, "--json").out.splitlines()]
    limit = sorted(row["confidence"] for row in rows)[50] + 1e-9
    result = asked(digits_run, digits, "--json", "--abstain", limit)
    said = [json.loads(line) for line in result.out.splitlines()]
    assert [row.get("abstained", False) for row in said] == [row["confidence"] < limit for row in rows]
    assert all(row["label"] is None and row["scores"] for row in said if row.get("abstained"))
    table = list(csv.DictReader(io.StringIO(asked(digits_run, digits, "--format", "csv", "--abstain", limit).out)))
    assert {(row["abstained"], row["predicted"] == "") for row in table} == {("1", True), ("0", False)}
    assert "(abstains)" in asked(digits_run, digits, "--abstain", limit).out


def with_abstention(run: Any, to: Path, rows: list[dict[str, Any]]) -> Path:
    shutil.copytree(run.folder, to, ignore=shutil.ignore_patterns("exports"))
    metrics = json.loads((to / "metrics.json").read_text())
    (to / "metrics.json").write_text(json.dumps({**metrics, "abstention": rows}))
    return reseal(to)


def test_the_threshold_of_the_run(digits_run: Any, tmp_path: Path) -> None:
    rows = [
        {"accuracy": 0.95, "threshold": 0.61, "coverage": 0.9},
        {"accuracy": 0.99, "threshold": None, "coverage": 0},
    ]
    run = with_abstention(digits_run, tmp_path / "run", rows)
    assert abstain_at("run", run, "classify") == abstain_at("run:0.95", run, "classify") == 0.61
    assert abstain_at("0.8", run, "classify") == 0.8
    for wanted, words in (("run:.99", r"no threshold for accuracy \.99.*it has: 0\.95 \(from 0\.610\)"),
                          ("run:most", "run:ACCURACY"), ("1.5", "from 0 to 1"), ("nan", "from 0 to 1")):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            abstain_at(wanted, run, "classify")
    with pytest.raises(ConfigError, match="numbers do not have"):
        abstain_at("0.5", run, "regress")
    with pytest.raises(ConfigError, match="needs the run directory"):
        abstain_at("run", run / "model.keras", "classify")
