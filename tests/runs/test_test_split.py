"""Invariant: the test split decides nothing. Other test pictures with other labels give the very same model."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from transferkit.runs import model_file


@pytest.mark.usefixtures("unpublished")
def test_other_test_pictures_and_labels_leave_the_model_as_it_is(digits: Path, tmp_path: Path) -> None:
    rows = _rows(digits)
    noise = tmp_path / "noise"
    noise.mkdir()
    rng = np.random.default_rng(0)
    changed = []
    for number, (path, label, part) in enumerate(rows):
        if part == "test":
            picture = noise / f"{number}.png"
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(picture)
            changed.append((str(picture), str((int(label) + 1) % 3), part))
        else:
            changed.append((path, label, part))
    runs = [_run(tmp_path / name, table) for name, table in (("clean", rows), ("changed", changed))]
    one, two = (model_file.load(run.layout.model).get_weights() for run in runs)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert runs[0].metrics["val"] == runs[1].metrics["val"]
    assert runs[0].metrics["temperature"] == runs[1].metrics["temperature"]
    # The control: the test scores themselves do differ.
    assert runs[0].metrics["test"]["accuracy"] > runs[1].metrics["test"]["accuracy"]


def _rows(digits: Path) -> list[tuple[str, str, str]]:
    """Three classes: 12 training, 4 validation and 4 test pictures of each."""
    parts = ["train"] * 12 + ["val"] * 4 + ["test"] * 4
    return [
        (str(path), label, part)
        for label in "012"
        for path, part in zip(sorted((digits / label).iterdir()), parts, strict=True)
    ]


def _run(folder: Path, rows: list[tuple[str, str, str]]) -> tk.Run:
    folder.mkdir()
    with open(folder / "table.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([("path", "label", "split"), *rows])
    return tk.finetune(
        folder / "table.csv", "mini", unfreeze="from:block4", epochs=3, views=1, output=folder / "run", quiet=True
    )
