"""The table "what you have → what you type" of docs/data.md: every command in it, in a folder that has what it says."""

from __future__ import annotations

import io
import json
import re
import shlex
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.cli.calls import call
from tests.data.readers import forms, label_forms, pixel_forms
from tests.data.readers.forms import CLASSES, Corpus
from tests.data.readers.label_forms import Labelled
from tests.data.readers.pixel_forms import Divided

PAGE = Path(__file__).parents[3] / "docs" / "data.md"
Prepare = Callable[[Path], None]


def rows() -> dict[str, str]:
    """What is typed, by what one has."""
    table = PAGE.read_text("utf-8").split("| you have | you type |\n|---|---|\n")[1].split("\n\n")[0]
    cells = (re.split(r"(?<!\\)\|", line)[1:3] for line in table.splitlines())
    return {have.strip(): typed.strip().replace("\\|", "|") for have, typed in cells}


def form(name: str, *more: str) -> Prepare:
    """One of the forms, whose files may be called otherwise: `a>b`."""

    def prepare(to: Path) -> None:
        kinds: dict[str, Any] = {**label_forms.LABEL_FORMS, **forms.FORMS}
        data: Any = Labelled() if name not in forms.FORMS else Corpus()
        if name in pixel_forms.PIXEL_FORMS:
            pixel_forms.PIXEL_FORMS[name][1](Divided(pixel_forms.PIXEL_FORMS[name][0]()), to)
        else:
            kinds[name](data, to)
        for pair in more:
            old, new = pair.split(">")
            (to / old).rename(to / new)

    return prepare


def inside(folder: str, prepare: Prepare) -> Prepare:
    def build(to: Path) -> None:
        (to / folder).mkdir()
        prepare(to / folder)

    return build


def both(one: Prepare, other: Prepare) -> Prepare:
    def build(to: Path) -> None:
        one(to)
        other(to)

    return build


def coded_folders(to: Path) -> None:
    forms.class_folders(Corpus(), to / "imagenet")
    for number, name in enumerate(CLASSES):
        (to / "imagenet" / name).rename(to / "imagenet" / f"n0000000{number}")
    (to / "names.txt").write_text("".join(f"n0000000{number} {name}\n" for number, name in enumerate(CLASSES)))


def table(header: str, row: Callable[[int, str, str], str], name: str = "list.csv", folder: str = "") -> Prepare:
    """Pictures, and a table of a line for each (its number, name and label)."""

    def prepare(to: Path) -> None:
        corpus = Corpus()
        forms.flat(corpus, to / folder)
        lines = (row(i, name, label) for i, (name, label, _) in enumerate(corpus))
        (to / name).write_text("\n".join([header, *lines]))

    return prepare


def marks(label: str) -> list[str]:
    return [str(int(label == name)) for name in CLASSES]


def web_tar(to: Path) -> None:
    (to / "web").mkdir()
    forms.FORMS["webdataset"](Corpus(), to / "web")
    with tarfile.open(to / "one.tar", "w") as out:
        for name, label, content in Corpus():
            for ending, part in (("png", content), ("txt", label.encode())):
                info = tarfile.TarInfo(f"{name}.{ending}")
                info.size = len(part)
                out.addfile(info, io.BytesIO(part))


def boxes(to: Path) -> None:
    forms.flat(Corpus(), to / "images")
    (to / "annotations.json").write_text(json.dumps(forms.coco_content(Corpus(), boxes=True)))


def dicoms(to: Path) -> None:
    form("dicom")(to)
    lines = (f"{p.relative_to(to)},{p.parent.name}" for p in sorted(to.rglob("*.dcm")))
    (to / "list.csv").write_text("\n".join(["path,label", *lines]))


def several(to: Path) -> None:
    """A folder with TIFFs of several pages, DICOM of several frames and an animation."""
    form("pages of tiffs")(to / "DATA")
    data = Divided(Corpus().pixels)
    for part, label, pixels in data.stacks():
        pixel_forms.dicom(to / "DATA" / part / label / "more", pixels)
        first, *others = map(Image.fromarray, pixels)
        first.save(to / "DATA" / part / label / "moving.gif", save_all=True, append_images=others)


def films(to: Path) -> None:
    (to / "DATA").mkdir()
    forms.FORMS["films"](Corpus(), to / "DATA")
    (to / "DATA" / "rose" / "picture.png").write_bytes(next(iter(Corpus()))[2])


def pictures(kind: str) -> Prepare:
    return inside("DATA", form(kind))


