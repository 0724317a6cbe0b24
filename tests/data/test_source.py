from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import TRASHNET, folder_of_classes, needs_trashnet, photo
from transferkit.data.containers import bucket
from transferkit.data.readers.request import Reading
from transferkit.data.source import scan
from transferkit.delivery.inputs import find
from transferkit.errors import ConfigError, DataError


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    return folder_of_classes(tmp_path / "flowers", {"rose": 4, "iris": 3})


def table(folder: Path, text: str, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def refusal(data: object, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        scan(data, **options)  # type: ignore[arg-type]
    return str(caught.value)


# --- folders


def test_folder_of_classes(flowers: Path) -> None:
    samples = scan(flowers)
    assert samples.classes == ("iris", "rose")
    assert samples.paths[:3] == ("iris/0.png", "iris/1.png", "iris/2.png")
    assert samples.targets.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert samples.targets.dtype == np.int64
    assert samples.counts() == {"iris": 3, "rose": 4}
    assert samples.source(0) == flowers / "iris/0.png"
    assert set(samples.split) == {None}
    assert samples.notes == ()


def test_order_is_natural_and_classes_are_sorted_as_numbers_where_they_are(tmp_path: Path) -> None:
    folder_of_classes(tmp_path, {"10": 1, "9": 12})
    samples = scan(tmp_path)
    assert samples.classes == ("9", "10")
    assert [Path(path).stem for path in samples.paths[:12]] == [str(i) for i in range(12)]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("train", "val", "test"), []),
        (("Train", "valid"), ["folder 'Train' is taken as the split 'train'"]),
        (("training", "validation", "TEST "), ["folder 'TEST ' is taken as the split 'test'"]),
    ],
)
def test_folder_with_splits(tmp_path: Path, names: tuple[str, ...], said: list[str]) -> None:
    for number, name in enumerate(names):
        folder_of_classes(tmp_path / name, {"a": 2 + number, "b": 1}, start=10 * number)
    samples = scan(tmp_path)
    counts = {part: samples.split.count(part) for part in ("train", "val", "test")}
    assert counts == {"train": 3, "val": 4, "test": 5 if len(names) == 3 else 0}
    assert samples.classes == ("a", "b")
    assert list(samples.notes) == said


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    samples = scan(folder_of_classes(tmp_path, {"train": 2, "bus": 2}))
    assert samples.classes == ("bus", "train")
    assert "class 'train' is named like a split" in samples.notes


def test_nested_folders_links_junk_and_upper_case(flowers: Path, tmp_path: Path) -> None:
    (flowers / "rose" / "wild").mkdir()
    photo(50).save(flowers / "rose" / "wild" / "A.PNG")
    (flowers / "rose" / "back").symlink_to(flowers / "rose")
    (flowers / "rose" / "up").symlink_to(flowers)
    elsewhere = folder_of_classes(tmp_path / "elsewhere", {"more": 2}, start=60)
    (flowers / "lily").symlink_to(elsewhere / "more")
    for junk in ("Thumbs.db", ".DS_Store", "._1.png"):
        (flowers / "rose" / junk).write_bytes(b"x")
    (flowers / "__MACOSX").mkdir()
    (flowers / "rose" / "notes.txt").write_text("x")
    samples = scan(flowers)
    assert samples.counts() == {"iris": 3, "lily": 2, "rose": 5}
    assert "rose/wild/A.PNG" in samples.paths
    said = " | ".join(samples.notes)
    assert "4 hidden or system files ignored" in said
    assert "1 other file ignored: 1 .txt" in said
    assert "leads back" in said
    link = f"1 link leads out of the folder and what is there is read too: lily to {elsewhere / 'more'}"
    assert link in samples.notes


def test_links_that_stay_inside_are_no_news_and_many_that_leave_are_one_line(flowers: Path, tmp_path: Path) -> None:
    (flowers / "tulip").mkdir()
    inside = sorted((flowers / "rose").iterdir())[0]
    (flowers / "tulip" / "0.png").symlink_to(inside)
    assert not [note for note in scan(flowers).notes if "link" in note]
    elsewhere = folder_of_classes(tmp_path / "elsewhere", {"more": 3}, start=60)
    for number, path in enumerate(sorted((elsewhere / "more").iterdir())):
        (flowers / "tulip" / f"{number + 1}.png").symlink_to(path)
    (said,) = [note for note in scan(flowers).notes if "link" in note]
    assert said.startswith("3 links lead out of the folder and what is there is read too: tulip/1.png to ")
    # The folder itself may be given by a link.
    (tmp_path / "given").symlink_to(flowers)
    assert [note for note in scan(tmp_path / "given").notes if "link" in note] == [said]


