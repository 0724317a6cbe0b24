"""`features extract` computes what a run looks for, no more pictures than there are, and says what went wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import transferkit as tk
from tests.cli.calls import call
from transferkit.errors import ConfigError, DataError, StorageError
from transferkit.features import extract as room
from transferkit.features import frozen, store, stored_sets
from transferkit.runs.extraction import FeaturesExtracted
from transferkit.runs.run_record import Skipped


@pytest.fixture
def computed(monkeypatch):
    """How many rows each pass of a run computed."""
    counts = []

    def counted(*args, **kwargs):
        counts.append(room.extract(*args, **kwargs))
        return counts[-1]

    monkeypatch.setattr(frozen, "extract", counted)
    return counts


@pytest.mark.extended
@pytest.mark.parametrize(
    "settings",
    [{}, {"head": "linear", "views": 1}, {"unfreeze": "from:block4"}],
    ids=["a chosen head", "a trained head", "a tail"],
)
def test_a_run_with_the_same_settings_computes_nothing(digits, tmp_path, computed, unpublished, settings):
    found = tk.extract_features(digits, "mini", quiet=True, **settings)
    assert found.computed > 0
    assert found.unreadable == []
    short = {"epochs": 2} if settings else {}
    tk.finetune(digits, "mini", output=tmp_path / "run", quiet=True, offline=True, **settings, **short)
    assert computed, "a run has passes"
    assert not any(computed)


def test_what_is_there_is_not_computed_again_and_new_pictures_are(digits, tmp_path):
    data = tmp_path / "data"
    for name in ("0", "1"):
        shutil.copytree(digits / name, data / name)
    moved = sorted((data / "1").iterdir())[-1]
    moved.rename(tmp_path / moved.name)
    found = tk.extract_features(data, "mini", augment="none", quiet=True)
    assert (found.pictures, found.computed, found.views) == (39, 39, 1)
    (tmp_path / moved.name).rename(moved)
    found = tk.extract_features(data, "mini", augment="none", quiet=True)
    assert (found.pictures, found.computed, found.present) == (40, 1, 39)
    assert not list(store.root().glob(".extraction-*"))


def test_pictures_for_testing_are_left_alone_and_those_for_validation_get_fewer_views(digits, tmp_path):
    for part, names in (("train", "01"), ("val", "01"), ("test", "01")):
        for name in names:
            some = sorted((digits / name).iterdir())
            share = {"train": some[:8], "val": some[8:12], "test": some[12:]}[part]
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for path in share:
                shutil.copy(path, tmp_path / "data" / part / name)
    found = tk.extract_features(tmp_path / "data", "mini", head="linear", views=2, quiet=True)
    assert (found.pictures, found.for_testing) == (24, 16)
    assert found.computed == 16 * 3 + 8


@pytest.fixture
def spoilt(digits, tmp_path):
    data = tmp_path / "data"
    for name in ("0", "1"):
        shutil.copytree(digits / name, data / name)
    sorted((data / "0").iterdir())[3].write_bytes(b"no picture")
    return data


def test_what_cannot_be_read_is_named_when_all_else_is_stored(spoilt):
    with pytest.raises(DataError, match=r"(?s)1 of 40 pictures cannot be used; the rows of all others are stored.*0/"):
        tk.extract_features(spoilt, "mini", augment="none", quiet=True)
    found = tk.extract_features(spoilt, "mini", augment="none", on_bad_file="skip", quiet=True)
    assert (found.computed, found.present) == (0, 39)
    assert [Path(entry.path).parent.name for entry in found.unreadable] == ["0"]


def test_data_without_a_readable_picture_is_refused_with_the_reason(spoilt):
    for path in spoilt.glob("*/*"):
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none of 40 pictures from all over the data can be read; the first: "):
        tk.extract_features(spoilt, "mini", quiet=True)


def test_rows_for_which_there_is_no_room_are_refused_beforehand(digits, monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", "1k")
    with pytest.raises(StorageError, match=r"about 600 rows of [\d,]+ bytes .* TRANSFERKIT_CACHE_SIZE"):
        tk.extract_features(digits, "mini", quiet=True)


def test_rows_that_are_there_need_no_room_and_sets_that_nobody_uses_make_room(digits, monkeypatch):
    settings = {"augment": "none", "quiet": True}
    tk.extract_features(digits, "mini", **settings)
    (stored,) = stored_sets.listing()
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", f"{stored.bytes // 2}")
    assert tk.extract_features(digits, "mini", **settings).computed == 0
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", f"{3 * stored.bytes // 2}")
    assert tk.extract_features(digits, "mini", resize="crop", **settings).computed == 200
    assert [one.folder == stored.folder for one in stored_sets.listing()] == [False]


def test_where_it_ran_what_was_slow_and_what_cannot_be_read_is_told():
    found = FeaturesExtracted(
        data="flowers", backbone="mini", precision="float32", rows=["taps"], width=8, views=2, pictures=50,
        for_testing=5, computed=1234, present=6, seconds=1.0, store="/there", machines={"b": 20, "a": 30},
        workers_lost=1, slow=["x took long"],
        unreadable=[Skipped(path=f"{i}.jpg", reason="is empty") for i in range(22)],
    )  # fmt: skip
    assert found.lines()[1:5] == [
        "store: /there", "5 pictures that are for testing were left out",
        "pictures by machine: a 30, b 20; workers lost: 1", "took much longer than others:\n  x took long",
    ]  # fmt: skip
    listed = found.lines()[5].split("\n")
    assert (listed[:2], listed[-1], len(listed)) == (
        ["cannot be read:", "  0.jpg: is empty"], "  … and 2 more", 22,
    )  # fmt: skip
    assert replace(found, machines={"a": 50}, workers_lost=0, for_testing=0, slow=[], unreadable=[]).lines()[1:] == [
        "store: /there"
    ]


def test_settings_that_features_do_not_depend_on_are_refused(digits):
    with pytest.raises(ConfigError, match="dropout has no effect on features; leave it out"):
        tk.extract_features(digits, "mini", dropout=0.5)
    with pytest.raises(ConfigError, match="--store /there is no address such as s3://bucket/features"):
        tk.extract_features(digits, "mini", store="/there")
    with pytest.raises(ConfigError, match="--store s3://garden/f lies in the network, which --offline forbids"):
        tk.extract_features(digits, "mini", store="s3://garden/f", offline=True)


def test_the_command_says_what_it_did_and_json_has_all_of_it(digits):
    result = call("features", "extract", digits, "--backbone", "mini", "--augment", "none", "--quiet")
    assert (result.code, result.err) == (0, "")
    assert "200 rows computed and 0 there already, of 200 pictures with 1 view each (mini, taps)" in result.out
    result = call("features", "extract", digits, "--backbone", "mini", "--augment", "none", "--json")
    found = json.loads(result.out)
    assert (found["computed"], found["present"], found["unreadable"]) == (0, 200, [])


def test_wrong_commands_end_with_code_2(digits, tmp_path):
    result = call("features", "extract", digits, "--backbone", "mini", "--workers", "2")
    assert (result.code, "--workers has no effect with --engine local" in result.err) == (2, True)
    result = call("features", "fetch", tmp_path)
    assert (result.code, "is no address" in result.err) == (2, True)
