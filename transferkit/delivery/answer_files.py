"""Answers as files of other tools: a Parquet table, tasks with predictions for Label Studio, images and labels of COCO.

Pictures are named from where the file lies: relative to its folder where they lie below it, else by their whole path.
The readers of training take COCO's file and the table back as labels (`--label-column predicted`), and Label Studio's
once somebody has looked through it there and exported it.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from transferkit import tasks
from transferkit.data.containers.bucket import address, is_address
from transferkit.data.images.opening import PictureError, read_header
from transferkit.data.readers.cells import in_cell
from transferkit.delivery.predict import Prediction
from transferkit.delivery.sorting import parted
from transferkit.errors import ConfigError
from transferkit.files import output_path

AT_ONCE = 10_000  # rows of a group in Parquet
LOCAL = "/data/local-files/?d="  # how Label Studio names pictures on its own disk
TURNED = (5, 6, 7, 8)  # orientations by which width and height change places


def refuse_numbers(shape: str, task: str) -> None:
    """Refuse a form that holds classes.

    Args:
        shape: the form's name.
        task: of the run.

    Raises:
        ConfigError: the run predicts numbers.
    """
    if tasks.of(task).numbers:
        raise ConfigError(f"--format {shape} holds classes, and this run predicts numbers; give csv, json or parquet")


def write_parquet(
    predictions: Iterable[Prediction], names: Sequence[str], task: str, output: Path, abstains: bool = False
) -> None:
    """A table with the columns of `answer_lines.as_csv`, numbers as float64; null where there is none. In `predicted`,
    names that hold `;` stand in quotes.

    Args:
        predictions: one a picture.
        names: of the classes.
        task: of the run.
        output: the file, written whole or not at all.
        abstains: adds a column `abstained`.

    Raises:
        ConfigError: pyarrow is missing.
    """
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError(
            "--format parquet needs pyarrow; install it with: pip install 'transferkit[parquet]'"
        ) from error
    number, text = arrow.float64(), arrow.string()
    prefix = tasks.of(task).prefix
    types = {"path": text, "predicted": text, "confidence": number, **{_utf8(prefix + n): number for n in names}}
    types |= {"abstained": arrow.bool_()} if abstains else {}
    schema = arrow.schema([*types.items(), ("error", text)])
    answers = iter(predictions)
    with output_path(output) as temporary, parquet.ParquetWriter(temporary, schema) as out:
        while group := list(islice(answers, AT_ONCE)):
            rows = [_row(p, names, task, output.parent) | ({"abstained": p.abstained} if abstains else {})
                    for p in group]  # fmt: skip
            out.write_table(arrow.Table.from_pylist(rows, schema))


def _row(p: Prediction, names: Sequence[str], task: str, folder: Path) -> dict[str, object]:
    scores, prefix = dict(p.scores), tasks.of(task).prefix
    values = {_utf8(prefix + name): scores.get(name) for name in names}
    labels = p.label if tasks.of(task).numbers else ";".join(map(in_cell, _labels_of(p, names, task)))
    said = _utf8(labels) if not p.error and not p.abstained else None
    return {"path": _utf8(_named_from(p.path, folder)), "predicted": said, "confidence": p.confidence, **values,
            "error": p.error or None}  # fmt: skip


def _utf8(name: str) -> str:
    """A name as Parquet takes it: bytes that are no UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def label_studio(
    predictions: Iterable[Prediction], names: Sequence[str], task: str, folder: Path, version: str
) -> Iterator[str]:
    """Lines of a JSON list of tasks for Label Studio, each with the answer as a prediction (`choice` of `image`).

    Args:
        predictions: one a picture; those that could not be read are left out.
        names: of the classes.
        task: of the run.
        folder: in which the file will lie, for `LOCAL_FILES_DOCUMENT_ROOT`.
        version: what answered, in words.
    """
    before = "["
    for p in predictions:
        if p.error:
            continue
        path = _named_from(p.path, folder)
        image = path if is_address(path) else LOCAL + quote(os.fsencode(path))
        value = {"type": "choices", "from_name": "choice", "to_name": "image"}
        labels = _labels_of(p, names, task)
        answer = {
            "model_version": version, "score": p.confidence, "result": [value | {"value": {"choices": labels}}]
        }  # fmt: skip
        yield before + json.dumps({"data": {"image": image}, "predictions": [answer] if labels else []})
        before = ","
    yield "[]" if before == "[" else "]"


def coco(predictions: Iterable[Prediction], names: Sequence[str], task: str, folder: Path) -> Iterator[str]:
    """Lines of a JSON object with COCO's images, annotations (of labels, without boxes; `score` is the confidence) and
    categories.

    Args:
        predictions: one a picture; those that could not be read are left out.
        names: of the classes, numbered from 1.
        task: of the run.
        folder: in which the file will lie.
    """
    number_of = {name: number for number, name in enumerate(names, start=1)}
    notes: list[str] = []
    yield '{"images": ['
    between = ""
    for image, p in enumerate((p for p in predictions if not p.error), start=1):
        size = _size(p.path)
        yield between + json.dumps({"id": image, "file_name": _named_from(p.path, folder), **size})
        between = ","
        for label in _labels_of(p, names, task):
            note = {"id": len(notes) + 1, "image_id": image, "category_id": number_of[label], "score": p.confidence}
            notes.append(json.dumps(note))
    yield '], "annotations": ['
    yield ",\n".join(notes)
    categories = [{"id": number, "name": name} for name, number in number_of.items()]
    yield f'], "categories": {json.dumps(categories)}}}'


def _labels_of(prediction: Prediction, names: Sequence[str], task: str) -> list[str]:
    """The names that an answer gives; none where it abstains."""
    if prediction.abstained:
        return []
    return [prediction.label] if tasks.of(task).exclusive else list(parted(prediction.label, names))


def _named_from(path: str, folder: Path) -> str:
    """A picture's path as a file in `folder` names it: relative where it lies below, else whole, addresses too."""
    if is_address(path):
        return address(path)
    there = os.path.abspath(path)
    return there.removeprefix(os.path.join(os.path.abspath(folder), ""))


def _size(path: str) -> dict[str, int]:
    with suppress(PictureError):  # it went since
        header = read_header(Path(path))
        width, height = header.size if header.orientation not in TURNED else header.size[::-1]
        return {"width": width, "height": height}
    return {}