@pytest.mark.parametrize(("name", "told"), [("=1+1", True), ("@SUM(1)", True), ("-rf", True), ("-1", False)])
def test_classes_that_a_spreadsheet_would_compute_are_told(name: str, told: bool, tmp_path: Path) -> None:
    samples = scan(folder_of_classes(tmp_path, {name: 2, "bus": 2}))
    assert name in samples.classes  # as it is, in every file
    assert any("begins as formulas do" in note for note in samples.notes) == told


def test_all_problems_of_a_folder_are_reported_at_once(flowers: Path) -> None:
    (flowers / "lily").mkdir()
    photo(1).save(flowers / "loose.png")
    (flowers / "rose" / "gone.jpg").symlink_to("/nowhere.jpg")
    message = refusal(flowers)
    assert message.startswith("3 problems:")
    assert "1 picture lies directly" in message
    assert "class folder lily holds no picture" in message
    assert "rose/gone.jpg is a link to a file that does not exist" in message


def test_missing_empty_and_single_class_folders(tmp_path: Path, flowers: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "flowrs")
    assert "nearest: 'flowers'" in refusal(tmp_path / "flowrs")
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in refusal(tmp_path / "empty")
    assert "one class only, rose" in refusal(flowers, exclude=["iris"])
    folder_of_classes(tmp_path / "above" / "flowers", {"rose": 1, "iris": 1})
    assert f"did you mean {tmp_path / 'above' / 'flowers'}?" in refusal(tmp_path / "above")
    (tmp_path / "data.zip").write_bytes(b"PK")
    assert "no whole zip archive" in refusal(tmp_path / "data.zip")
    assert "neither a folder nor a CSV" in refusal(flowers / "rose" / "0.png")


def test_a_class_only_in_test_is_refused(tmp_path: Path) -> None:
    folder_of_classes(tmp_path / "train", {"a": 2, "b": 2})
    folder_of_classes(tmp_path / "test", {"a": 1, "bb": 1}, start=10)
    assert "bb occurs in val or test but not in train; nearest: 'b'" in refusal(tmp_path)


def test_splits_beside_other_folders_are_refused(tmp_path: Path) -> None:
    folder_of_classes(tmp_path / "train", {"a": 2, "b": 2})
    (tmp_path / "docs").mkdir()
    assert "beside train there is docs" in refusal(tmp_path)
    (tmp_path / "docs").rmdir()
    folder_of_classes(tmp_path / "val", {"a": 1, "b": 1}, start=9)
    folder_of_classes(tmp_path / "valid", {"a": 1, "b": 1}, start=19)
    assert "val, valid all mean the split 'val'" in refusal(tmp_path)


def test_suspicious_names_are_said(tmp_path: Path) -> None:
    samples = scan(folder_of_classes(tmp_path, {"rose ": 2, "Rose": 2, "iris": 2}))
    said = " | ".join(samples.notes)
    assert "class 'rose ' begins or ends with a blank" in said
    assert "classes 'Rose', 'rose ' differ by case" in said


def test_exclusions(flowers: Path, tmp_path: Path) -> None:
    folder_of_classes(flowers, {"lily": 2}, start=20)
    assert scan(flowers, exclude=["rose"]).classes == ("iris", "lily")
    assert scan(flowers, exclude=["rose/0.png", "iris/[12].png"]).counts() == {
        "iris": 1,
        "lily": 2,
        "rose": 3,
    }
    listed = tmp_path / "left_out.txt"
    listed.write_text('# broken\nrose/1.png\n"iris/0.png"\nrose/gone.png\n')
    samples = scan(flowers, exclude_file=listed)
    assert samples.counts() == {"iris": 2, "lily": 2, "rose": 3}
    assert "2 paths excluded on request" in samples.notes
    assert any("1 lines of the exclusion file match no picture: rose/gone.png" in note for note in samples.notes)
    assert "nearest: 'rose'" in refusal(flowers, exclude=["rosse"])
    assert "cannot be read" in refusal(flowers, exclude_file=tmp_path / "none.txt")


