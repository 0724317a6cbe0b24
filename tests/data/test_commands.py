"""`transferkit data …` as people type it: summary, split, check and preview, their files and exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.data.pictures import folder_of_classes, photo
from transferkit.cli.data import data, parse_ratios
from transferkit.errors import ConfigError, DataError


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    return folder_of_classes(tmp_path / "flowers", {"rose": 12, "iris": 11})


def call(*arguments: object) -> Result:
    return CliRunner().invoke(data, [str(argument) for argument in arguments])


def test_check_of_sound_data_ends_with_0(flowers: Path) -> None:
    result = call("check", flowers, "--quiet")
    assert result.exit_code == 0
    assert "23 pictures in 2 classes, 0 errors" in result.stdout


def test_check_writes_page_and_exclusions_and_ends_with_2(flowers: Path, tmp_path: Path) -> None:
    (flowers / "rose" / "bad.jpg").write_bytes(b"<html>")
    page, left_out = tmp_path / "check.html", tmp_path / "left_out.txt"
    result = call("check", flowers, "--json", "--html", page, "--write-exclusions", left_out)
    assert result.exit_code == 2
    assert json.loads(result.stdout)["counts"] == {"not_a_picture": 1}
    assert "rose/bad.jpg" in page.read_text()
    assert call("check", flowers, "--exclude-file", left_out).exit_code == 0
    assert call("check", flowers, "--headers-only").exit_code == 2


def test_split_and_summary(flowers: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "splits.csv"
    result = call("split", flowers, "--split", ".6,.2,.2", "--folds", 3, "--seed", 5, "--output", output, "--json")
    assert {key: json.loads(result.stdout)[key] for key in ("train", "val", "test")} == {
        "train": 14,
        "val": 5,
        "test": 4,
    }
    assert len(output.read_text().splitlines()) == 24
    text = call("summary", flowers).stdout
    assert "12  rose" in text
    counted = json.loads(call("summary", flowers, "--json", "--exclude", "rose/[0-3].png").stdout)
    assert counted["classes"] == {"iris": 11, "rose": 8}
    assert counted["notes"] == ["4 paths excluded on request"]


def test_no_file_of_the_user_is_replaced(flowers: Path, tmp_path: Path) -> None:
    (flowers / "rose" / "bad.jpg").write_bytes(b"<html>")
    notes, table, page = tmp_path / "notes.txt", tmp_path / "flowers.csv", tmp_path / "page.html"
    notes.write_text("mine")
    rows = [f"flowers/{p.parent.name}/{p.name},{p.parent.name},it" for p in flowers.glob("*/*.png")]
    table.write_text("\n".join(["path,label,note", *rows]))
    before, picture = table.read_bytes(), next(flowers.glob("rose/*.png"))
    for refused in (
        ["split", table, "--output", table],
        ["check", flowers, "--write-exclusions", notes],
        ["check", flowers, "--html", notes],
        ["summary", flowers, "--html", notes],
        ["preview", flowers, "--exclude", "rose/bad.jpg", "--output", picture],
    ):
        result = call(*refused)
        assert isinstance(result.exception, ConfigError)
        assert "exists already; choose another name, or remove it" in str(result.exception)
    assert (notes.read_text(), table.read_bytes()) == ("mine", before)
    for _ in range(2):  # what is only looked at is drawn again
        assert call("summary", flowers, "--html", page).exit_code == 0
        shown = call("preview", flowers, "--exclude", "rose/bad.jpg", "--pictures", 1, "--output", tmp_path / "x.png")
        assert shown.exit_code == 0


def test_a_summary_of_many_classes_fits_on_a_screen(tmp_path: Path) -> None:
    table = tmp_path / "many.csv"
    rows = [f"{c}_{i}.png,class_{c:03}" for c in range(300) for i in range(3 if c == 7 else 9 if c == 8 else 5)]
    for name in rows:
        (tmp_path / name.split(",")[0]).write_bytes(b"x")  # a summary opens none
    table.write_text("\n".join(["path,label", *rows]))
    lines = call("summary", table).stdout.splitlines()
    assert len(lines) < 22
    assert "300 classes of 3 to 9 pictures, 5 in the middle" in lines
    assert ["        9  class_008" in lines, "        3  class_007" in lines] == [True, True]
    assert len(json.loads(call("summary", table, "--json").stdout)["classes"]) == 300


@pytest.mark.parametrize("name", ["sheet", "sheet.xyz", "sheet.png\r"])
def test_a_preview_that_is_no_picture_is_refused(name: str, flowers: Path, tmp_path: Path) -> None:
    result = call("preview", flowers, "--output", tmp_path / name)
    assert (result.exit_code, list(tmp_path.glob("sheet*"))) == (2, [])
    assert ".png or .jpg or .jpeg" in result.output


def test_preview_is_drawn(flowers: Path, tmp_path: Path) -> None:
    output = tmp_path / "sheet.png"
    result = call("preview", flowers, "--output", output, "--image-size", 32, "--pictures", 2, "--views", 3, "--json")
    with Image.open(output) as image:
        assert json.loads(result.stdout)["size"] == list(image.size)


def test_bad_input_reaches_the_error_boundary(flowers: Path) -> None:
    shutil.rmtree(flowers / "iris")
    result = call("summary", flowers)
    assert isinstance(result.exception, DataError)
    assert "one class only" in str(result.exception)
    assert parse_ratios("700, 150,150") == (700, 150, 150)
    with pytest.raises(ConfigError, match="three numbers"):
        parse_ratios("a,b,c")


@pytest.mark.parametrize("name", ["check", "split", "summary", "preview"])
def test_help_has_an_example(name: str) -> None:
    assert f"Example:  transferkit data {name}" in call(name, "--help").stdout


def test_split_keeps_look_alikes_together(flowers: Path, tmp_path: Path) -> None:
    picture = photo(99, 64, 64, detail=16)
    picture.save(flowers / "rose" / "shot.png")
    picture.resize((90, 90)).save(flowers / "rose" / "shot_again.jpg", quality=80)
    result = call("split", flowers, "--keep-alike", "--output", tmp_path / "splits.csv", "--quiet")
    assert "note: 2 pictures look like another one" in result.stdout
    rows = [row for row in (tmp_path / "splits.csv").read_text().splitlines() if "shot" in row]
    assert len({row.split(",")[2] for row in rows}) == 1


@pytest.mark.parametrize("place", ["splits.csv", "flowers/splits.csv", "elsewhere/splits.csv"])
def test_the_written_split_is_data_wherever_it_lies(
    place: str, flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("split", "flowers", "--output", place).exit_code == 0
    counted = json.loads(call("summary", place, "--json").stdout)
    assert counted["classes"] == {"iris": 11, "rose": 12}
    assert sum(counted["given_split"].values()) == 23


def test_the_splits_of_a_run_say_where_they_lead_from(flowers: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    call("split", flowers, "--output", flowers / "splits.csv")
    run.mkdir()
    (run / "run.json").write_text("{}")
    shutil.copy(flowers / "splits.csv", run / "splits.csv")
    assert "the splits of a run lead from its data: copy them there" in str(
        call("summary", run / "splits.csv").exception
    )
