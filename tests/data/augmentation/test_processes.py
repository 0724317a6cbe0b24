"""Views that processes draw are those that this process draws, and nothing hangs on a process."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from transferkit.data.augmentation import processes
from transferkit.data.augmentation.augment import augmentation, view_seed
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
        assert two._free.qsize() == 2
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


def test_pictures_of_one_question_are_drawn_into_their_places(
    digits: Path, tmp_path: Path, two: processes.Drawers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files by their place, those in an archive as bytes, a changed one here; in as many questions as have room."""
    folder = tmp_path / "data"
    shutil.copytree(digits, folder)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", digits)
    monkeypatch.setattr(processes, "ROOM", 3 * 7000)  # of the shared memory, which the processes have in full
    asked: list[int] = []
    inner = processes._Process.draw
    monkeypatch.setattr(
        processes._Process, "draw", lambda one, how, size, some, into: asked.append(len(some))
        or inner(one, how, size, some, into),
    )  # fmt: skip
    for data in (folder, Path(archive)):
        samples = scan(data).hashed()
        changed = data == folder
        if changed:
            Path(str(samples.source(1))).write_bytes(Path(str(samples.source(0))).read_bytes())
        asked.clear()
        found = np.zeros((6, 2, 32, 32, 3), np.uint8)
        errors = VIEWS.draw(samples, [(i, [0, 1]) for i in range(6)], list(found))
        assert asked == [3, 3]
        assert [error is not None for error in errors] == [False, changed, *[False] * 4]
        for i in range(6):
            seeds = [view_seed(0, samples.sha256[i], view) for view in (0, 1)]
            if errors[i] is None:
                alone = np.zeros_like(found[i])
                VIEWS._drawing.draw(samples.source(i), seeds, alone)
                np.testing.assert_array_equal(found[i], alone)


@pytest.mark.parametrize("augment", ["light", "none"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_pictures_that_are_asked_for_again_are_kept(
    digits: Path, two: processes.Drawers, augment: str, mirrored: bool, tmp_path: Path
) -> None:
    """Clean and changed ones, by whichever process; they are not read a second time, and the views are the same."""
    folder = tmp_path / "data"
    shutil.copytree(digits, folder)
    samples = scan(folder).hashed()
    views = Views(DecodeSettings(32), augmentation(augment), 2, 0, mirrored)

    def drawn(view: int, again: bool) -> np.ndarray:
        found = np.zeros((8, 1, 32, 32, 3), np.uint8)
        for start in range(0, 8, 2):  # a question each, of which the two processes take one in turn
            work = [(i, [view]) for i in range(start, start + 2)]
            assert views.draw(samples, work, list(found[start : start + 2]), again) == [None, None]
        return found

    expected = [drawn(view, again=False) for view in range(3)]
    assert not two._kept
    for view in (0, 1):
        np.testing.assert_array_equal(drawn(view, again=True), expected[view])
    assert len(two._kept) == 2 * len({samples.sha256[i] for i in range(8)})  # type: ignore[index]
    shutil.rmtree(folder)
    for view in range(3):
        np.testing.assert_array_equal(drawn(view, again=True), expected[view])
    with pytest.raises(AssertionError):
        drawn(1, again=False)


def test_what_has_no_room_is_drawn_from_its_file(
    digits: Path, two: processes.Drawers, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = scan(digits).hashed()
    expected = [VIEWS.pixels(samples, i, [1]) for i in range(8)]
    for room in (0, 3 * 32 * 32 * 3 * 2):  # none, and three pictures for each of the two
        processes.end()
        monkeypatch.setattr(processes.kept_canvases, "most", lambda room=room: room)
        processes.begin(2)
        drawers = processes.drawers()
        assert drawers is not None
        for _ in range(2):
            for i in range(8):
                found = np.zeros((1, 32, 32, 3), np.uint8)
                assert VIEWS.draw(samples, [(i, [1])], [found], again=True) == [None]
                np.testing.assert_array_equal(found, expected[i])
        assert len(drawers._kept) == (6 if room else 0)


def test_threads_share_few_processes(digits: Path, two: processes.Drawers) -> None:
    """A thread that finds none free waits for one: drawing here would take turns with all others."""
    samples = scan(digits).hashed()
    here: list[object] = []
    views = dataclasses.replace(VIEWS)
    object.__setattr__(views, "_drawing", type("Here", (), {"draw": lambda *_: here.append(1)})())
    views.__dict__["_pickled"] = VIEWS._pickled
    list(map_ordered(lambda i: views.draw(samples, [(i, [1])], [np.empty((1, 32, 32, 3), np.uint8)]), range(16), 8))
    assert not here


@pytest.mark.skipif(sys.platform != "linux", reason="by /proc")
def test_pictures_are_drawn_where_the_processes_were_killed(digits: Path, two: processes.Drawers) -> None:
    samples = scan(digits).hashed()
    expected = VIEWS.pixels(samples, 0, [1])
    for one in two._all:
        os.kill(one.pid, signal.SIGKILL)
    for _ in range(3):
        np.testing.assert_array_equal(VIEWS.pixels(samples, 0, [1]), expected)


def test_processes_that_began_in_another_folder_draw_the_same(
    digits: Path, tmp_path: Path, two: processes.Drawers, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(digits, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    samples = scan("data").hashed()
    drawn = VIEWS.pixels(samples, 0, [0, 1])
    processes.end()
    np.testing.assert_array_equal(drawn, VIEWS.pixels(samples, 0, [0, 1]))
    processes.begin(2)


@pytest.mark.skipif(sys.platform != "linux", reason="by signals")
def test_a_process_that_hangs_is_given_up(
    digits: Path, two: processes.Drawers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    monkeypatch.setattr(processes, "ENDING", 0.2)
    samples = scan(digits).hashed()
    for one in two._all:
        os.kill(one.pid, signal.SIGSTOP)
    for index in range(3):
        assert VIEWS.pixels(samples, index, [1]).shape == (1, 32, 32, 3)
    assert [two._free.get() for _ in range(2)] == [None, None]
    for _ in range(2):
        two._free.put(None)


def test_a_picture_that_takes_more_memory_than_a_process_has_is_drawn_here(
    tmp_path: Path, two: processes.Drawers, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.end()
    program = "from transferkit.data.augmentation import drawing_process as one"
    program += "; one.machine_memory = lambda: 1; one.serve()"
    monkeypatch.setattr(processes, "PROGRAM", program)
    processes.begin(1)
    from PIL import Image

    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        Image.new("RGB", (2500, 2500), (200, 100, 50)).save(tmp_path / kind / "0.png")
    samples, drawers = scan(tmp_path).hashed(), processes.drawers()
    assert drawers is not None
    answers: list[object] = []
    inner = processes._Process.draw
    monkeypatch.setattr(processes._Process, "draw", lambda *given: answers.append(inner(*given)) or answers[-1])
    assert VIEWS.pixels(samples, 0, [0]).shape == (1, 32, 32, 3)
    assert answers == [[False]]


def test_processes_that_cannot_begin_are_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    inner = subprocess.Popen

    def refuse(*given: object, **named: object) -> object:
        asked.append(given)
        if len(asked) > 1:
            raise BlockingIOError("no more processes")
        return inner(*given, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(processes, "_refused", False)
    monkeypatch.setattr(processes.subprocess, "Popen", refuse)
    for _ in range(3):
        processes.begin(4)
        assert processes.drawers() is None
    assert len(asked) == 2