def test_exclusions_reach_what_is_refused(flowers: Path, tmp_path: Path) -> None:
    (flowers / "rose" / "gone.jpg").symlink_to("/nowhere.jpg")
    photo(1).save(flowers / "loose.png")
    (flowers / "vacant").mkdir()
    assert len(scan(flowers, exclude=["rose/gone.jpg", "loose.png", "vacant"])) == 7
    both = folder_of_classes(tmp_path / "both" / "train", {"a": 2, "b": 2}).parent
    (both / "docs").mkdir()
    photo(1).save(both / "train" / "loose.png")
    assert len(scan(both, exclude=["docs", "train/loose.png"])) == 4


def test_known_classes_allow_one_class_and_refuse_unknown_ones(flowers: Path) -> None:
    samples = scan(flowers, exclude=["iris"], classes=["iris", "lily", "rose"])
    assert samples.classes == ("iris", "lily", "rose")
    assert set(samples.targets.tolist()) == {2}
    assert "rose are no classes of the run" in refusal(flowers, classes=["iris", "roses"])


def test_task_must_be_known_and_possible(flowers: Path) -> None:
    with pytest.raises(ConfigError, match="nearest: 'classify'"):
        scan(flowers, task="clasify")  # type: ignore[arg-type]
    assert "give a CSV" in refusal(flowers, task="regress")


# --- tables


def test_table_with_classes_splits_and_groups(flowers: Path) -> None:
    path = table(
        flowers,
        "Path,Label,split,group,camera\nrose/0.png,rose,train,g1,x\nrose/1.png,rose,validation,g2,x\n"
        "iris/0.png,iris,test,,y\n",
    )
    samples = scan(path)
    assert (samples.task, samples.classes) == ("classify", ("iris", "rose"))
    assert samples.split == ("train", "val", "test")
    assert samples.group == ("g1", "g2", None)
    assert samples.source(0) == flowers / "rose/0.png"
    assert "columns not used: camera (the targets are label)" in samples.notes


def test_table_with_several_labels_in_one_cell(flowers: Path) -> None:
    samples = scan(table(flowers, "path,label\nrose/0.png,red;big\nrose/1.png,big\niris/0.png,\n"))
    assert (samples.task, samples.classes) == ("multilabel", ("big", "red"))
    np.testing.assert_array_equal(samples.targets, [[1, 1], [1, 0], [0, 0]])
    assert samples.targets.dtype == np.float32
    assert samples.label(0) == "big;red"


def test_table_with_one_column_per_class(flowers: Path) -> None:
    samples = scan(table(flowers, "path,red,big\nrose/0.png,1,0\nrose/1.png,0,1\n"))
    assert (samples.task, samples.classes) == ("multilabel", ("red", "big"))
    prefixed = scan(table(flowers, "path,label_red,label_big,note\nrose/0.png,1,0,x\nrose/1.png,0,1,y\n"))
    assert prefixed.classes == ("red", "big")
    assert "columns not used: note" in prefixed.notes[0]


def test_table_for_regression(flowers: Path) -> None:
    single = scan(table(flowers, "path,label\nrose/0.png,1.5\nrose/1.png,-2e3\n"), task="regress")
    np.testing.assert_array_equal(single.targets, [[1.5], [-2000.0]])
    several = scan(table(flowers, "path,label_x,label_y\nrose/0.png,1,2\nrose/1.png,3,4\n"), task="regress")
    assert several.classes == ("x", "y")
    np.testing.assert_array_equal(several.targets, [[1, 2], [3, 4]])
    assert several.label(0) == "1.0;2.0"
    message = refusal(table(flowers, "path,label\nrose/0.png,1\nrose/1.png,much\nrose/2.png,nan\n"), task="regress")
    assert "line 3: label='much'" in message
    assert "line 4: label='nan'" in message


