from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import folder_of_classes
from transferkit.data.readers.cells import column, in_cell, listed_names, names_in, number, parts
from transferkit.data.source import scan
from transferkit.data.splitting.split import load_splits, save_splits, split


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), (" -2.5 ", -2.5), ("1e5", 1e5), (".5", 0.5), ("3.", 3.0), ("+7E-2", 0.07),
        ("1700000001.25", 1700000001.25),
        *[(text, None) for text in ("1_5", "١٢", "0x10", "nan", "inf", "-Infinity", "1e999", "1,5", "", "1 2", ".")],
    ],
)  # fmt: skip
def test_numbers_are_plain_decimal_ones(text: str, value: float | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    "name", ["red;dark", " lead", "trail ", 'say "a"', '"', "0.5", "a,b", "10", ";", "x\ny", "é", "['a']"]
)
def test_every_name_is_read_back_from_a_cell(name: str) -> None:
    assert names_in(in_cell(name)) == (name,)
    assert names_in(f"{in_cell(name)}; {in_cell('other')} ;") == (name, "other")


def test_ordinary_cells_are_left_as_they_are() -> None:
    assert [in_cell(name) for name in ("rose", "10", "a b", "a.b")] == ["rose", "10", "a b", "a.b"]
    assert parts('5" pipe; "a;b" ;"open') == [('5" pipe', False), ("a;b", True), ('"open', False)]
    assert names_in(" ; ") == ()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("['a', 'b']", ["a", "b"]), ('["a","b"]', ["a", "b"]), ("['a' 'b']", ["a", "b"]), ("('a',)", ["a"]),
        (r"""['it\'s', "a,b"]""", ["it's", "a,b"]), (" [] ", []),
        *[(text, None) for text in ("a", "[a, b]", "[1, 2]", "['a', b]", "['a'", "['a']['b']", "'a', 'b'", "")],
    ],
)  # fmt: skip
def test_lists_of_names_are_those_in_brackets_and_quotes(text: str, names: list[str] | None) -> None:
    assert listed_names(text) == names


CLASSES = ["red;dark", " lead", "blue", 'the "a"', "0.5", "1.5"]


def test_the_split_of_any_folder_is_read_back_as_it_was(tmp_path: Path) -> None:
    data = folder_of_classes(tmp_path, dict.fromkeys(CLASSES, 3))
    samples = scan(data).hashed()
    splits = split(samples, seed=3)
    save_splits(tmp_path / "splits.csv", samples, splits)
    back = scan(tmp_path / "splits.csv")
    assert (back.task, back.classes, back.paths) == (samples.task, samples.classes, samples.paths)
    np.testing.assert_array_equal(back.targets, samples.targets)
    assert back.split == splits.assignment
    assert load_splits(tmp_path / "splits.csv", samples).assignment == splits.assignment


@pytest.mark.parametrize(
    ("head", "rows", "task"),
    [
        ("path,big,red;dark", ["1,0", "0,1", "0,0"], None),
        ("path,label", ["a;b", "b", ""], None),
        ("path,label,group", ["x,g 1", "y,", "y,g;2"], None),
        ("path,label", ["1700000001", "0.1", "-3e-7"], "regress"),
        ("path,label_x,label_y; z", ["1,1e38", "2.5,0.30000000000000004", "3,5"], "regress"),
    ],
)
def test_targets_of_every_task_are_read_back_exactly(
    head: str, rows: list[str], task: str | None, tmp_path: Path
) -> None:
    folder_of_classes(tmp_path, {"x": 3})
    table = tmp_path / "t.csv"
    table.write_text("\n".join([head, *(f"x/{i}.png,{row}" for i, row in enumerate(rows))]))
    samples = scan(table, task)  # type: ignore[arg-type]
    splits = split(samples, (3, 0, 0))
    save_splits(tmp_path / "splits.csv", samples, splits)
    back = scan(tmp_path / "splits.csv", task)  # type: ignore[arg-type]
    assert back.group == samples.group
    assert (back.task, set(back.classes)) == (samples.task, set(samples.classes))
    order = [back.classes.index(name) for name in samples.classes]
    if samples.task == "classify":
        assert back.targets.tolist() == samples.targets.tolist()
    else:
        np.testing.assert_array_equal(back.targets[:, order], samples.targets)
        assert samples.targets.dtype == (np.float64 if task else np.float32)
    assert load_splits(tmp_path / "splits.csv", samples).assignment == splits.assignment


def test_numbers_of_several_targets_are_never_taken_for_labels(tmp_path: Path) -> None:
    folder_of_classes(tmp_path, {"x": 2})
    table = tmp_path / "t.csv"
    table.write_text("path,label\nx/0.png,1.0;2.0\nx/1.png,3.0;4.0\n")
    with pytest.raises(ValueError, match="--task regress"):
        scan(table)
    samples = scan(table, "regress")
    assert (samples.classes, samples.targets.tolist()) == (("target0", "target1"), [[1, 2], [3, 4]])
    assert column(samples)[1] == "target0=3.0;target1=4.0"
