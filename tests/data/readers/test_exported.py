"""Exports of annotations lie in archives like any file, and what they say is shown without its control characters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.data.readers import forms
from tests.data.readers.forms import CLASSES, Corpus
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
