"""Rows that the machine has no memory for are read from the store, block by block."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from transferkit.features import working_arrays
from transferkit.features.row_blocks import StoredRows, held
from transferkit.runs import tapped_rows

X = np.random.default_rng(0).normal(size=(1100, 6)).astype(np.float32)
KIND: Any = SimpleNamespace(width=6)


class Computed:
    """A source that counts what it is asked for, as one that computes rows each time."""

    shapes = [(6,)]  # noqa: RUF012

    def __init__(self) -> None:
        self.asked: list[int] = []

    def take(self, pictures: np.ndarray, views: np.ndarray) -> list[np.ndarray]:
        self.asked += pictures.tolist()
        return [X[pictures] + views[:, None].astype(np.float32)]


def test_rows_are_in_memory_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path))
    pictures = np.arange(0, 1100, 2)
    there = tapped_rows._read(Computed(), KIND, pictures, 2)
    assert isinstance(there, np.ndarray)
    assert np.array_equal(there, np.stack([X[pictures], X[pictures] + 1], axis=1))
    monkeypatch.setattr(tapped_rows, "FEW", 500)
    monkeypatch.setattr(working_arrays, "HELD_BYTES", there.nbytes - 1)
    source = Computed()
    stored = tapped_rows._read(source, KIND, pictures, 2)
    assert isinstance(stored, StoredRows)
    for _ in range(2):
        assert np.array_equal(held(stored), there)
    assert len(source.asked) == 2 * len(pictures)  # each view is computed once


def test_rows_of_few_pictures_are_in_memory_however_wide_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapped_rows, "machine_memory", lambda: 1 << 34)
    monkeypatch.setattr(working_arrays, "HELD_BYTES", 1 << 20)
    assert tapped_rows.most_held(4) == 1 << 20
    assert tapped_rows.most_held(4 * 8192) == tapped_rows.FEW * 4 * 8192
    monkeypatch.setattr(tapped_rows, "machine_memory", lambda: 1 << 24)
    assert tapped_rows.most_held(4 * 8192) == 1 << 22


def test_memory_has_room_for_a_part_of_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapped_rows, "machine_memory", lambda: 1 << 30)
    assert tapped_rows.most_in_memory() == 1 << 28


def test_of_pictures_that_are_too_many_some_are_drawn_and_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapped_rows, "most_in_memory", lambda: 8000)
    pictures = np.arange(0, 900, 3)
    assert tapped_rows.few_enough(pictures, 6, 1.0, 0) is pictures
    some = tapped_rows.few_enough(pictures, 40, 0.5, 0)
    assert len(some) == 8000 // 2 // 160
    assert (np.diff(some) > 0).all()
    assert np.isin(some, pictures).all()
    assert not np.array_equal(some, pictures[: len(some)]), "the first may be of one class"


CHOICE = """
import json, resource
from types import SimpleNamespace
import numpy as np
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings
from transferkit.evaluation.metric_registry import goal
from transferkit.features import row_blocks, working_arrays
from transferkit.features.row_sources import Stored, Views
from transferkit.features.row_blocks import StoredRows
from transferkit.features.store import open_set
from transferkit.runs import tapped_rows
from transferkit.selection import linear
from transferkit.selection.candidate_scores import Judge
from transferkit.selection.choice import choose, fit, sets
from transferkit.selection.linear import Discriminant, Logistic, Ridge

N, WIDTH, PART = 16_000, 4096, 1000

class Samples(list):
    sha256 = [f"{i:032}" + 32 * "0" for i in range(N)]

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

rng, labels = np.random.default_rng(0), np.arange(N) % 3
centres = rng.normal(size=(3, WIDTH)).astype(np.float32)
features = open_set({"network": "made up"}, [(WIDTH,)])
for start in range(0, N, PART):
    rows = rng.random((PART, WIDTH), np.float32) + 0.05 * centres[labels[start : start + PART]]
    features.append([name[:32] for name in Samples.sha256[start : start + PART]], rows)
row_blocks.BLOCK_BYTES = 2 << 20
linear.STEPS = 5
working_arrays.HELD_BYTES, tapped_rows.FEW = 40 << 20, 0
views = Views(DecodeSettings(32), augmentation("none"), 0, 0)
source = Stored(features, views, Samples(range(N)), {i: range(1) for i in range(N)})
y, of = np.eye(3)[labels], Judge("classify", labels, ("a", "b", "c"), goal("accuracy", "classify"))

def work(places, most=None):
    x = tapped_rows._read(source, SimpleNamespace(width=WIDTH), places, 1)
    learners = [Ridge(penalties=(1e-3,)), Discriminant(shrinkages=(0.05,)), Logistic(strengths=(0.003,))]
    folds = np.array_split(np.arange(len(places)), 2)
    judge = Judge("classify", labels[places], ("a", "b", "c"), goal("accuracy", "classify"))
    found = choose(x, y[places], [folds], sets({"all": (0, WIDTH)}, learners), judge)
    fit(x, y[places], found.trial)
    return found.score, x

_, few = work(np.arange(2000))  # libraries are loaded, and hold what they hold
assert not isinstance(few, StoredRows)
before = peak()
score, x = work(np.arange(N))
assert isinstance(x, StoredRows)
print(json.dumps({"rows": 4 * N * WIDTH, "more": peak() - before, "score": score}))
"""


@pytest.mark.extended
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is given back by madvise")
def test_a_choice_by_rows_on_disk_takes_little_memory(tmp_path: Path) -> None:
    """Of 262 MB on disk, with 42 MB for them: the peak of a process that does nothing else, pages of files counted."""
    environment = {**os.environ, "TRANSFERKIT_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CHOICE], env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["score"] > 0.9
    assert found["more"] < found["rows"] / 4, found
