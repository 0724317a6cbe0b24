"""The digits arrive whole, alike on every call, and never among somebody's own files."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from transferkit.data import digits
from transferkit.data.digits import digit_pictures, enlarge, write_digits
from transferkit.errors import DataError


def test_all_digits_are_written_one_folder_a_class(tmp_path):
    folder = write_digits(tmp_path / "digits")
    assert sorted(path.name for path in folder.iterdir()) == [str(digit) for digit in range(10)]
    assert sum(1 for _ in folder.rglob("*.png")) == 1797
    with Image.open(folder / "3" / "3_0000.png") as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (32, 32))
        pixels = np.asarray(picture)
    assert pixels[0, 0] == 0, "the ground is black"
    assert pixels.max() > 200, "the ink is white"


def test_per_class_takes_the_first_of_each(tmp_path):
    folder = write_digits(tmp_path / "few", per_class=2)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert names == [f"{digit}/{digit}_{number:04d}.png" for digit in range(10) for number in range(2)]
    everything = digit_pictures()
    for name in names:
        with Image.open(folder / name) as picture:
            assert np.array_equal(np.asarray(picture), everything[name])


def test_a_second_call_writes_nothing(tmp_path):
    folder = write_digits(tmp_path / "digits", per_class=2)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert write_digits(folder, per_class=2) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")} == times


def test_an_empty_folder_is_filled_and_no_temporary_remains(tmp_path):
    (tmp_path / "digits").mkdir()
    write_digits(tmp_path / "digits", per_class=1)
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    assert sum(1 for _ in tmp_path.rglob("*.png")) == 10


def test_foreign_files_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="other files than the digits"):
        write_digits(tmp_path, per_class=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_with_fewer_digits_is_not_taken_for_more(tmp_path):
    write_digits(tmp_path / "digits", per_class=1)
    with pytest.raises(DataError, match="empty or new"):
        write_digits(tmp_path / "digits", per_class=2)


def test_a_damaged_picture_is_named(tmp_path):
    folder = write_digits(tmp_path / "digits", per_class=1)
    (folder / "7" / "7_0000.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(DataError, match=r"7_0000\.png is not the digit"):
        write_digits(folder, per_class=1)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "digits").write_text("")
    with pytest.raises(DataError, match="is a file"):
        write_digits(tmp_path / "digits", per_class=1)


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_an_impossible_count_says_what_is_possible(tmp_path, count):
    with pytest.raises(DataError, match=f"per_class is {count}; choose 1 to 174"):
        write_digits(tmp_path / "digits", per_class=count)
    assert not any(tmp_path.iterdir())


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def save_some(folder, pictures):
        folder.mkdir()
        (folder / "half.png").write_bytes(b"")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(digits, "_save", save_some)
    with pytest.raises(OSError, match="No space left"):
        write_digits(tmp_path / "digits", per_class=1)
    assert not any(tmp_path.iterdir())


def test_enlarging_keeps_black_and_white():
    assert enlarge(np.zeros((8, 8))).max() == 0
    assert enlarge(np.full((8, 8), 16.0)).min() == 255


def test_no_keras_is_needed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from transferkit.data.digits import write_digits; "
        f"write_digits(Path({str(tmp_path / 'digits')!r}), 1); "
        "assert not {'keras', 'tensorflow'} & set(sys.modules), 'keras was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
