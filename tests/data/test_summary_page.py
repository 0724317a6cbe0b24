"""`data summary`: who read the data and why, what was passed over, and ten pictures on a page."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.calls import call
from tests.data.readers import forms
from tests.data.readers.forms import CLASSES, Corpus
from transferkit.cli import _pictures
from transferkit.data.source import scan
from transferkit.data.summary_page import summary_page


def test_the_page_shows_ten_pictures_with_labels_and_obeys_no_name(tmp_path: Path) -> None:
    corpus = Corpus()
    source, _ = forms.zipped(corpus, tmp_path)
    result = call("data", "summary", source, "--html", tmp_path / "page.html")
    assert result.code == 0
    assert "read by 'folder': it is a folder of class folders" in result.out
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 10
    assert "daisy/d000.png" in page
    rows = ((f"flowers.zip/flowers/{label}/{name}.png", f"<b>{label}") for name, label, _ in corpus)
    table = forms.write_rows(tmp_path / "a.csv", ["path", "label"], rows)
    assert call("data", "summary", table, "--html", tmp_path / "page.html").code == 0
    assert "&lt;b&gt;rose" in (tmp_path / "page.html").read_text()


def test_what_was_found_is_in_the_json(tmp_path: Path) -> None:
    source, _ = forms.kaggle(Corpus(), tmp_path)
    found = json.loads(call("data", "summary", source, "--json").out)["reader"]
    assert (found["name"], found["image_column"], found["label_column"]) == ("table", "id_code", ["diagnosis"])
    assert found["path_template"] == "train_images/{id_code}"


def test_a_terminal_that_can_shows_ten_pictures_and_a_pipe_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = forms.folder(Corpus(), tmp_path)
    (source / "daisy" / "d000.png").write_bytes(b"no picture")
    assert "\x1b" not in call("data", "summary", source).out
    monkeypatch.setattr(_pictures, "way", lambda: "blocks")
    shown = call("data", "summary", source).out
    assert shown.count("▀") == 9 * 14 * 7
    assert "is not a" in shown
    assert [word for word in shown.split() if word in CLASSES][-9:] == [
        *["daisy"] * 3, *["rose"] * 3, *["tulip"] * 3,
    ]  # fmt: skip
    assert "\x1b" not in call("data", "summary", source, "--quiet").out
    assert json.loads(call("data", "summary", source, "--json").out)["pictures"] == 120


def test_deep_grey_is_shown_so_that_people_see_it(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32)).save(tmp_path / label / "1.png")
    page = summary_page(scan(tmp_path))
    contents = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    assert len(contents) == 2
    for content in contents:
        assert np.ptp(np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))) > 200