# By the beginning of what one has: how it is made, and what is typed after `transferkit data summary`.
TYPED: dict[str, tuple[Prepare, list[str]]] = {
    "a folder of class folders": (form("folder"), ["flowers/"]),
    "folders in class folders": (
        inside("animals", form("class folders in folders, path")),
        ["animals/ --class-level leaf", "animals/ --class-level path"],
    ),
    "class folders called by codes": (coded_folders, ["imagenet/ --classes names.txt"]),
    "a `.zip`": (form("zip"), ["flowers.zip"]),
    "a table inside an archive": (form("csv in a zip"), ["all.zip/train.csv"]),
    "a CSV or TSV": (form("csv"), ["data.csv"]),
    "Kaggle's": (form("kaggle"), ["train.csv"]),
    "a table of other columns": (
        table("file,kind,sort", lambda i, name, label: f"{name}.png,{label},{label.upper()}"),
        ["list.csv --image-column file --label-column kind"],
    ),
    "… whose paths are made of columns": (
        table("id,site,label", lambda i, name, label: f"{name},north,{label}", folder="img/north"),
        ["list.csv --path-template 'img/{site}/{id}.png'", "list.csv --path-template 'img/{site}/{id}'"],
    ),
    "… with codes for classes": (form("csv of codes", "train.csv>list.csv"), ["list.csv --classes names.csv"]),
    "… with several labels in a cell": (
        form("csv by another sign", "a.csv>list.csv"),
        ["list.csv --label-delimiter '|'"],
    ),
    "… with lists in cells": (
        table("path,label", lambda i, name, label: f"{name}.png,\"['{label}', '{'wet' if i % 2 else 'dry'}']\""),
        ["list.csv"],
    ),
    "… with a column for each label": (
        table("file,note,red,wet", lambda i, name, label: f"{name}.png,x,{i % 2},{i % 3 // 2}"),
        ["list.csv --label-column red --label-column wet"],
    ),
    "… with a column for each class": (
        table("file,daisy,rose,tulip", lambda i, name, label: ",".join([f"{name}.png", *marks(label)])),
        ["list.csv --task classify"],
    ),
    "… with patients": (
        table("path,label,patient_id", lambda i, name, label: f"{name}.png,{label},{i // 4}"),
        ["list.csv --group-column patient_id"],
    ),
    "JSON lines": (form("json lines"), ["metadata.jsonl"]),
    "an Excel sheet": (form("excel"), ["list.xlsx"]),
    "Parquet³ of paths": (form("parquet"), ["flowers.parquet"]),
    "a data set of Hugging Face on disk": (inside("set", form("hub folder")), ["set"]),
    "WebDataset's tars": (web_tar, ["web --classes web/names.json", "one.tar"]),
    "TensorFlow's record files": (
        inside("set", form("tfrecords")),
        ["set", "set/flowers-00000-of-00002.tfrecord"],
    ),
    "a data set that TensorFlow Datasets prepared": (inside("set", form("tfds")), ["set", "set/3.0.1"]),
    "arrays: `.npz`": (form("npz"), ["flowers.npz"]),
    "MNIST's IDX files": (inside("set", form("idx")), ["set", "set/train-images-idx4-ubyte.gz"]),
    "CIFAR's batches": (form("cifar in tar.gz"), ["cifar-10-python.tar.gz", "raw/cifar-10-batches-py"]),
    "COCO's JSON": (
        both(form("coco", "instances.json>annotations.json"), inside("set", form("coco beside"))),
        ["annotations.json", "set"],
    ),
    "… whose boxes": (boxes, ["annotations.json --crop-boxes"]),
    "Label Studio's export": (form("label studio", "project-1.json>project.json"), ["project.json"]),
    "Roboflow's `_classes.csv`": (
        both(inside("set", form("roboflow")), inside("boxes", form("roboflow boxes"))),
        ["set", "set/_classes.csv", "boxes", "boxes/_annotations.csv"],
    ),
    "YOLO's boxes": (inside("set", form("yolo")), ["set", "set/data.yaml"]),
    "Pascal VOC": (inside("set", form("voc")), ["set"]),
    "CVAT for images": (inside("set", form("cvat")), ["set/annotations.xml", "set"]),
    "Open Images' CSVs": (
        form("open images", "names.csv>class-descriptions.csv"),
        ["labels.csv --classes class-descriptions.csv"],
    ),
    "DICOM": (dicoms, [".", "list.csv"]),
    "TIFFs of several pages": (several, ["DATA --frames all"]),
    "films": (films, ["DATA --frames every:1s"]),
    "HEIC, AVIF or JPEG XL": (pictures("avif"), ["DATA"]),
    "12- or 16-bit grey pictures": (pictures("16 bits by percentiles"), ["DATA"]),
}
# What has a server in tests of its own, is Python, or is told on another page.
ELSEWHERE = (
    "data in a bucket",
    "a data set on the Hugging Face hub",
    "arrays or a dataset in Python",
    "something else",
)


def test_every_row_of_the_table_is_tried_or_has_tests_of_its_own() -> None:
    beginnings = [*TYPED, *ELSEWHERE]
    found = {have: [start for start in beginnings if have.startswith(start)] for have in rows()}
    assert {have: starts for have, starts in found.items() if len(starts) != 1} == {}
    assert len(found) == len(beginnings)


@pytest.mark.parametrize("start", TYPED)
def test_what_the_table_says_to_type_is_read(start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, commands = TYPED[start]
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    typed = next(typed for have, typed in rows().items() if have.startswith(start))
    spans = [span for span in re.findall(r"`([^`]+)`", typed) if re.search(r"--|/$|\.\w+|^DATA", span)]
    unsaid = [span for span in spans if not any(_said(span, command) for command in commands)]
    assert [span for span in unsaid if not span.startswith("finetune ")] == []
    for command in commands:
        result = call("data", "summary", *shlex.split(command), "--json")
        assert result.code == 0, (command, result.err)
        found = json.loads(result.out)
        assert found["reader"]["why"]
        assert found["pictures"] >= 60
        assert len(found["classes"]) >= 2


def _said(span: str, command: str) -> bool:
    """Whether a command is the one of the page, but for the ending of its pictures."""
    return span.replace(".jpg", ".png") in command
