import errno
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.cli.calls import call
from transferkit import cache_quota
from transferkit.features import store, stored_sets

from .rows import SHAPES, SPEC, names, rows


@pytest.fixture
def features():
    return store.open_set(SPEC, SHAPES)


def test_the_least_recently_used_go_first():
    sets = []
    for number in range(3):
        one = store.open_set({**SPEC, "rows": str(number)}, SHAPES)
        one.append(names(50), rows(50))
        sets.append(one)
    for age, one in ((30, sets[1]), (20, sets[0]), (10, sets[2])):
        os.utime(one.folder / "set.json", (time.time() - age, time.time() - age))
    sets[0].refresh()  # used again: now the most recent
    sizes = {entry.spec["rows"]: entry.bytes for entry in stored_sets.listing()}
    sets.clear()  # nobody uses them any more
    del one
    removed, freed = stored_sets.clear(sizes["0"] + sizes["2"])
    assert (removed, freed) == (1, sizes["1"])
    assert [entry.spec["rows"] for entry in stored_sets.listing()].count("1") == 0
    assert stored_sets.clear(sizes["0"])[0] == 1
    assert [entry.spec["rows"] for entry in stored_sets.listing()] == ["0"]
    assert stored_sets.clear()[0] == 1
    assert stored_sets.listing() == []


def test_a_set_that_was_cleared_meanwhile_is_made_again(features):
    features.append(names(2), rows(2))
    shutil.rmtree(features.folder)
    features.append(["later"], rows(1))
    again = store.open_set(SPEC, SHAPES)
    assert again.missing(["later", "p0"]) == {"p0"}
    assert [entry.spec for entry in stored_sets.listing()] == [SPEC]


def test_a_damaged_description_can_still_be_listed_and_cleared():
    (store.open_set(SPEC, SHAPES).folder / "set.json").write_text("{")
    (entry,) = stored_sets.listing()
    assert entry.spec["network"] == "(damaged)"
    assert stored_sets.clear()[0] == 1


def test_room_counts_what_is_lacking_and_what_is_promised():
    fits, needed, free = stored_sets.room_for(10, 100)
    assert (fits, needed) == (True, 4000)
    assert stored_sets.room_for(10, 10000)[1] == 10 * 10000 * 2
    assert not stored_sets.room_for(free, 100)[0]
    assert not stored_sets.room_for(10, 100, promised=2 * free)[0]  # others may be deleting meanwhile
    assert stored_sets.room_for(0, 100, promised=2 * free)[0]  # all of it is stored already


def filled(rows, count=25, width=1000):
    """A set of `count` KB × 4 that nobody uses any more, used `rows` seconds after the others."""
    one = store.open_set({**SPEC, "rows": rows}, [(width,)])
    one.append([f"{rows}-{i}" for i in range(count)], np.zeros((count, width), np.float32))
    os.utime(one.folder / "set.json", (int(rows), int(rows)))
    return one


def kept_rows():
    return sorted(entry.spec["rows"] for entry in stored_sets.listing())


def test_sets_that_nobody_uses_make_room_least_recently_used_first(monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", "450KB")
    kept = filled("1")  # the oldest, and in use
    for name in "234":
        filled(name)
    assert stored_sets.room_for(20, 1000)[0] is False  # 4 × 0.1 MB are there
    removed, freed = stored_sets.make_room(80_000)
    assert (removed, kept_rows()) == (1, ["1", "3", "4"])
    assert freed > 100_000
    assert stored_sets.room_for(20, 1000)[0]
    assert stored_sets.make_room(80_000) == (0, 0)
    assert stored_sets.make_room(300_000)[0] == 2
    assert kept_rows() == ["1"]
    assert stored_sets.make_room(440_000) == (0, 0)  # what is in use stays, room or not
    assert kept.gather(*kept.places(["1-0"])).shape == (1, 1000)


def test_nothing_is_evicted_in_vain(monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", "300 KB")
    filled("1")
    assert stored_sets.make_room(400_000) == (0, 0)
    assert kept_rows() == ["1"]


def test_a_set_that_another_process_uses_is_not_removed(monkeypatch, cache):
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", "150kb")
    filled("1")
    code = (
        "import sys; from transferkit.features import store\n"
        f"one = store.open_set({ {**SPEC, 'rows': '1'}!r}, [(1000,)])\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "open\n"
        assert stored_sets.make_room(100_000) == (0, 0)
        assert stored_sets.clear() == (0, 0)
        assert "1 left: a running job uses them" in call("cache", "clear").out
        assert kept_rows() == ["1"]
        other.kill()
        other.wait()
        assert stored_sets.make_room(100_000)[0] == 1
    finally:
        other.kill()
        other.communicate()


def test_where_nobody_can_tell_who_uses_a_set_the_users_word_counts(monkeypatch):
    filled("1")

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(cache_quota.fcntl, "flock", no_locks)
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", "150kb")
    assert stored_sets.make_room(100_000) == (0, 0)
    assert stored_sets.clear()[0] == 1