def test_numbers_as_labels_are_not_guessed(flowers: Path) -> None:
    rows = "".join(f"{kind}/{i}.png,{i + 0.5}\n" for kind in ("rose", "iris") for i in range(3))
    message = refusal(table(flowers, "path,label\n" + rows))
    assert "--task regress" in message
    assert "--task classify" in message
    whole = scan(table(flowers, "path,label\nrose/0.png,10\nrose/1.png,9\nrose/2.png,9\n"))
    assert whole.classes == ("9", "10")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_spreadsheet_exports(flowers: Path, delimiter: str) -> None:
    text = "\ufeffpath,label\r\nrose/0.png,rose\r\niris/0.png,iris\r\n\r\n".replace(",", delimiter)
    assert scan(table(flowers, text)).classes == ("iris", "rose")


def test_all_bad_rows_are_reported_with_their_lines(flowers: Path) -> None:
    rows = [f"rose/missing{i}.png,rose" for i in range(12)]
    text = "path,label,split\n" + "".join(f"{row},train\n" for row in rows)
    text += "rose/0.png,,train\nrose/1.png,rose,trian\nrose/2.png\n,rose,train\nrose,iris,train\n"
    message = refusal(table(flowers, text))
    assert "12 rows name files that do not exist" in message
    assert "line 2: rose/missing0.png" in message
    assert "and 2 more" in message
    assert "1 rows have no label; fill it in, or delete them (line 14)" in message
    assert "line 15: 'trian'" in message
    assert "line 16: 1 cells" in message
    assert "1 rows have no path (line 17" in message
    assert "line 18: rose is a folder" in message


def test_headers_are_checked(flowers: Path) -> None:
    message = refusal(table(flowers, "file,label\nrose/gone.png,rose\n"))
    assert "no column 'path'" in message
    assert "its columns are: file, label" in message
    assert "no column 'label'" in refusal(table(flowers, "path,split\nrose/0.png,train\n"))
    assert "more than once" in refusal(table(flowers, "path,label,label\nrose/0.png,a,b\n"))
    assert "no rows" in refusal(table(flowers, "path,label\n"))
    assert "is empty" in refusal(table(flowers, ""))
    assert "one class only, rose" in refusal(table(flowers, "path,label\nrose/0.png,rose\n"))
    assert "0 or 1" in refusal(table(flowers, "path,a,b\nrose/0.png,1,2\n"))
    assert "no row has the label b" in refusal(table(flowers, "path,a,b\nrose/0.png,1,0\n"))
    assert "several labels" in refusal(table(flowers, "path,label\nrose/0.png,a;b\n"), task="classify")


def test_labels_that_may_be_missing_ones_are_said(flowers: Path) -> None:
    samples = scan(table(flowers, "path,label\nrose/0.png,rose\nrose/1.png,NaN\niris/0.png,None\n"))
    assert "class 'NaN' is spelt like a missing label" in samples.notes
    assert "class 'None' is spelt like a missing label" in samples.notes


def test_repeated_rows(flowers: Path) -> None:
    head = "path,label\nrose/0.png,rose\niris/0.png,iris\n"
    same = scan(table(flowers, head + "rose/0.png,rose\n"))
    assert len(same) == 2
    assert "1 rows repeat an earlier row exactly and are used once" in same.notes
    assert "rose/0.png is also in line 2" in refusal(table(flowers, head + "rose/0.png,iris\n"))


def test_paths_written_on_windows_absolute_paths_and_addresses(flowers: Path, tmp_path: Path) -> None:
    text = f"path,label\nrose\\0.png,rose\n{flowers}/iris/0.png,iris\n"
    samples = scan(table(flowers, text))
    assert samples.paths == ("rose/0.png", f"{flowers}/iris/0.png")
    assert samples.source(1) == flowers / "iris/0.png"


