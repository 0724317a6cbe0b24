from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.data.pictures import folder_of_classes
from transferkit.data.readers.encoding import Spelling, decode_text, locate
from transferkit.data.source import scan
from transferkit.errors import DataError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return folder_of_classes(tmp_path, {"a": 3, "b": 3})


def table(data: Path, rows: str | bytes, head: str = "path,label") -> Path:
    path = data / "t.csv"
    path.write_bytes(head.encode() + b"\n" + (rows if isinstance(rows, bytes) else rows.encode()))
    return path


def test_text_that_is_not_utf_8_is_read_as_windows_1252_with_a_note(data: Path) -> None:
    samples = scan(table(data, "a/0.png,café\nb/0.png,müll €\n".encode("cp1252")))
    assert samples.classes == ("café", "müll €")
    assert any("Windows-1252 (line 2: café)" in note for note in samples.notes)
    columns = scan(table(data, b"a/0.png,1,0\nb/0.png,0,1\n", "path,big,x\N{DEGREE SIGN}"))
    assert columns.classes == ("big", "x°")


def test_names_of_files_may_be_in_any_bytes_but_labels_never_hold_them(data: Path) -> None:
    os.rename(os.fsencode(data / "a" / "0.png"), os.fsencode(data / "a") + b"/\xe9.png")
    samples = scan(table(data, b"a/\xe9.png,m\xfcll\nb/0.png,m\xc3\xbcll 2\n"))
    assert samples.paths[0] == os.fsdecode(b"a/\xe9.png")
    assert samples.classes == ("müll", "müll 2")
    with pytest.raises(DataError, match=r"neither UTF-8 nor Windows-1252.*line 3"):
        scan(table(data, b"a/1.png,x\nb/0.png,\x81\x8d\n"))


def test_what_is_no_text_is_refused() -> None:
    for raw in (b"path\0label", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"\xff\xfea", bytes(range(1, 256)) * 20):
        with pytest.raises(ValueError, match=r"no text|damaged UTF-16"):
            decode_text(raw)
    assert decode_text("\ufeffa\r\nb".encode("utf-32-le")) == "a\nb"
    assert decode_text(b"") == ""
    assert decode_text(b"name\rwith break\nb") == "name\rwith break\nb"


@pytest.mark.parametrize("other", ["./a/0.png", "a//0.png", "a/../a/0.png", "b/../a/0.png", "linked/0.png", "A/0.PNG"])
def test_one_file_spelt_twice_with_two_labels_is_refused(other: str, data: Path) -> None:
    (data / "linked").symlink_to("a")
    (data / "A").mkdir()
    os.link(data / "a" / "0.png", data / "A" / "0.PNG")  # one file under both names, as on a disk that ignores case
    with pytest.raises(DataError, match="1 rows repeat a path with other values"):
        scan(table(data, f"a/0.png,x\n{other},y\nb/0.png,y\n"))
    with pytest.raises(DataError, match="1 rows repeat a path with other values"):
        scan(table(data, f"a/0.png,x\n{data / other},y\nb/0.png,y\n"))
    same = scan(table(data, f"a/0.png,x\n{other},x\nb/0.png,y\n"))
    assert same.paths == ("a/0.png", "b/0.png")
    assert "1 rows repeat an earlier row exactly and are used once" in same.notes


def test_files_of_their_own_are_not_taken_for_one(data: Path) -> None:
    (data / "a" / "link.png").symlink_to("0.png")
    spelling = Spelling(data)
    os.rename(data / "a" / "1.png", data / "a" / "X.png")
    os.rename(data / "a" / "2.png", data / "a" / "x.png")
    names = ["a/0.png", "a/link.png", "a/X.png", "a/x.png", "b/0.png"]
    assert len({spelling.key(name) for name in names}) == len(names)


def test_excluded_rows_are_not_judged(data: Path) -> None:
    rows = table(data, "a/0.png,x\n./a/0.png,y\na\\1.png,y\nb/0.png,z\nb/gone.png,z\n")
    out = data / "out.txt"
    out.write_text("b/gone.png\na/1.png\n")
    samples = scan(rows, exclude=["y"], exclude_file=out)
    assert samples.paths == ("a/0.png", "b/0.png")


def test_what_is_there_under_the_very_name_wins(data: Path) -> None:
    (data / "a\\0.png").write_bytes(b"x")
    (data / " blank.png").write_bytes(b"x")
    assert locate(data, "a\\0.png") == ("a\\0.png", None)
    assert locate(data, " blank.png") == (" blank.png", None)
    assert locate(data, " a\\1.png ") == ("a/1.png", None)
    assert locate(data, '"a/1.png"') == ("a/1.png", None)
    assert locate(data, " gone.png") == (" gone.png", "does not exist")


@pytest.mark.parametrize("value", ["1e39", "-4e38", "1_5", "١٢", "nan", "0x10", "1,5"])
def test_targets_that_are_no_usable_numbers_are_refused_with_their_line(value: str, data: Path) -> None:
    with pytest.raises(DataError, match=r"1 rows hold (no|a) number.*line 3"):
        scan(table(data, f'a/0.png,1\na/1.png,"{value}"\n'), "regress")


def test_numbers_in_other_digits_or_with_underscores_are_names_of_classes(data: Path) -> None:
    assert scan(table(data, "a/0.png,1_5\nb/0.png,١٢\n")).classes == ("1_5", "١٢")


def test_splits_under_other_names_are_said(data: Path) -> None:
    samples = scan(table(data, "a/0.png,x,train\nb/0.png,y,dev\n", "path,label,split"))
    assert samples.split == ("train", "val")
    assert "split 'dev' is taken as 'val'" in samples.notes


def test_exclusions_and_rows_may_be_absolute_or_relative(data: Path) -> None:
    rows = table(data, f"{data}/a/0.png,x\na/1.png,x\nb/0.png,y\n{data}/b/1.png,y\n")
    out = data / "out.txt"
    out.write_text(f"a/0.png\n{data}/a/1.png\n")
    assert scan(rows, exclude_file=out, task="classify", classes=["x", "y"]).paths == ("b/0.png", f"{data}/b/1.png")
