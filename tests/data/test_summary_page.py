"""`data summary`: who read the data and why, what was passed over, and ten pictures on a page."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.calls import call
from tests.data.readers import forms
from tests.data.readers.forms import Corpus


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
