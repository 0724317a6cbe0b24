"""Data that changes while a run goes on, after its pictures were read for the last time: it is said, by name."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from tests.data.pictures import folder_of_classes
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.runs.data_changes import changes
from transferkit.runs.intake import take_in


def told(source: Path, harm: Callable[[], object], **settings: object) -> str:
    intake = take_in(source, Settings(backbone="mini", **settings), str(source), Reporter(quiet=True))
    harm()
    return changes(intake.before, intake.samples) or ""


def folder(place: Path) -> Path:
    return folder_of_classes(place, {"rose": 4, "tulip": 4}, 24)


def first(data: Path, label: str = "rose") -> Path:
    return sorted((data / label).iterdir())[0]


def other_content(path: Path) -> None:
    """Other bytes of one size under the name, with the time of the file as it was."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_changed_removed_added_and_moved_pictures_are_told_by_name(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    name = first(data).name
    assert f"1 picture changed (rose/{name})" in told(data, lambda: other_content(first(data)))
    assert "1 picture added (tulip/new.png)" in told(
        data, lambda: (data / "tulip" / "new.png").write_bytes(first(data).read_bytes()[:-1] + b"x")
    )
    moved = told(data, lambda: first(data).rename(data / "tulip" / "moved.png"))
    assert f"1 picture removed or no longer readable (rose/{name})" in moved
    assert "1 picture added (tulip/moved.png)" in moved


def test_what_only_looks_like_a_change_is_none(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    assert told(data, lambda: None) == ""
    assert told(data, lambda: os.utime(first(data), (0, 0))) == ""
    assert told(data, lambda: first(data).write_bytes(first(data).read_bytes())) == ""
    assert told(data, lambda: (data / "rose" / "notes.txt").write_text("of no class")) == ""


def test_names_of_classes_that_are_no_unicode_end_no_run(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    try:
        (data / "tulip").rename(data / os.fsdecode(b"tul\xffip"))
    except OSError:
        pytest.skip("the file system takes no such name")
    assert "1 picture added (rose/new.png)" in told(data, lambda: shutil.copy(first(data), data / "rose" / "new.png"))


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    said = told(data, lambda: data.rename(tmp_path / "elsewhere"))
    assert "8 pictures removed or no longer readable (" in said
    assert "it cannot be listed any more (" in said


def test_other_labels_in_a_table_are_told_and_the_order_of_its_rows_is_none(tmp_path: Path) -> None:
    data, table = folder(tmp_path / "data"), tmp_path / "labels.csv"
    rows = [f"{path},{path.parent.name}" for path in sorted(data.glob("*/*.png"))]
    table.write_text("\n".join(["path,label", *rows]))
    assert told(table, lambda: table.write_text("\n".join(["path,label", *rows[::-1]]))) == ""
    other = [rows[0].replace(",rose", ",tulip"), *rows[1:]]
    said = told(table, lambda: table.write_text("\n".join(["path,label", *other])))
    assert "1 picture given another label, part or group (" in said


def test_a_row_that_is_gone_is_told_though_its_picture_is_still_there(tmp_path: Path) -> None:
    data, table = folder(tmp_path / "data"), tmp_path / "labels.csv"
    path = first(data)
    rows = [f"{one},{one.parent.name}" for one in sorted(data.glob("*/*.png"))]
    table.write_text("\n".join(["path,label", *rows]))
    said = told(table, lambda: table.write_text("\n".join(["path,label", *rows[1:]])))
    assert f"while this ran: 1 picture no longer listed ({path}). The" in said
    table.write_text("\n".join(["path,label", *rows]))
    said = told(table, lambda: (path.unlink(), table.write_text("\n".join(["path,label", *rows[1:]]))))
    assert f"while this ran: 1 picture removed or no longer readable ({path}). The" in said


def test_a_new_class_of_several_labels_is_no_other_label_of_the_rest(tmp_path: Path) -> None:
    data, table = folder(tmp_path / "data"), tmp_path / "labels.csv"
    *rest, last = sorted(data.glob("*/*.png"))
    rows = [f"{path},{'red|small' if number % 2 else 'red'}" for number, path in enumerate(rest)]
    table.write_text("\n".join(["path,labels", *rows]))
    more = [*rows, f"{last},early|red"]
    said = told(table, lambda: table.write_text("\n".join(["path,labels", *more])), task="multilabel")
    assert f"while this ran: 1 picture added ({last}). The" in said
    other = [rows[0] + "|early", *rows[1:], more[-1]]
    said = told(table, lambda: table.write_text("\n".join(["path,labels", *other])), task="multilabel")
    assert f"while this ran: 1 picture given another label, part or group ({rest[0]}). The" in said


def test_an_archive_with_another_picture_is_told(tmp_path: Path) -> None:
    data, archive = folder(tmp_path / "data"), tmp_path / "data.zip"

    def pack() -> None:
        with zipfile.ZipFile(archive, "w") as made:
            for path in sorted(data.glob("*/*.png")):
                made.write(path, path.relative_to(data))

    def change() -> None:
        other_content(first(data))
        pack()

    pack()
    assert told(archive, pack) == ""
    assert f"1 picture changed (rose/{first(data).name})" in told(archive, change)
    whole = archive.read_bytes()
    said = told(archive, lambda: archive.write_bytes(whole[: len(whole) // 2]))
    assert "pictures removed or no longer readable (" in said, "a run that is done does not end with an error"
    assert "no whole zip archive" in said


def test_arrays_have_no_files(tmp_path: Path) -> None:
    pixels, labels = np.zeros((6, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1, 0, 1])
    pixels += np.arange(6, dtype=np.uint8)[:, None, None, None]
    intake = take_in((pixels, labels), Settings(backbone="mini"), None, Reporter(quiet=True))
    assert intake.before is None
    assert changes(intake.before, intake.samples) is None


@pytest.mark.slow
def test_a_run_whose_pictures_change_behind_it_ends_well_and_says_so(tmp_path: Path, digits: Path) -> None:
    data = Path(shutil.copytree(digits, tmp_path / "data"))

    class Changing(Reporter):
        def step(self, title: str):  # type: ignore[no-untyped-def]
            if title.startswith("looking for what is wrong"):
                first(data, "0").unlink(missing_ok=True)
            return super().step(title)

    reporter = Changing(quiet=True)
    run = tk.finetune(data, "mini", output=tmp_path / "run", reporter=reporter, offline=True)
    (said,) = [line for line in run.manifest["warnings"] if "while this ran" in line]
    assert "1 picture removed or no longer readable (0/" in said
    assert said in reporter.warnings
