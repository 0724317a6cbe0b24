"""Answers in the files of other tools: as those tools want them, and taken back by the readers of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image

from tests.cli.calls import call
from tests.data.pictures import folder_of_classes
from transferkit.data.readers.request import Reading
from transferkit.data.samples import Samples
from transferkit.data.source import scan
from transferkit.delivery.answer_files import coco, label_studio, refuse_numbers, write_parquet
from transferkit.delivery.predict import Prediction
from transferkit.errors import ConfigError, DataError

NAMES = ["rose", "tulip;late"]


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Pictures with odd names, where the answers will lie above them."""
    folder = folder_of_classes(tmp_path / "new", {"x": 4})
    (folder / "x" / "1.png").rename(folder / "x" / "a b %20é.png")
    return folder


def answers(new: Path) -> list[Prediction]:
    """Two of each class, one that is lost and one without an answer."""
    found = [
        Prediction(str(path), NAMES[i % 2], 0.75, ((NAMES[i % 2], 0.75), (NAMES[1 - i % 2], 0.25)))
        for i, path in enumerate(sorted((new / "x").iterdir()))
    ]
    return [
        *found,
        Prediction(str(new / "x" / "lost.png"), "", None, (), "is empty (0 bytes)"),
        Prediction(str(new / "x" / "0.png"), "", 0.4, (("rose", 0.4),), abstained=True),
    ]


def labels(samples: Samples) -> list[tuple[str, str]]:
    return [(path, samples.label(i)) for i, path in enumerate(samples.paths)]


def expected(new: Path) -> list[tuple[str, str]]:
    return [(f"new/x/{Path(p.path).name}", p.label) for p in answers(new)[:4]]


def test_coco_is_taken_back(new: Path, tmp_path: Path) -> None:
    text = "\n".join(coco(answers(new), NAMES, "classify", tmp_path))
    content = json.loads(text)
    assert content["images"][0]["file_name"] == "new/x/0.png"
    assert len(content["images"]) == 5
    assert [note["score"] for note in content["annotations"]] == [0.75] * 4
    assert [note["category_id"] for note in content["annotations"]] == [1, 2, 1, 2]
    (tmp_path / "answers.json").write_text(text)
    found = scan(tmp_path / "answers.json")
    assert found.reader["name"] == "coco"
    assert labels(found) == expected(new)


def test_coco_tells_the_size_of_the_upright_picture(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 24)).save(tmp_path / "a.jpg", exif=turned)
    Image.new("RGB", (40, 24)).save(tmp_path / "b.jpg")
    said = [Prediction(str(tmp_path / name), "rose", 0.75, (("rose", 0.75),)) for name in ("a.jpg", "b.jpg")]
    images = json.loads("\n".join(coco(said, NAMES, "classify", tmp_path)))["images"]
    assert [(image["width"], image["height"]) for image in images] == [(24, 40), (40, 24)]


def test_several_labels_are_several_annotations(new: Path, tmp_path: Path) -> None:
    both = Prediction(str(new / "x" / "0.png"), "rose;tulip;late", 0.6, (("rose", 0.9), ("tulip;late", 0.6)))
    content = json.loads("\n".join(coco([both], NAMES, "multilabel", tmp_path)))
    assert [note["category_id"] for note in content["annotations"]] == [1, 2]
    (task,) = json.loads("\n".join(label_studio([both], NAMES, "multilabel", tmp_path, "runs/a")))
    assert task["predictions"][0]["result"][0]["value"] == {"choices": NAMES}


