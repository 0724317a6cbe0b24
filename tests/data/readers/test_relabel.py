"""Exclusion files that also keep and relabel: what is read from them, and what data becomes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import photo
from transferkit.data.source import scan
from transferkit.errors import DataError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(3):
            photo(i, 20, 20).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


def said(tmp_path: Path, *rows: str, head: str = "path,action,label") -> Path:
    (tmp_path / "clean.csv").write_text("\n".join([head, *rows]) + "\n")
    return tmp_path / "clean.csv"


def labels(samples) -> dict[str, str]:
    return {path: samples.label(i) for i, path in enumerate(samples.paths)}


def test_excluded_go_relabelled_change_and_kept_stay(data: Path, tmp_path: Path) -> None:
    found = scan(data, exclude_file=said(tmp_path, "a/0.png,exclude,", "a/1.png,relabel,b", "a/2.png,keep,a"))
    assert "a/0.png" not in found.paths
    assert labels(found)["a/1.png"] == "b"
    assert labels(found)["a/2.png"] == "a"
    assert len(found) == 8
    assert found.relabelled == {"a/1.png": "a"}
    assert {"1 paths excluded on request", "1 pictures relabelled on request"} <= set(found.notes)


@pytest.mark.parametrize("head", ["path,action,label", "Path;Action;Label", "label\taction\tpath"])
def test_every_form_of_table_is_read(head: str, data: Path, tmp_path: Path) -> None:
    mark = next(m for m in ",;\t" if m in head)
    cells = {"path": str(data / "a" / "1.png"), "action": "Relabel", "label": "c"}
    row = mark.join(cells[name.lower()] for name in head.split(mark))
    keep = mark.join({"path": "b/0.png", "action": "keep", "label": ""}[name.lower()] for name in head.split(mark))
    found = scan(data, exclude_file=said(tmp_path, row, keep, head=head))
    assert labels(found)["a/1.png"] == "c"
    assert "b/0.png" in found.paths


def test_a_class_without_pictures_goes_and_the_rest_keep_their_labels(data: Path, tmp_path: Path) -> None:
    found = scan(data, exclude_file=said(tmp_path, *(f"b/{i}.png,relabel,c" for i in range(3))))
    assert found.classes == ("a", "c")
    assert found.counts() == {"a": 3, "c": 6}
    assert labels(found)["c/0.png"] == "c"
    fixed = scan(data, exclude_file=tmp_path / "clean.csv", classes=["a", "b", "c"])
    assert fixed.counts() == {"a": 3, "b": 0, "c": 6}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a/0.png,relabel,bb", "'bb' is no class of this data"),
        ("a/0.png,relabel,b;c", "names 2 classes"),
        ("a/0.png,relabel,", "relabel without a label (line 2: a/0.png)"),
        ("a/0.png,delete,", "an action other than keep, relabel, exclude (line 2: 'delete')"),
        ("a/0.png,keep,\na/0.png,exclude,", "a/0.png is also in line 2"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_line(row: str, words: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        scan(data, exclude_file=said(tmp_path, row))
    assert words in str(error.value)


def test_lines_that_match_nothing_are_said(data: Path, tmp_path: Path) -> None:
    found = scan(data, exclude_file=said(tmp_path, "a/9.png,relabel,b", "z/1.png,exclude,", "a/1.png,relabel,b"))
    assert found.notes[-1].startswith("2 lines of the exclusion file match no picture: a/9.png, z/1.png")


def test_several_labels_and_numbers_are_written_as_in_a_table(data: Path, tmp_path: Path) -> None:
    (data / "many.csv").write_text("path,label\na/0.png,red;round\na/1.png,round;\nb/1.png,red;\n")
    found = scan(data / "many.csv", exclude_file=said(tmp_path, "a/1.png,relabel,red;round"))
    np.testing.assert_array_equal(found.targets[1], [1, 1])
    (data / "ages.csv").write_text("path,label\na/0.png,1.5\na/1.png,2.25\nb/1.png,7\n")
    numbers = scan(data / "ages.csv", "regress", exclude_file=said(tmp_path, "a/1.png,relabel,4.5"))
    np.testing.assert_array_equal(numbers.targets[:, 0], [1.5, 4.5, 7])
    with pytest.raises(DataError, match="is not 1 numbers"):
        scan(data / "ages.csv", "regress", exclude_file=said(tmp_path, "a/1.png,relabel,old"))