@pytest.mark.parametrize("head", ["path,label", "image_url,kind"])
@pytest.mark.parametrize("place", ["s3://bucket/c.jpg", "http://a.b/c.jpg", "https://a.b/flowers.zip/rose/1.jpg"])
def test_what_a_table_names_is_never_looked_for_in_the_network(
    head: str, place: str, flowers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(bucket, "of", lambda path: asked() if bucket.is_address(path) else None)
    monkeypatch.chdir(flowers)  # from where a name of an address would be one
    text = f"{head}\n{place},rose\n{place.replace('c.jpg', 'd.jpg')},iris\n"
    for path in (table(flowers, text), Path("data.csv")):
        assert "addresses on the web, which are not read" in refusal(path)
        assert scan_fails_lenient(path)
    if head.startswith("path"):
        (found, *_) = find([Path("data.csv")])
        assert not bucket.is_address(found)


def scan_fails_lenient(path: Path) -> bool:
    """Whether a table is refused as well where files that are missing would be kept."""
    with pytest.raises(DataError):
        scan(path, strict=False)
    return True


def test_pictures_of_one_split_are_found_again_where_splits_are_folders(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        folder_of_classes(tmp_path / "data" / part, {"rose": 2, "iris": 2})
    found = scan(tmp_path / "data")
    for part in ("train", "val", "test"):
        wanted = [path for path, own in zip(found.paths, found.split, strict=True) if own == part]
        again = scan(tmp_path / "data", classes=found.classes, only=wanted, strict=False)
        assert (list(again.paths), set(again.split)) == (wanted, {part})
        assert [again.label(i) for i in range(4)] == [os.path.basename(os.path.dirname(path)) for path in wanted]
    (tmp_path / "data" / "test" / "rose" / "0.png").unlink()
    assert len(scan(tmp_path / "data", classes=found.classes, only=wanted, strict=False)) == 3


def test_what_is_no_data_says_what_is_meant(flowers: Path) -> None:
    assert "data is not read from ftp:// but from s3://" in refusal("ftp://host/x.zip")
    assert "but one picture" in refusal(flowers / "rose" / "0.png")
    text = "path,label\nrose/0.jpg,rose\niris/0.jpg,iris\n"
    assert "the first is there as rose/0.png: correct the endings" in refusal(table(flowers, text))


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("C:\\Users\\Ann\\rose\\0.png", r"so leave 'C:\Users\Ann\' out"),
        ("/home/ann/rose/0.png", "so leave '/home/ann/' out"),
        ("//server/share/Rose/0.PNG", "so leave '//server/share/' out"),
        ("/rose/0.png", "so leave '/' out"),
        ("Rose/0.png", "correct capital and small letters"),
        ("./ROSE/0.PNG", "correct capital and small letters"),
        ("rose/0.PNG", "correct the endings"),
    ],
)
def test_a_path_of_another_machine_or_in_other_case_is_told_apart(flowers: Path, path: str, hint: str) -> None:
    said = refusal(table(flowers, f"path,label\n{path},rose\niris/0.png,iris\n"))
    assert "; the first is there as rose/0.png: " in said
    assert hint in said


def test_pictures_in_folders_that_a_column_names_are_found_by_it(flowers: Path) -> None:
    classes = flowers.rename(flowers.parent / "all")
    source = table(classes.parent, "path,label\n0.png,rose\n0.png,iris\n")
    template = "all/{label}/{path}"
    assert f"--path-template '{template}' leads there" in refusal(source)
    assert len(scan(source, reading=Reading(path_template=template))) == 2


