"""The table of `transferkit label`: what a person has written in it stays, and training reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.pictures import photo
from transferkit.data.source import scan
from transferkit.delivery.labels_file import LabelRow, LabelsFile
from transferkit.errors import DataError


def test_what_is_written_is_read_again_and_trained_on(tmp_path: Path) -> None:
    names = [tmp_path / "new" / f"{n}.png" for n in range(4)]
    for n, name in enumerate(names):
        name.parent.mkdir(exist_ok=True)
        photo(n).save(name)
    file = LabelsFile(tmp_path / "t.csv")
    file.add(
        [LabelRow(str(names[0]), "rose", why="typical of 3 like it"), LabelRow(str(names[1]), '"oak; tree"', "test")]
    )
    file.add([LabelRow(str(names[0]), "other"), LabelRow(str(names[2])), LabelRow(str(names[3]), "", "test")])
    file.write()
    assert file.path.read_text().splitlines()[1] == "new/0.png,rose,,typical of 3 like it"
    again = LabelsFile.read(file.path)
    assert again.rows == file.rows
    assert [row.label for row in again.labelled] == ["rose"]
    assert [row.path for row in again.waiting] == [str(names[2])]
    assert [row.path for row in again.tested] == [str(names[1]), str(names[3])]
    with pytest.raises(DataError, match="have no label"):
        scan(file.path)
    lines = file.path.read_text().splitlines(keepends=True)
    file.path.write_text("".join(line.replace(",,", ",rose,", 1) if line[4] in "23" else line for line in lines))
    samples = scan(file.path)
    assert samples.counts() == {"oak; tree": 1, "rose": 3}
    assert samples.split == (None, "test", None, "test")


def test_groups_are_written_as_paths_are(tmp_path: Path) -> None:
    film = tmp_path / "new" / "film.mp4"
    file = LabelsFile(tmp_path / "t.csv")
    file.add([LabelRow(str(film / "1.png"), "rose", group=str(film))])
    file.write()
    assert file.path.read_text().splitlines() == [
        "path,label,split,group,why",
        "new/film.mp4/1.png,rose,,new/film.mp4,",
    ]


def test_another_table_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,price\nx,3\n")
    with pytest.raises(DataError, match="without the column path and label"):
        LabelsFile.read(tmp_path / "t.csv")
