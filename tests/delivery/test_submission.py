"""A submission has the sample's header, its ids in their order, and nothing else."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import call
from tests.data.pictures import folder_of_classes
from tests.delivery.test_members import tiny
from tests.records import facts_of
from transferkit.delivery.predict import Prediction
from transferkit.delivery.submission import plan
from transferkit.errors import DataError

FACTS: dict[str, Any] = {"task": "classify", "classes": ["rose", "tulip"]}


def filled(sample: str, pictures: list[str], tmp_path: Path, **facts: Any) -> list[list[str]]:
    """The rows of a submission whose answers are all alike."""
    (tmp_path / "sample.csv").write_text(sample)
    known = facts_of({**FACTS, **facts})
    made = plan([Path(p) for p in pictures], known, tmp_path / "sample.csv")
    share = 1 / len(known.classes)
    pairs = tuple((name, share + (number == 1) / 4) for number, name in enumerate(known.classes))
    label = ";".join(known.classes[:2]) if known.task == "multilabel" else pairs[-1][0]
    answers = [Prediction(str(p), label, 0.5, pairs) for p in made.pictures]
    return list(csv.reader(made.lines(answers)))


def test_ids_with_and_without_suffix_in_the_order_of_the_sample(tmp_path: Path) -> None:
    pictures = ["test/10.jpg", "test/2.jpg", "test/1.jpg"]
    assert filled("image,label\n2,rose\n10,rose\n1,rose\n", pictures, tmp_path) == [
        ["image", "label"], ["2", "tulip"], ["10", "tulip"], ["1", "tulip"]
    ]  # fmt: skip
    rows = filled("id;label\n1.jpg;rose\n10.jpg;rose\n2.jpg;\n", pictures, tmp_path)
    assert [row[0] for row in rows] == ["id", "1.jpg", "10.jpg", "2.jpg"]
    nested = ["test/a/1.jpg", "test/b/1.jpg"]
    assert [r[0] for r in filled("id,label\nb/1.jpg,\na/1.jpg,\n", nested, tmp_path)] == ["id", "b/1.jpg", "a/1.jpg"]


def test_probabilities_by_the_columns_of_the_sample(tmp_path: Path) -> None:
    rows = filled("id,tulip,rose\n1,0.5,0.5\n", ["1.jpg"], tmp_path)
    assert rows == [["id", "tulip", "rose"], ["1", "0.75", "0.5"]]
    assert filled("id,tulip\n1,0\n", ["1.jpg"], tmp_path)[1] == ["1", "0.75"]
    assert filled("id,label\n1,0.5\n", ["1.jpg"], tmp_path, classes=["0", "1"])[1] == ["1", "0.75"]
    assert filled("id,label\n1,0\n", ["1.jpg"], tmp_path, classes=["0", "1"])[1] == ["1", "1"]


def test_labels_that_are_several_and_numbers(tmp_path: Path) -> None:
    several = {"task": "multilabel", "classes": ["clear", "haze", "road"]}
    assert filled("id,tags\n1,haze road\n", ["1.jpg"], tmp_path, **several)[1] == ["1", "clear haze"]
    assert filled("id,tags\n1,haze|road\n", ["1.jpg"], tmp_path, **several)[1] == ["1", "clear|haze"]
    assert filled("id,clear,haze,road\n1,0,0,0\n", ["1.jpg"], tmp_path, **several)[1][2] == "0.583333333"
    assert filled("id,Pawpularity\n1,40\n", ["1.jpg"], tmp_path, task="regress", classes=["y"])[1] == ["1", "1"]


@pytest.mark.parametrize(
    ("sample", "pictures", "words"),
    [
        ("id,label\n1,rose\n3,rose\n4,rose\n", ["1.jpg", "2.jpg"], "2 of 3 ids .* have no picture: 3, 4"),
        ("id,label\n1,rose\n", ["a/1.jpg", "b/1.jpg"], "more than one picture: 1"),
        ("id,label\n1,rose\n1,rose\n", ["1.jpg"], "occur more than once: 1"),
        ("id,label\n1,oak\n", ["1.jpg"], "holds oak, which is none of the run's classes"),
        ("id,rose,oak\n1,0,0\n", ["1.jpg"], "it has oak, it lacks tulip"),
        ("id,label\n1,0.5\n", ["1.jpg"], "rename it to rose or tulip"),
        ("id\n1\n", ["1.jpg"], "has the column id alone"),
        ("id,label\n", ["1.jpg"], "names no id"),
        ("id,label\n1\n", ["1.jpg"], "line 2: 1 cells"),
    ],
)
def test_what_cannot_be_filled_is_refused(sample: str, pictures: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        filled(sample, pictures, tmp_path)


def test_from_the_command_line(tmp_path: Path) -> None:
    new = folder_of_classes(tmp_path / "new", {"x": 4})
    model, sample, out = tiny(tmp_path / "a.keras", ["rose", "tulip"]), tmp_path / "sample.csv", tmp_path / "sub.csv"
    sample.write_text("Id,Species\n3,rose\n0,rose\n1,rose\n")
    common = ("predict", model, new, "--format", "submission", "--sample-submission", sample)  # as others call it
    done = call(*common, "--output", out)
    assert done.code == 0, done.err
    assert "1 picture not in the sample and left out" in done.err
    rows = list(csv.reader(out.read_text().splitlines()))
    assert rows[0] == ["Id", "Species"]
    assert [row[0] for row in rows[1:]] == ["3", "0", "1"]
    assert {row[1] for row in rows[1:]} <= {"rose", "tulip"}
    assert call(*common, "--output", sample).code == 2  # never overwritten
    plain = call("predict", model, new, "--format", "submission", "--quiet")
    assert plain.out.splitlines()[0] == "id,label"
    assert plain.out.splitlines()[1].split(",")[0] == "0.png"
    (new / "x" / "0.png").write_text("no picture")
    lost = call(*common, "--output", tmp_path / "other.csv")
    assert lost.code == 2
    assert "nothing is written" in lost.err
    assert not (tmp_path / "other.csv").exists()
    for more, words in (
        (("--top", 2), "no effect"),
        (("--abstain", 0.5), "without an answer"),
        (("--json",), "contrad"),
    ):
        refused = call(*common, *more)
        assert refused.code == 2
        assert words in refused.err
    assert "--sample has no effect" in call("predict", model, new, "--sample", sample).err


@pytest.mark.parametrize(("row", "line"), [("1,{}", 2), ("{},rose", 2), ('1,rose\n2,"{}', 3), ("1,rose\n{}", 3)])
def test_an_endless_cell_of_the_sample_is_named_with_its_line(row: str, line: int, tmp_path: Path) -> None:
    said = rf"sample\.csv: .*line {line}: a cell has more than 131,072 characters"
    with pytest.raises(DataError, match=said) as caught:
        filled(f"id,label\n{row.format('x' * 131_073)}\n", ["1.jpg", "2.jpg"], tmp_path)
    assert len(str(caught.value)) < 1500
