from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from transferkit.data.source import origin_of, scan
from transferkit.errors import DataError

X = np.zeros((6, 4, 4, 3), np.uint8)


class NAType:
    """As pandas' NA: equal to nothing."""

    def __eq__(self, other: object) -> bool:
        raise TypeError

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array([b"cat", b"dog"] * 3), ("cat", "dog")),
        ([b"cat", "dog", "mül", "mül".encode(), "cat", "dog"], ("cat", "dog", "mül")),
        (np.array([1.0, 2.0, 3.0] * 2), ("1", "2", "3")),
        ([0.0, 1.0, 1.0] * 2, ("0", "1")),
        (np.array([3, 1, 1] * 2, dtype=object), ("1", "3")),
        (np.array([True, False] * 3), ("0", "1")),
        ([np.True_, np.False_] * 3, ("0", "1")),
        (["cat", 1, 1.0] * 2, ("1", "cat")),
        (np.array(["a", "b"] * 3)[:, None], ("a", "b")),
    ],
)
def test_labels_of_every_kind_become_classes(y: Any, classes: tuple[str, ...]) -> None:
    samples = scan((X, y))
    assert (samples.task, samples.classes) == ("classify", classes)


def test_whole_floats_and_one_hot_rows_are_said() -> None:
    assert any("whole numbers as floats" in note for note in scan((X, np.array([1.0, 2.0] * 3))).notes)
    one_hot = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    samples = scan((X, one_hot))
    assert samples.task == "multilabel"
    assert any("one-hot" in note and 'task="classify"' in note for note in samples.notes)
    assert scan((X, one_hot), "classify").targets.tolist() == [0, 1, 2, 0, 1, 2]
    assert scan((X, [[1, 1], [0, 1], [0, 0]] * 2)).notes == ()


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (["cat", "dog", None] * 2, r"2 targets are missing .*, at 2, 5"),
        (["cat", "dog", float("nan")] * 2, r"2 targets are missing .*, at 2, 5"),
        (np.array(["cat", "dog", np.nan] * 2, dtype=object), r"at 2, 5"),
        (np.array(["cat", "dog", np.nan] * 2), r"at 2, 5"),
        (["cat", NAType(), "dog"] * 2, r"at 1, 4"),
        (np.array([0.0, np.nan, 1.0] * 2), r"at 1, 4"),
        ([0, None, 1] * 2, r"at 1, 4"),
        (np.ma.masked_array([0, 1, 2] * 2, mask=[0, 0, 1] * 2), r"2 targets are masked, at 2, 5"),
        (["cat", " ", "dog"] * 2, r"2 targets are empty, at 1, 4"),
        ([[0, 1], [1, None], [1, 1]] * 2, r"at 1, 4"),
        ([b"cat", b"\xff", b"dog"] * 2, r"at 1, 4 .*UTF-8"),
        ([["a", "b"], ["a"], ["b"]] * 2, r"0/1 of shape \[N, C\]"),
        ([1j, 2, 3] * 2, "numbers or names|names nor numbers"),
        (5, "one target per picture"),
        (np.array([0.5, 1.5, 2.0] * 2), 'task="regress"'),
    ],
)
def test_targets_that_are_missing_or_no_labels_are_refused(y: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        scan((X, y))


def test_many_different_numbers_are_not_guessed_to_be_classes() -> None:
    x = np.zeros((60, 4, 4, 3), np.uint8)
    for y in (np.arange(60), np.arange(60) * 1.0):
        with pytest.raises(DataError, match='task="regress"'):
            scan((x, y))
        assert len(scan((x, y), "classify").classes) == 60


@pytest.mark.parametrize("names", [["a", "a", "c"], [b"a", "a", "c"], [1, "1", 2]])
def test_repeated_class_names_are_refused(names: list[Any]) -> None:
    with pytest.raises(DataError, match="more than once"):
        scan((X, np.arange(6) % 3, names))


def test_large_whole_numbers_stay_apart() -> None:
    samples = scan((X, [10**30, 10**30 + 1, 7] * 2))
    assert samples.classes == ("7", str(10**30), str(10**30 + 1))
    assert scan((X, ["9" * 5000, "10", "9"] * 2)).classes == ("9", "10", "9" * 5000)


@pytest.mark.parametrize("names", [["a", "", "c"], ["a", "b", " "], ["a", None, "c"]])
def test_class_names_that_are_missing_are_refused(names: list[Any]) -> None:
    with pytest.raises(DataError, match=r"at [12]"):
        scan((X, np.arange(6) % 3, names))


def test_pillow_pictures_whose_numbers_are_no_colours_are_refused() -> None:
    rgb = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    y = [0, 1]
    for mode in ("L", "RGB", "RGBA"):
        assert len(scan(([rgb.convert(mode)] * 2, y))) == 2
    turned = rgb.copy()
    turned.getexif()[0x0112] = 6
    for odd in (rgb.convert("P"), rgb.convert("CMYK"), rgb.convert("HSV"), rgb.convert("YCbCr"), turned):
        with pytest.raises(DataError, match=r"array\[1\] is a Pillow picture .*give its file"):
            scan(([rgb, odd], y))


def test_channels_in_front_are_told_once_with_the_remedy() -> None:
    with pytest.raises(DataError) as caught:
        scan((np.zeros((9, 3, 32, 32), np.uint8), [0, 1, 2] * 3))
    said = str(caught.value)
    assert "array[0] and 8 more are uint8 [3, 32, 32]; use uint8 [H, W, 3] or [H, W]" in said
    assert said.count("np.moveaxis(picture, 0, -1)") == said.count("more are") == 1


def test_masked_pixels_are_refused() -> None:
    x = np.ma.masked_array(X, mask=False)
    assert len(scan((x, np.arange(6) % 2))) == 6
    x[0, 0, 0, 0] = np.ma.masked
    with pytest.raises(DataError, match="masked pixels"):
        scan((x, np.arange(6) % 2))


def test_numbers_to_predict() -> None:
    y = 1700000000 + np.arange(6)
    for given in (y, y.astype(float), y.tolist(), y.astype(str), y.astype("S")):
        samples = scan((X, given), "regress")
        assert samples.targets.dtype == np.float64
        assert samples.targets[:, 0].tolist() == y.tolist()
    assert samples.label(1) == "1700000001.0"
    for bad, words in (
        (["1_5"] * 6, "are no numbers"),
        ([1e39] + [0.0] * 5, r"beyond .* at 0"),
        ([None] * 6, "missing"),
    ):
        with pytest.raises(DataError, match=words):
            scan((X, bad), "regress")


def test_a_folder_called_arrays_is_a_folder() -> None:
    assert origin_of((X, [0, 1])) is None
    assert origin_of("arrays") == "arrays"
    assert origin_of("flowers") == "flowers"
