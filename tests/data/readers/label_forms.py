"""The same 120 pictures with several labels each, in every form that holds such."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.data.readers.forms import Corpus, flat, write_rows

LABELS = ("daisy", "large", "rose", "tulip", "wet")


class Labelled(Corpus):
    """Pictures with the name of the flower, and what else is so of it."""

    def __init__(self) -> None:
        super().__init__()
        self.sets = [
            sorted([label, *(["wet"] if i % 2 else []), *(["large"] if i % 3 == 0 else [])])
            for i, label in enumerate(self.labels)
        ]

    def marks(self) -> list[list[int]]:
        """1 for each of `LABELS` that is so."""
        return [[int(name in found) for name in LABELS] for found in self.sets]


Source = tuple[Path, dict[str, Any]]
Builder = Callable[[Labelled, Path], Source]


def joined(sign: str, option: str = "") -> Builder:
    def build(data: Labelled, to: Path) -> Source:
        flat(data, to)
        rows = ((f"{name}.png", sign.join(found)) for name, found in zip(data.names, data.sets, strict=True))
        return write_rows(to / "a.csv", ["path", "label"], rows), {"label_delimiter": option} if option else {}

    return build


def columns(data: Labelled, to: Path) -> Source:
    """A column of 0 and 1 for each label."""
    flat(data, to)
    rows = ((f"{name}.png", *marks) for name, marks in zip(data.names, data.marks(), strict=True))
    return write_rows(to / "a.csv", ["path", *(f"label_{name}" for name in LABELS)], rows), {}


def named_columns(data: Labelled, to: Path) -> Source:
    """The same beside others, and called otherwise."""
    flat(data, to)
    rows = ((f"{name}.png", "x", *marks) for name, marks in zip(data.names, data.marks(), strict=True))
    path = write_rows(to / "a.csv", ["file", "note", *LABELS], rows)
    return path, {"image_column": "file", "label_column": LABELS}


def name_columns(data: Labelled, to: Path) -> Source:
    """One column for the flower, and one for each of what else may be so, empty where it is not."""
    flat(data, to)
    rows = ((f"{name}.png", label, *(word if word in found else "" for word in ("wet", "large")))
            for name, label, found in zip(data.names, data.labels, data.sets, strict=True))  # fmt: skip
    path = write_rows(to / "a.csv", ["file", "kind", "water", "size"], rows)
    return path, {"image_column": "file", "label_column": ("kind", "water", "size")}


def json_lines(data: Labelled, to: Path) -> Source:
    flat(data, to)
    lines = (json.dumps({"file_name": f"{name}.png", "label": found})
             for name, found in zip(data.names, data.sets, strict=True))  # fmt: skip
    (to / "metadata.jsonl").write_text("\n".join(lines))
    return to / "metadata.jsonl", {}


def parquet(data: Labelled, to: Path) -> Source:
    import pyarrow
    import pyarrow.parquet

    images = [{"bytes": content, "path": f"{name}.png"} for name, _, content in data]
    pyarrow.parquet.write_table(pyarrow.table({"image": images, "label": data.sets}), to / "a.parquet")
    return to / "a.parquet", {}


def roboflow(data: Labelled, to: Path) -> Source:
    flat(data, to)
    rows = ([f"{name}.png", *marks] for name, marks in zip(data.names, data.marks(), strict=True))
    write_rows(to / "_classes.csv", ["filename", *(f" {name}" for name in LABELS)], rows)
    return to, {}


def coco(data: Labelled, to: Path) -> Source:
    flat(data, to)
    notes = [{"image_id": i, "category_id": LABELS.index(name)} for i, found in enumerate(data.sets) for name in found]
    content = {
        "images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(data.names)],
        "annotations": [{"id": i, **note} for i, note in enumerate(notes)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(LABELS)],
    }
    (to / "a.json").write_text(json.dumps(content))
    return to / "a.json", {}


def label_studio(data: Labelled, to: Path) -> Source:
    flat(data, to)
    tasks = [
        {"data": {"image": f"/data/local-files/?d={name}.png"},
         "annotations": [{"result": [{"type": "choices", "value": {"choices": found}, "from_name": "choice"}]}]}
        for name, found in zip(data.names, data.sets, strict=True)
    ]  # fmt: skip
    (to / "a.json").write_text(json.dumps(tasks))
    return to / "a.json", {}


def cvat(data: Labelled, to: Path) -> Source:
    flat(data, to / "images")
    images = [
        f'<image name="{name}.png">{"".join(f"""<tag label="{word}"></tag>""" for word in found)}</image>'
        for name, found in zip(data.names, data.sets, strict=True)
    ]
    (to / "annotations.xml").write_text(f"<annotations>{''.join(images)}</annotations>")
    return to, {}


def voc(data: Labelled, to: Path) -> Source:
    flat(data, to / "JPEGImages")
    (to / "Annotations").mkdir()
    for name, found in zip(data.names, data.sets, strict=True):
        objects = "".join(f"<object><name>{word}</name></object>" for word in found)
        (to / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.png</filename>{objects}</annotation>"
        )
    return to, {}


def open_images(data: Labelled, to: Path) -> Source:
    flat(data, to / "train")
    rows = ([name, word, 1] for name, found in zip(data.names, data.sets, strict=True) for word in found)
    return write_rows(to / "labels.csv", ["ImageID", "LabelName", "Confidence"], rows), {}


LABEL_FORMS: dict[str, Builder] = {
    "csv": joined(";"),
    "csv by another sign": joined("|", "|"),
    "csv by commas": joined(", ", "comma"),
    "csv of marks": columns,
    "csv of named columns of marks": named_columns,
    "csv of columns of names": name_columns,
    "json lines of lists": json_lines,
    "parquet of lists": parquet,
    "roboflow": roboflow,
    "coco": coco,
    "label studio": label_studio,
    "cvat": cvat,
    "voc": voc,
    "open images": open_images,
}