def test_label_studio_is_taken_back_once_somebody_has_looked_through_it(new: Path, tmp_path: Path) -> None:
    text = "\n".join(label_studio(answers(new), NAMES, "classify", tmp_path, "runs/a"))
    tasks: list[dict[str, Any]] = json.loads(text)
    assert len(tasks) == 5
    assert unquote(tasks[2]["data"]["image"]).startswith("/data/local-files/?d=new/x/")
    (answer,) = tasks[0]["predictions"]
    assert (answer["model_version"], answer["score"]) == ("runs/a", 0.75)
    (tmp_path / "tasks.json").write_text(text)
    with pytest.raises(DataError, match="holds predictions, and no annotation of a person"):
        scan(tmp_path / "tasks.json")
    for task in tasks:
        task["annotations"] = [{"result": said["result"]} for said in task.pop("predictions")]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    assert labels(scan(tmp_path / "export.json")) == expected(new)
    (tmp_path / "elsewhere").mkdir()
    text = "\n".join(label_studio(answers(new), NAMES, "classify", tmp_path / "elsewhere", "runs/a"))
    tasks = json.loads(text)
    for task in tasks:
        task["annotations"] = [{"result": said["result"]} for said in task.pop("predictions")]
    (tmp_path / "elsewhere" / "export.json").write_text(json.dumps(tasks))
    found = scan(tmp_path / "elsewhere" / "export.json")
    assert labels(found) == [(str(tmp_path / path), label) for path, label in expected(new)]


def test_parquet_has_the_columns_of_csv_and_is_taken_back(new: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    write_parquet(answers(new)[:5], NAMES, "classify", tmp_path / "answers.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "answers.parquet")
    assert table.column_names == ["path", "predicted", "confidence", "p_rose", "p_tulip;late", "error"]
    rows = table.to_pylist()
    assert (rows[0]["p_rose"], rows[0]["error"]) == (0.75, None)
    assert (rows[4]["predicted"], rows[4]["confidence"], rows[4]["error"]) == (None, None, "is empty (0 bytes)")
    write_parquet(answers(new)[:4], NAMES, "classify", tmp_path / "whole.parquet", abstains=True)
    assert pyarrow.parquet.read_table(tmp_path / "whole.parquet").column_names[-2:] == ["abstained", "error"]
    found = scan(tmp_path / "whole.parquet", reading=Reading(label_column=("predicted",)), task="classify")
    assert labels(found) == expected(new)


def test_numbers_are_refused_where_a_form_holds_classes() -> None:
    with pytest.raises(ConfigError, match="--format coco holds classes, and this run predicts numbers"):
        refuse_numbers("coco", "regress")


def test_names_that_are_no_utf_8_are_written(tmp_path: Path) -> None:
    odd = [Prediction("na\udcffme.png", "ro\udcffse", 0.5, (("ro\udcffse", 0.5), ("b", 0.5)))]
    write_parquet(odd, ["ro\udcffse", "b"], "classify", tmp_path / "a.parquet")
    json.loads("\n".join(label_studio(odd, ["ro\udcffse", "b"], "classify", tmp_path, "a")))
    json.loads("\n".join(coco(odd, ["ro\udcffse", "b"], "classify", tmp_path)))


def test_from_the_command_line(digits_run: Any, digits: Path, tmp_path: Path) -> None:
    for shape in ("coco", "labelstudio", "parquet"):
        name = f"answers.{'parquet' if shape == 'parquet' else 'json'}"
        output = tmp_path / shape / name
        output.parent.mkdir()
        result = call("predict", digits_run.folder, digits / "3", "--format", shape, "--output", output)
        assert result.code == 0, result.err
    content = json.loads((tmp_path / "coco" / "answers.json").read_text())
    assert len(content["images"]) == len(content["annotations"]) == len(list((digits / "3").iterdir()))
    assert json.loads(call("predict", digits_run.folder, digits / "3" / "3_0000.png", "--format", "coco").out)["images"]
    by_suffix = tmp_path / "by suffix.parquet"
    assert call("predict", digits_run.folder, digits / "3" / "3_0000.png", "--output", by_suffix).code == 0
    assert by_suffix.read_bytes()[:4] == b"PAR1"
    for words, said in (
        (["--format", "parquet"], "add --output answers.parquet"),
        (["--format", "coco", "--top", 3], "--top 3 has no effect: it holds the answer"),
    ):
        refused = call("predict", digits_run.folder, digits / "3", *words)
        assert (refused.code, said in refused.err) == (2, True), refused.err
