"""Folders that are splits are never taken for classes, nor flattened, without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.pictures import folder_of_classes
from transferkit.data.convert import convert
from transferkit.data.readers.layouts import is_usual, meant_as_splits, split_name
from transferkit.data.readers.request import Reading
from transferkit.data.source import scan
from transferkit.errors import ConfigError, DataError


def make(root: Path, *folders: str) -> Path:
    """Two pictures in each of `folders`."""
    for number, folder in enumerate(folders):
        folder_of_classes(root, {folder: 2}, start=2 * number)
    return root


def crossed(splits: str, classes: str = "cat dog") -> list[str]:
    return [f"{split}/{name}" for split in splits.split() for name in classes.split()]


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        (crossed("train test"), "train test"),
        (crossed("training_set test_set"), "train test"),
        (crossed("training_set/training_set test_set/test_set"), "train test"),
        (crossed("seg_train/seg_train seg_test/seg_test"), "train test"),
        (crossed("Train Validation Testing"), "train val test"),
        (crossed("train dev eval_set"), None),
        (crossed("train dev test"), "train val test"),
        (crossed("train eval"), "train val"),
        (crossed("TrainSet TestSet"), "train test"),
        (crossed("01_train 02_valid 03_test"), "train val test"),
        (crossed("trainval test"), "train test"),
        (crossed("train/images val/images"), "train val"),
        (["cat/train", "cat/val", "dog/train", "dog/val"], "train val"),
        (["cat/Training", "cat/test_set", "dog/Training", "dog/test_set"], "train test"),
    ],
)
def test_splits_are_recognised(folders: list[str], parts: str | None, tmp_path: Path) -> None:
    data = make(tmp_path, *folders)
    if parts is None:
        with pytest.raises(DataError, match="mean the split 'val'; keep one"):
            scan(data)
        return
    samples = scan(data)
    assert samples.classes == ("cat", "dog")
    assert {part: samples.split.count(part) for part in parts.split()} == dict.fromkeys(parts.split(), 4)
    usual = {"train", "val", "test"} | {"train/cat"}
    said = " | ".join(samples.notes)
    for folder in {path.split("/")[0] for path in folders} - usual:
        assert folder in said


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["train", "test"], "named like splits but hold no class folders"),
        ([*crossed("train"), "test"], "no class folders inside, so the classes are not known"),
        ([*crossed("train test"), "junk/x"], "beside test, train there is junk"),
        (["cat", "dog", *crossed("test")], "beside test there is cat, dog"),
        (["val/a", "test/a", "cats/a"], "beside test, val there is cats"),
        ([*crossed("seg_train/seg_train seg_test/seg_test"), "seg_pred/seg_pred"], "there is seg_pred"),
        (["cat/train", "cat/val", "dog"], "not all pictures of dog lie in such folders"),
        (["cat/train", "cat/val", "cat", "dog/train", "dog/val"], "not all pictures of cat lie"),
        (crossed("train train_2"), "train, train_2 all mean the split 'train'"),
        (crossed("dataset/train dataset/test"), "did you mean .*dataset"),
        (crossed("images"), "did you mean .*images"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(folders: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        scan(make(tmp_path, *folders))


@pytest.mark.parametrize(
    ("folders", "classes", "words"),
    [
        (["cat", "cat/test", "dog"], ("cat", "dog"), "folders named like splits (cat/test)"),
        (crossed("images masks"), ("images", "masks"), "folders cat, dog lie inside several classes (images, masks)"),
        (["train", "bus"], ("bus", "train"), "class 'train' is named like a split"),
        (["test/x", "bus/y", "car/z"], ("bus", "car", "test"), "class 'test' is named like a split"),
    ],
)
def test_what_may_have_been_meant_otherwise_is_said(
    folders: list[str], classes: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    samples = scan(make(tmp_path, *folders))
    assert samples.classes == classes
    assert set(samples.split) == {None}
    assert words in " | ".join(samples.notes)


def test_a_split_folder_may_be_left_out(tmp_path: Path) -> None:
    data = make(tmp_path / "one", *crossed("train val"), "test")
    assert scan(data, exclude=["test"]).split.count("train") == 4
    samples = scan(make(tmp_path / "two", *crossed("train val test")), exclude=["val"])
    assert set(samples.split) == {"train", "test"}


def test_a_loop_of_links_hides_no_split(tmp_path: Path) -> None:
    data = make(tmp_path, *crossed("train test"))
    (data / "train" / "loop").symlink_to("loop")
    assert set(scan(data).split) == {"train", "test"}


def test_names() -> None:
    for name in ("train", " Training", "train_set", "TrainSet", "trainset", "train-data", "train2017", "Train Images"):
        assert split_name(name) == "train", name
    for name in ("trains", "freight train", "strain", "latest", "contest", "set", "data", "12", "", "test-retest"):
        assert split_name(name) is None, name
    assert is_usual("Valid ")
    assert not is_usual("dev")
    assert meant_as_splits(["seg_train", "seg_test", "seg_pred"]) == {"seg_train": "train", "seg_test": "test"}
    assert meant_as_splits(["freight_train", "test_tube", "boat"]) == {}


def test_class_folders_without_pictures_say_what_they_hold(tmp_path: Path) -> None:
    data = make(tmp_path, "a")
    for name in ("b/0.ppm", "b/1.ppm", "b/.hidden"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"class folder b holds no picture \(it holds 2 \.ppm, 1 hidden"):
        scan(data)


@pytest.mark.parametrize(
    ("level", "classes"),
    [("top", ("animal", "plant")), ("leaf", ("cat", "dog", "plant")), ("path", ("animal/cat", "animal/dog", "plant"))],
)
@pytest.mark.parametrize("above", ["", "train/"])
def test_the_class_of_nested_folders_is_the_level_asked_for(
    level: str, classes: tuple[str, ...], above: str, tmp_path: Path
) -> None:
    make(tmp_path, *(above + name for name in ("animal/cat", "animal/dog", "plant")))
    samples = scan(tmp_path, reading=Reading.checked({"class_level": level}))
    assert samples.classes == classes
    for path, target in zip(samples.paths, samples.targets, strict=True):
        inside = path.removeprefix(above).split("/")[:-1]
        assert classes[target] == {"top": inside[0], "leaf": inside[-1], "path": "/".join(inside)}[level]
    assert set(samples.split) == {"train" if above else None}


def test_a_level_is_kept_with_a_saved_split_and_leaves_classes_out_by_name(tmp_path: Path) -> None:
    make(tmp_path, "animal/cat", "animal/dog", "plant/oak")
    reading = Reading(class_level="path")
    assert scan(tmp_path, exclude=["animal/dog"], reading=reading).classes == ("animal/cat", "plant/oak")
    found = scan(tmp_path, reading=reading)
    again = scan(tmp_path, classes=found.classes, only=found.paths[:1], reading=reading)
    assert again.label(0) == found.label(0)
    convert(found, tmp_path / "out.csv")
    assert scan(tmp_path / "out.csv").counts() == found.counts()


def test_a_level_says_what_it_joins_and_is_refused_where_it_does_nothing(tmp_path: Path) -> None:
    make(tmp_path / "years", "2023/cat", "2024/cat", "2024/dog")
    said = " | ".join(scan(tmp_path / "years").notes)
    assert "give --class-level leaf, or path for names such as 2023/cat" in said
    notes = scan(tmp_path / "years", reading=Reading(class_level="leaf")).notes
    assert "class 'cat' is taken from 2023/cat, 2024/cat" in notes
    make(tmp_path / "flat", "cat", "dog")
    with pytest.raises(DataError, match="--class-level leaf has no effect"):
        scan(tmp_path / "flat", reading=Reading(class_level="leaf"))
    with pytest.raises(ConfigError, match="--class-level 'last': choose from top, leaf, path"):
        Reading.checked({"class_level": "last"})
