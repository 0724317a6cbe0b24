"""One reader of each thing: what training reads, predict and exclusion files read alike."""

from __future__ import annotations

import importlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.pictures import folder_of_classes, photo
from transferkit.data.containers import plugged_pictures
from transferkit.data.source import scan
from transferkit.delivery.inputs import find, from_input
from transferkit.errors import DataError

Rows = list[tuple[str, str]]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = folder_of_classes(tmp_path / "pictures", {"a": 3, "b": 3})
    os.rename(root / "b" / "2.png", root / "b" / "é, 2.png")
    return root


def lines(rows: Rows, head: str = "path,label", delimiter: str = ",", end: str = "\n") -> str:
    quoted = [(f'"{path}"' if "," in path else path, label) for path, label in rows]
    return end.join([head.replace(",", delimiter), *(delimiter.join(row) for row in quoted)]) + end


FORMS: dict[str, Callable[[Rows], bytes]] = {
    "plain": lambda rows: lines(rows).encode(),
    "byte order mark": lambda rows: lines(rows).encode("utf-8-sig"),
    "semicolon": lambda rows: lines(rows, delimiter=";", end="\r\n").encode(),
    "tab": lambda rows: lines(rows, delimiter="\t").encode(),
    "sep=": lambda rows: b"sep=;\r\n" + lines(rows, delimiter=";", end="\r\n").encode(),
    "quoted sep=": lambda rows: b'"sep=,"\r\n' + lines(rows).encode(),
    "UTF-16": lambda rows: lines(rows, delimiter="\t", end="\r\n").encode("utf-16"),
    "UTF-16 big-endian": lambda rows: b"\xfe\xff" + lines(rows, end="\r\n").encode("utf-16-be"),
    "UTF-16 without its mark": lambda rows: lines(rows).encode("utf-16-le"),
    "Windows-1252": lambda rows: lines(rows, delimiter=";").encode("cp1252"),
    "capitals": lambda rows: lines(rows, "Path,LABEL").encode(),
    "blanks around cells": lambda rows: lines([(f" {p} ", f" {k} ") for p, k in rows], " path , label ").encode(),
    "quoted header": lambda rows: lines(rows, '"path","label"').encode(),
    "delimiters in the header": lambda rows: lines(
        [(p, f'{k};"x, y"') for p, k in rows], 'path;label;"note, with, commas"', ";"
    ).encode(),
    "blank lines": lambda rows: ("\n\n" + lines(rows).replace("\n", "\n\n")).encode(),
    "cells beyond the header": lambda rows: lines([(p, k + ",,") for p, k in rows], "path,label,,").encode(),
    "backslashes": lambda rows: lines([(p.replace("/", "\\"), k) for p, k in rows]).encode(),
    "other spellings": lambda rows: lines([(f"./x/../{p}", k) for p, k in rows]).encode(),
    "Macintosh line ends": lambda rows: lines(rows, end="\r").encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_is_read_alike_by_training_predict_and_exclusion(form: str, pictures: Path) -> None:
    samples = scan(pictures)
    (pictures / "x").mkdir()
    rows = [(path, samples.label(i)) for i, path in enumerate(samples.paths)]
    table = pictures / "table.csv"
    table.write_bytes(FORMS[form](rows))
    read = scan(table)
    assert [(os.path.normpath(path), read.label(i)) for i, path in enumerate(read.paths)] == rows
    assert all(path.is_file() for path in find([table]))
    assert [os.path.normpath(path) for path in find([table])] == [str(pictures / path) for path, _ in rows]
    folder_of_classes(pictures, {"c": 2, "d": 2}, start=50)
    (pictures / "x").rmdir()
    left = scan(pictures, exclude_file=table, exclude=[])
    assert left.classes == ("c", "d")
    assert left.notes[-1] == "6 paths excluded on request"


@pytest.mark.parametrize("name", ["list.xlsx", "list.parquet", "list.jsonl"])
def test_lists_in_files_other_than_text_are_read_alike_by_training_and_predict(name: str, pictures: Path) -> None:
    samples = scan(pictures)
    rows = [(path, samples.label(i)) for i, path in enumerate(samples.paths)]
    if name == "list.xlsx":
        book = importlib.import_module("openpyxl").Workbook()
        for row in [("path", "label"), *rows]:
            book.active.append(row)
        book.save(pictures / name)
    elif name == "list.parquet":
        columns = dict(zip(("path", "label"), map(list, zip(*rows, strict=True)), strict=True))
        table = importlib.import_module("pyarrow").table(columns)
        importlib.import_module("pyarrow.parquet").write_table(table, pictures / name)
    else:
        (pictures / name).write_text("".join(json.dumps({"path": p, "label": k}) + "\n" for p, k in rows))
    assert scan(pictures / name).paths == samples.paths
    assert find([pictures / name]) == [pictures / path for path, _ in rows]


@pytest.mark.parametrize("form", ["plain", "byte order mark", "UTF-16", "Windows-1252", "Macintosh line ends"])
def test_exclusion_files_of_one_path_a_line(form: str, pictures: Path, tmp_path: Path) -> None:
    listed = tmp_path / "out.txt"
    text = "# what is left out\r\nb\\é, 2.png\r\n./a/0.png \r\n" + str(pictures / "a" / "1.png") + "\r\n"
    text = text if form != "Macintosh line ends" else text.replace("\r\n", "\r")
    encoding = {"byte order mark": "utf-8-sig", "UTF-16": "utf-16", "Windows-1252": "cp1252"}.get(form, "utf-8")
    listed.write_bytes(text.encode(encoding))
    assert scan(pictures, exclude_file=listed).paths == ("a/2.png", "b/0.png", "b/1.png")


NO_TABLES = {
    "a picture": lambda: photo().tobytes(),
    "a spreadsheet": lambda: b"PK\x03\x04\x14\x00\x06\x00" + bytes(200),
    "damaged UTF-16": lambda: b"\xff\xfep\x00a\x00t",
    "words": lambda: b"these are\nonly words\n",
}


@pytest.mark.parametrize("kind", NO_TABLES)
def test_what_is_no_table_is_refused_by_one_clear_error(kind: str, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(NO_TABLES[kind]())
    for read in (scan, lambda path: find([path])):
        with pytest.raises(DataError) as caught:
            read(table)
        assert str(table) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "CSV" in str(caught.value) or "column" in str(caught.value)


@pytest.mark.parametrize(("row", "line"), [("{}", 3), ('"{}', 3), ('a.png\n"{}"', 4)])
def test_an_endless_cell_of_a_list_is_named_with_its_line(row: str, line: int, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"path\na.png\n{row.format('x' * 131_073)}\n")
    with pytest.raises(DataError, match=rf"list\.csv: .*line {line}: a cell has more than 131,072 char") as caught:
        find([tmp_path / "list.csv"], print)
    assert len(str(caught.value)) < 1500


def test_bad_lines_of_a_list_are_refused_with_their_numbers(pictures: Path) -> None:
    table = pictures / "list.csv"
    table.write_text('path,label\na/0.png,a\na/1.png\n,a\n"a/2.png,a\n')
    with pytest.raises(DataError) as caught:
        find([table])
    for words in ("line 3: 1 cells", "have no path (line 4)", "line 5: a quote is opened and never closed"):
        assert words in str(caught.value)


def test_a_folder_is_walked_as_training_walks_it(tmp_path: Path) -> None:
    data = folder_of_classes(tmp_path / "data", {"a": 2, "b": 11})
    for junk in (".ipynb_checkpoints", "__MACOSX", "@eaDir", "#recycle", "lost+found"):
        folder_of_classes(data / "a", {junk: 1}, start=40)
        folder_of_classes(data, {junk: 1}, start=50)
    folder_of_classes(tmp_path / "elsewhere", {"c": 2, "d": 1}, start=60)
    (data / "c").symlink_to("../elsewhere/c")
    (data / "a" / "more").symlink_to("../../elsewhere/d")
    (data / "b" / "loop").symlink_to("..")
    (data / "b" / "linked.PNG").symlink_to("0.png")
    (data / "b" / "gone.png").symlink_to("nowhere.png")
    (data / "b" / "._0.png").write_bytes(b"x")
    (data / "b" / "notes.txt").write_text("x")
    trained = scan(data, strict=False)
    assert len(trained) == 18
    assert sorted(find([data])) == sorted(trained.source(i) for i in range(len(trained)))
    names = [path.name for path in find([data / "b"])]
    assert names[2:5] == ["2.png", "3.png", "4.png"]
    assert names.index("9.png") < names.index("10.png")
    with pytest.raises(DataError, match="no pictures in this folder"):
        find([folder_of_classes(tmp_path / "only", {"__MACOSX": 1})])


def test_an_empty_answer_says_what_the_folder_holds(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name in ("0.ppm", "1.ppm", "x/plain", ".hidden"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"it holds 2 \.ppm, 1 \(no extension\), 1 hidden or system files"):
        find([tmp_path])


def test_archives_and_lists_that_lead_nowhere_are_told_of(tmp_path: Path) -> None:
    folder = folder_of_classes(tmp_path / "new", {"a": 2})
    (folder / "more.zip").write_bytes(b"PK")
    said: list[str] = []
    assert len(find([folder], said.append)) == 2
    assert said == [f"left out 1 archive of {folder}: name the archives themselves to have them too"]
    (folder / "list.csv").write_text("path\nC:\\Users\\Ann\\a\\0.png\na/gone.png\n")
    said.clear()
    assert len(find([folder / "list.csv"], said.append)) == 2
    assert "the first is there as a/0.png" in said[0]
    assert len(said) == 1


def test_patterns_leave_out_system_files_and_end_in_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of_classes(tmp_path / "new", {"a": 1, "__MACOSX": 1, ".cache": 1})
    (tmp_path / "new" / "a" / "loop").symlink_to("..")
    monkeypatch.chdir(tmp_path)
    assert find(["new/**/*.png"]) == [Path("new/a/0.png")]
    assert find(["new/.cache/*.png"]) == [Path("new/.cache/0.png")]


def test_standard_input_as_other_systems_write_it(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures)
    wanted = [Path("a/0.png"), Path("b/é, 2.png"), Path("gone.png")]
    text = "a\\0.png\r\nb/é, 2.png \r\ngone.png\r\n"
    for raw in (text.encode(), text.encode("utf-8-sig"), text.encode("utf-16"), text.encode("cp1252")):
        assert list(from_input(io.BytesIO(raw))) == wanted


def test_the_figures_of_runs_are_no_pictures(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = pictures / "runs" / "one" / "figures" / "confusion.png"
    figure.parent.mkdir(parents=True)
    figure.write_bytes((pictures / "a" / "0.png").read_bytes())
    (pictures / "runs" / "one" / "run.json").write_text("{}")
    (pictures / "runs" / "one" / "metrics.json").write_text("{}")
    said: list[str] = []
    assert figure not in find([pictures], said.append)
    assert len(find([pictures])) == 6
    assert said == [f"left out 1 figure of {pictures / 'runs' / 'one'}, as figures of runs are no pictures"]
    assert find([figure]) == [figure]  # named by itself, it is meant
    assert find([f"{figure.parent}/*.png"]) == [figure]
    for given, words in (
        (pictures / "runs", "only runs, whose figures are no pictures"),
        (pictures / "runs" / "one", "is a run, and no picture"),
        (f"{pictures}/runs/**/*.png", "matches files of runs only"),
    ):
        with pytest.raises(DataError, match=words):
            find([given])
    monkeypatch.chdir(pictures)
    assert len(find(["."])) == len(find(["**/*.png"])) == 6


def test_a_picture_that_is_named_is_asked_of_no_reader(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> None:
        raise AssertionError("a plugin was asked")

    monkeypatch.setattr(plugged_pictures, "offered", asked)
    named = sorted((pictures / "a").iterdir())
    assert find(named) == named
    with zipfile.ZipFile(pictures / "a.jpg", "w") as archive:
        archive.writestr("rose/1.png", b"x")
    assert find([pictures / "a.jpg"]) == [pictures / "a.jpg"]  # the decoder says what it is
