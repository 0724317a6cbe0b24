"""Tables as people and programs write them: what parts the columns, what the columns mean, what is said of the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.calls import call
from tests.data.pictures import folder_of_classes
from transferkit.data.readers.request import Reading
from transferkit.data.samples import Samples
from transferkit.data.source import scan
from transferkit.errors import DataError

LABELS = {"a": "Größe 1", "b": "rot; blau"}
Write = Callable[[str, str], Path]


@pytest.fixture
def rows(tmp_path: Path) -> Write:
    """A table of eight pictures: `{path}`, `{name}`, `{label}` and `{n}` (0 or 1) in the template of a row."""
    folder_of_classes(tmp_path, {"a": 4, "b": 4})

    def write(header: str, row: str) -> Path:
        lines = [header]
        for n, label in enumerate(("a", "b")):
            for path in sorted((tmp_path / label).iterdir()):
                lines.append(row.format(path=f"{label}/{path.name}", name=path.stem, label=label, n=n, other=1 - n))
        table = tmp_path / "table.csv"
        table.write_text("\n".join(lines) + "\n")
        return table

    return write


def labels(samples: Samples) -> dict[str, str]:
    return {path: samples.label(i) for i, path in enumerate(samples.paths)}


def as_folders(samples: Samples) -> bool:
    return all(label == path.split("/")[0] for path, label in labels(samples).items())


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_columns_are_parted_by_any_of_the_usual_signs(rows: Write, sign: str) -> None:
    found = scan(rows(f"path{sign}label", f"{{path}}{sign}{{label}}"))
    assert (len(found), as_folders(found)) == (8, True)
    found = scan(rows(f"file{sign}kind", f"{{path}}{sign}{{label}}"))  # found by looking
    assert (len(found), as_folders(found)) == (8, True)


@pytest.mark.parametrize("cell", ["['{label}', 'wet']", '["{label}","wet"]', "['{label}' 'wet']"])
@pytest.mark.parametrize("delimiter", ["", ","])
def test_lists_in_cells_are_several_labels(rows: Write, cell: str, delimiter: str) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    found = scan(rows("path,label", "{path}," + quoted), reading=Reading(label_delimiter=delimiter))
    assert (found.task, found.classes) == ("multilabel", ("a", "b", "wet"))
    assert any("are read as lists of labels" in note for note in found.notes)


def test_lists_beside_names_are_told_of(rows: Write) -> None:
    source = rows("path,label", "{path},{label}")
    source.write_text(source.read_text().replace("a/0.png,a", "a/0.png,\"['a']\""))
    found = scan(source)
    assert found.classes == ("['a']", "a", "b")
    assert any("some labels are lists, such as ['a'], and others are not" in note for note in found.notes)


@pytest.mark.parametrize("header", ["path,glass,metal", "path,label_glass,label_metal", "picture,glass,metal"])
def test_columns_of_true_and_false_are_of_one_and_nought(rows: Write, header: str) -> None:
    source = rows(header, "{path},{n},{other}")
    source.write_text("\n".join(re.sub(r"1$", "True", re.sub(r"0$", "False", re.sub(",0,", ",False,", re.sub(
        ",1,", ",True,", line)))) for line in source.read_text().split("\n")))  # fmt: skip
    assert "False,True" in source.read_text()
    named = Reading(label_column=("glass", "metal")) if header.startswith("picture") else Reading()
    found = scan(source, reading=named)
    assert (found.task, found.classes) == ("multilabel", ("glass", "metal"))
    assert found.targets.tolist() == [[0, 1]] * 4 + [[1, 0]] * 4
    assert any("True and False are read as 1 and 0" in note for note in found.notes)


def test_one_column_of_true_and_false_names_two_classes(rows: Write) -> None:
    source = rows("path,label", "{path},{n}")
    source.write_text(source.read_text().replace(",1", ",True").replace(",0", ",False"))
    assert scan(source).classes == ("False", "True")
    source = rows("path,class,checked", "{path},{n},True")
    source.write_text(source.read_text().replace(",1,", ",True,").replace(",0,", ",False,"))
    assert scan(source).classes == ("False", "True")


def test_brackets_without_quotes_may_be_names_and_are_opened_when_asked(rows: Write) -> None:
    source = rows("path,label", '{path},"[{label}, n{name}]"')
    found = scan(source)
    assert (found.task, len(found.classes), found.classes[0]) == ("classify", 8, "[a, n0]")
    assert any("--label-delimiter 'comma'" in note for note in found.notes)
    assert scan(source, reading=Reading(label_delimiter="comma")).classes == ("a", "b", "n0", "n1", "n2", "n3")


def test_bars_inside_of_cells_part_no_columns(rows: Write) -> None:
    found = scan(rows("path,label|tags", "{path},{label}|wet"), reading=Reading(label_column=("label|tags",)))
    assert found.classes == ("a|wet", "b|wet")
    assert scan(rows("path,label", "{path},{label}|wet")).classes == ("a|wet", "b|wet")


@pytest.mark.parametrize("header", ["path label", "file kind", "path:label"])
def test_what_parts_no_columns_is_named(rows: Write, header: str) -> None:
    with pytest.raises(DataError, match=r"is one column: columns are parted by .* tabs or \|, not by blanks"):
        scan(rows(header, "{path} {label}"))
    result = call("data", "summary", rows(header, "{path} {label}"))
    assert (result.code, "not by blanks" in result.err) == (2, True)


def test_one_mark_in_each_row_is_said_and_taken_as_a_class_on_request(rows: Write) -> None:
    table = rows("path,label_b,label_a", "{path},{n}.0,{other}")
    found = scan(table)
    assert found.task == "multilabel"
    assert any("exactly one label; --task classify" in note for note in found.notes)
    found = scan(table, "classify")
    assert (found.task, found.classes, as_folders(found)) == ("classify", ("a", "b"), True)
    assert [len(scan(table, "classify", exclude=["b"], classes=["a", "b"]))] == [4], "classes are left out by name"
    both = rows("path,a,b", "{path},1,{n}")
    assert not any("--task classify" in note for note in scan(both).notes)
    with pytest.raises(DataError, match="task 'classify' needs the column 'label'"):
        scan(both, "classify")


def test_numbers_with_a_comma_are_not_taken_for_names_of_classes(rows: Write) -> None:
    table = rows("path;label", "{path};{n},5")
    with pytest.raises(DataError, match=r"the labels are numbers \(0,5"):
        scan(table)
    with pytest.raises(DataError, match=r"write 1\.5 for 1,5"):
        scan(table, "regress")
    assert scan(table, "classify").classes == ("0,5", "1,5")


def test_columns_that_are_not_used_are_named_whatever_the_others_are_called(rows: Write) -> None:
    found = scan(rows("Unnamed: 0,image,label,weather", "3,{path},{label},rain"))
    assert as_folders(found)
    assert [note for note in found.notes if "not used" in note] == ["columns not used: weather (the targets are label)"]


def test_films_are_no_pictures_in_a_table_either(rows: Write) -> None:
    table = rows("path,label", "{path},{label}")
    (table.parent / "a" / "x.mp4").write_bytes(b"film")
    table.write_text(table.read_text() + "a/x.mp4,a\n")
    with pytest.raises(DataError, match=r"names 1 film \(a/x.mp4\), which no decoder of pictures"):
        scan(table)


def test_the_order_of_classes_is_taken_by_every_command_that_reads_data(
    rows: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = rows("path,label", "{path},{label}")
    for command, more in (("summary", ()), ("check", ()), ("convert", ["out"]), ("split", ["--output", "s.csv"])):
        result = call("data", command, table, *more, "--task", "ordinal", "--classes", "b,a")
        assert result.code == 0, result.err
    result = call("data", "summary", table, "--task", "ordinal", "--classes", "b,a", "--json")
    assert list(json.loads(result.out)["classes"]) == ["b", "a"], result.out
