"""Views that processes draw are those that this process draws, and nothing hangs on a process."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from transferkit.data.augmentation import processes
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings, PictureError
from transferkit.data.source import scan
from transferkit.data.threads import map_ordered
from transferkit.features.row_sources import Views

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no processes draw on this system")
VIEWS = Views(DecodeSettings(32), augmentation("light"), 2, 0)


@pytest.fixture
def two() -> Iterator[processes.Drawers]:
    processes.begin(2)
    found = processes.drawers()
    assert found is not None
    yield found
    processes.end()
    assert processes.drawers() is None


def test_views_are_the_same_wherever_they_are_drawn(digits: Path, two: processes.Drawers) -> None:
    samples = scan(digits).hashed()
    for views in (VIEWS, dataclasses.replace(VIEWS, mirrored=True)):

        def drawn(index: int, views: Views = views) -> np.ndarray:
            return views.pixels(samples, index, [0, 1, 2])

        elsewhere = list(map_ordered(drawn, range(12), threads=4))
        assert len(two._free.queue) == 2
        processes.end()
        np.testing.assert_array_equal(elsewhere, [drawn(index) for index in range(12)])
        processes.begin(2)


def test_a_picture_that_changed_is_named(digits: Path, tmp_path: Path, two: processes.Drawers) -> None:
    first = scan(digits)
    place = tmp_path / "data" / "one"
    place.mkdir(parents=True)
    for index in range(2):
        (place / f"{index}.png").write_bytes(Path(str(first.source(index))).read_bytes())
    (tmp_path / "data" / "two").mkdir()
    (tmp_path / "data" / "two" / "x.png").write_bytes(Path(str(first.source(3))).read_bytes())
    samples = scan(tmp_path / "data").hashed()
    Path(str(samples.source(0))).write_bytes(b"no picture")
    with pytest.raises(PictureError, match="changed"):
        VIEWS.pixels(samples, 0, [0])
    assert VIEWS.pixels(samples, 1, [0]).shape == (1, 32, 32, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="by /proc")
def test_pictures_are_drawn_where_the_processes_were_killed(digits: Path, two: processes.Drawers) -> None:
    samples = scan(digits).hashed()
    expected = VIEWS.pixels(samples, 0, [1])
    for one in two._all:
        os.kill(one.pid, signal.SIGKILL)
    for _ in range(3):
        np.testing.assert_array_equal(VIEWS.pixels(samples, 0, [1]), expected)
