"""Exports of annotations lie in archives like any file, and what they say is shown without its control characters."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.data.readers import forms
from tests.data.readers.forms import CLASSES, Corpus
from transferkit.data.containers.pixels import png
from transferkit.data.readers.request import Reading
from transferkit.data.source import scan
from transferkit.errors import DataError


@pytest.mark.parametrize("form", ["coco", "open images"])
def test_an_export_is_read_from_an_archive(form: str, tmp_path: Path) -> None:
    source, options = forms.FORMS[form](Corpus(), tmp_path)
    if form == "coco":  # larger than what is hashed
        content = json.loads(source.read_text())
        source.write_text(json.dumps(content | {"info": {"description": "x" * (1 << 20)}}))
    packed = Path(shutil.make_archive(str(tmp_path.with_name(f"{tmp_path.name}-packed")), "zip", tmp_path))
    found = scan(packed / source.name, reading=Reading.checked(options))
    assert len(found) == 120
    assert found.classes == CLASSES


def test_names_of_an_export_are_shown_without_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m.json"
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [0]}]
    images, categories = [{"id": 1, "file_name": "a.jpg"}], [{"id": 1, "name": "rose"}]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    with pytest.raises(DataError, match=r"is not .left, top, width, height") as caught:
        scan(path, reading=Reading.checked({"crop_boxes": True}))
    assert "\x1b" not in str(caught.value)


def test_boxes_of_yolo_are_cut_where_they_lie_and_keep_their_split(tmp_path: Path) -> None:
    """A box, one beyond the edge, an outline, a picture without any; numbers of classes by name."""
    for split, texts in (("train", ("0 .5 .5 .5 .25", "1 0 .5 .5 .5", "")), ("valid", ("1 .1 .2 .9 .2 .5 .6",))):
        for n, text in enumerate(texts):
            for kind, content in (("images", png(np.full((40, 80, 3), n, np.uint8))), ("labels", text.encode())):
                path = tmp_path / split / kind / f"{split}{n}.{'png' if kind == 'images' else 'txt'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    (tmp_path / "data.yaml").write_text("names:\n  0: rose\n  1: tulip\n")
    found = scan(tmp_path / "data.yaml", reading=Reading(crop_boxes=True))
    said = {path: (found.label(i), found.split[i]) for i, path in enumerate(found.paths)}
    assert [(path.partition("#xywh=")[0], *rest) for path, rest in said.items()] == [
        ("train/images/train0.png", "rose", "train"), ("train/images/train1.png", "tulip", "train"),
        ("valid/images/valid0.png", "tulip", "val"),
    ]  # fmt: skip
    assert [path.partition("#xywh=")[2] for path in said] == [
        "percent:25,37.5,50,25", "percent:0,25,25,50", "percent:10,20,80,40",
    ]  # fmt: skip
    assert "1 picture without a box left out" in str(found.reader["said"])


@pytest.mark.parametrize("names", ["[no, 1.0]", "{0: no, 1: 1.0}", "\n- no\n- '1.0'"])
def test_classes_of_yolo_are_called_as_they_are_written(tmp_path: Path, names: str) -> None:
    for n in range(2):
        (tmp_path / f"{n}.png").write_bytes(png(np.full((8, 8, 3), n, np.uint8)))
        (tmp_path / f"{n}.txt").write_text(f"{n} .5 .5 .5 .5")
    (tmp_path / "data.yaml").write_text(f"names: {names}\n")
    found = scan(tmp_path)
    assert [found.label(i) for i in range(2)] == ["no", "1.0"]


def test_names_of_yolo_that_lie_without_their_pictures_are_told_where_to_go(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("path: ../elsewhere\ntrain: images/train\nnames: [rose, tulip]\n")
    with pytest.raises(DataError, match="no pictures lie beside it or below; put it into the folder of images/"):
        scan(tmp_path / "data.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2 .5 .5 .1 .1", "line 1 has the class 2, which has no name; there are 0 rose, 1 tulip"),
        ("0 .5 .5", "line 1 is no box"), ("rose .5 .5 .1 .1", "line 1 is no box"),
        ("0 .5 .5 0 .1", "without extent"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_text_of_boxes_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "classes.txt").write_text("rose\ntulip\n")
    (tmp_path / "a.png").write_bytes(png(np.zeros((8, 8, 3), np.uint8)))
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DataError, match=re.escape(said)):
        scan(tmp_path)


def test_coco_of_several_splits_lies_in_files_of_their_own(tmp_path: Path) -> None:
    """Pictures of one name in both: each is looked for in the folder called as its file."""
    for n, split in enumerate(("train2017", "val2017")):
        (tmp_path / split).mkdir()
        for at in range(2):
            (tmp_path / split / f"{at}.png").write_bytes(png(np.full((8, 8, 3), 10 * n + at, np.uint8)))
        content = {
            "images": [{"id": at, "file_name": f"{at}.png"} for at in range(2)],
            "annotations": [{"id": at, "image_id": at, "category_id": (at + n) % 2} for at in range(2)],
            "categories": [{"id": 0, "name": "rose"}, {"id": 1, "name": "tulip"}],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    found = scan(tmp_path)
    assert {path: (found.label(i), found.split[i]) for i, path in enumerate(found.paths)} == {
        "train2017/0.png": ("rose", "train"), "train2017/1.png": ("tulip", "train"),
        "val2017/0.png": ("tulip", "val"), "val2017/1.png": ("rose", "val"),
    }  # fmt: skip
    copy = tmp_path / "annotations" / "instances_old.json"
    copy.write_text(json.dumps(content))
    with pytest.raises(DataError, match="several files of annotations"):
        scan(tmp_path)
