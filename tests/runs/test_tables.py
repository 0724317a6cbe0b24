"""What a run writes into its tables is read back as it was, whatever classes and targets are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transferkit.csv_files import read_csv
from transferkit.data.source import scan
from transferkit.data.splitting.split import Splits, save_splits
from transferkit.runs import tables
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import data_digest
from transferkit.runs.results import write_predictions

NAMES = [" x", "x", "a;b", 'say "a"', '"', ";", "1.5", "line\nbreak", "x=1"]
ONE_EACH = np.eye(len(NAMES), dtype=int)


@pytest.mark.parametrize(
    ("y", "names", "task"),
    [
        (np.arange(len(NAMES)), NAMES, "classify"),
        (ONE_EACH, NAMES, "multilabel"),
        (1 - ONE_EACH, NAMES, "multilabel"),
        (np.zeros((4, 2), int), ["a", "b"], "multilabel"),
        ([[0, 1], [1, 1], [0, 0]], ["a;b", "b"], "multilabel"),
        ([1.5, -2e-9, 3.0], ["x"], "regress"),
        ([[1.5, 2.0], [3.0, -1e30]], ["x", "y;z=1"], "regress"),
    ],
)
def test_labels_of_every_name_and_task(y: Any, names: list[str], task: Any, tmp_path: Path) -> None:
    count = len(y)
    x = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    samples = scan((x, y, names), task).hashed()
    layout = Layout(tmp_path)
    save_splits(layout.splits, samples, Splits(("test",) * count, (-1,) * count, 0, 0, ()))
    write_predictions(layout, samples, np.full((count, len(names)), 0.5), None)

    saved = tables.named(tables.pictures(read_csv(layout.splits)), task)
    assert [picture.label for picture in saved] == [samples.label(i) for i in range(count)]
    rows = ((p.path, p.sha256, p.label) for p in saved)
    assert tables.data_digest(rows, samples.classes) == data_digest(samples)
    assert tables.changes(saved, samples) == []
    found = tables.predictions(read_csv(layout.predictions), samples.classes, task, saved)
    assert np.array_equal(found.targets, samples.targets)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("inf", "line 3: p_b 'inf' is no number"),
        ("nan", "line 3: p_b 'nan' is no number"),
        ("much", "line 3: p_b 'much' is no number"),
        (None, "line 3 has no p_b"),
    ],
)
def test_an_answer_that_is_no_number_is_named_with_its_line(cell: str | None, said: str) -> None:
    rows = [
        {"path": f"{i}.png", "label": "a", "predicted": "a", "confidence": ".9", "p_a": ".9", "p_b": ".1"}
        for i in range(2)
    ]
    damaged: list[tables.CsvRow] = [rows[0], {**rows[1], "p_b": cell}]
    with pytest.raises(ValueError, match=said):
        tables.predictions(damaged, ["a", "b"], "classify", [])