def test_an_archive_among_the_pictures_is_not_passed_over_without_a_word(flowers: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        for picture in flowers.glob("*/*.png"):
            archive.write(picture, picture.relative_to(flowers))
    alone, outer = tmp_path / "alone", tmp_path / "outer.zip"
    alone.mkdir()
    shutil.copy(inner, alone)
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(inner, "inner.zip")
    assert f"or give it by itself: {alone / 'inner.zip'}" in refusal(alone)
    assert "archives inside are not opened: unpack them" in refusal(outer)
    shutil.copy(inner, flowers)
    assert any("1 .zip; archives inside are not opened" in note for note in scan(flowers).notes)


def test_undecodable_and_multiline_paths(flowers: Path) -> None:
    strange = os.fsdecode(b"rose/\xe9.png")
    os.rename(flowers / "rose/0.png", flowers / strange)
    os.rename(flowers / "rose/1.png", flowers / "rose/a\nb.png")
    samples = scan(table(flowers, f'path,label\n{strange},rose\n"rose/a\nb.png",rose\niris/0.png,iris\n'))
    assert samples.paths[:2] == (strange, "rose/a\nb.png")


# --- arrays


def test_arrays_of_class_numbers() -> None:
    x = np.zeros((6, 8, 9, 3), np.uint8)
    samples = scan((x, np.array([[3], [3], [10], [10], [3], [3]])))
    assert samples.classes == ("3", "10")
    assert samples.targets.tolist() == [0, 0, 1, 1, 0, 0]
    assert samples.root is None
    assert np.shares_memory(samples.source(2), x)
    named = scan((x, [0, 1, 0, 1, 0, 1], ["cat", "dog"]))
    assert named.label(1) == "dog"
    assert named.select([5, 0]).paths == ("array[5]", "array[0]")


def test_arrays_of_other_targets() -> None:
    x = [np.zeros((4 + i, 5, 3), np.uint8) for i in range(4)]
    assert scan((x, ["b", "a", "b", "a"])).targets.tolist() == [1, 0, 1, 0]
    assert scan((x, np.eye(4)[[0, 1, 0, 1]][:, :2])).task == "multilabel"
    one_hot = scan((x, np.eye(2)[[0, 1, 1, 0]]), task="classify")
    assert one_hot.targets.tolist() == [0, 1, 1, 0]
    assert scan((x, [0.5, 1.5, 2.5, 3.5]), task="regress").targets.shape == (4, 1)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), [0, 1], "uint8 0–255"),
        (np.zeros((2, 4), np.uint8), [0, 1], r"\[N, H, W, 3\]"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0, 1, 2], "one target per picture"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0.5, 1], "regress"),
        (np.zeros((2, 4, 4, 3), np.uint8), [1, 1], "one class only"),
        (np.zeros((0, 4, 4, 3), np.uint8), [], "empty"),
        ([np.zeros((4, 4, 2), np.uint8)] * 2, [0, 1], r"array\[0\] and 1 more are uint8 \[4, 4, 2\]"),
    ],
)
def test_arrays_that_cannot_be_used(x: object, y: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        scan((x, y))


# --- samples


def test_hashes_are_of_content(flowers: Path) -> None:
    (flowers / "rose" / "copy.png").write_bytes((flowers / "iris" / "0.png").read_bytes())
    samples = scan(flowers).hashed()
    assert samples.sha256 is not None
    assert samples.sha256[samples.paths.index("rose/copy.png")] == samples.sha256[0]
    assert len(set(samples.sha256)) == len(samples) - 1
    assert samples.select([0]).sha256 == samples.sha256[:1]
    x = np.zeros((3, 4, 4, 3), np.uint8)
    x[2] = 1
    first, second, third = scan((x, [0, 1, 0])).hashed().sha256 or ()
    assert first == second != third
    unhashed = scan(flowers)
    os.unlink(flowers / "iris" / "0.png")
    with pytest.raises(DataError, match=r"iris/0\.png does not exist"):
        unhashed.hashed()


def test_the_data_room_never_imports_keras() -> None:
    rooms = "audit, augmentation, images, readers, splitting, source"
    heavy = "[m for m in sys.modules if m.split('.')[0] in ('keras', 'tensorflow', 'jax', 'torch')]"
    every = (
        "import importlib, pkgutil, sys; import transferkit.data as d\n"
        "for m in pkgutil.walk_packages(d.__path__, 'transferkit.data.'): importlib.import_module(m.name)\n"
    )
    code = f"{every}from transferkit.data import {rooms}; print({heavy})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@needs_trashnet
def test_trashnet() -> None:
    samples = scan(TRASHNET)
    assert len(samples) == 2527
    assert samples.counts()["trash"] == 137


def test_a_table_beside_the_folder_of_its_pictures_is_told_where_they_are(tmp_path: Path) -> None:
    folder_of_classes(tmp_path / "archive", {"train": 4})
    name = next((tmp_path / "archive" / "train").iterdir()).name
    (tmp_path / "archive" / "labels.csv").write_text(f"path,label\n{name},a\ngone.png,b\n")
    with pytest.raises(DataError, match=r"do not exist below .*; the first lies in .*train: put a copy of the CSV"):
        scan(tmp_path / "archive" / "labels.csv")
    (tmp_path / "archive" / "labels.csv").write_text("path,label\ngone.png,b\n")
    with pytest.raises(DataError, match=r"do not exist below \S+archive \(line 2"):
        scan(tmp_path / "archive" / "labels.csv")
