"""Pictures come in: deep grey is told of where it stays nearly black, and its option refused where it is idle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import folder_of_classes
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.errors import ConfigError
from transferkit.runs.intake import take_in


def cells(folder: Path, most: int) -> Path:
    random = np.random.default_rng(1)
    for number in range(6):
        place = folder / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(100, most, (40, 40)).astype(np.uint16)).save(place / f"{number}.tif")
    return folder


def told(folder: Path, **settings: str) -> list[str]:
    reporter = Reporter(quiet=True)
    take_in(folder, Settings(backbone="mini", **settings), str(folder), reporter)
    return [text for text in reporter.warnings if "nearly black" in text]


def test_deep_grey_that_stays_black_is_told_of_with_the_option_that_mends_it(tmp_path: Path) -> None:
    dark = cells(tmp_path / "dark", 2000)
    (said,) = told(dark)
    assert said.startswith("6 of 6 pictures are nearly black")
    assert "--intensity percentile" in said
    assert told(dark, intensity="percentile") == []
    assert told(cells(tmp_path / "bright", 60_000)) == []


def test_dark_pictures_of_8_bits_are_as_they_are_and_the_option_is_refused_for_them(tmp_path: Path) -> None:
    for number, label in enumerate("abab"):
        (tmp_path / "night" / label).mkdir(parents=True, exist_ok=True)
        pixels = np.full((30, 30, 3), 5 + number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "night" / label / f"{number}.png")
    assert told(tmp_path / "night") == []
    plain = folder_of_classes(tmp_path / "plain", {"a": 3, "b": 3}, 24)
    with pytest.raises(ConfigError, match="--intensity percentile has no effect: no picture is grey of more than 8"):
        told(plain, intensity="percentile")
