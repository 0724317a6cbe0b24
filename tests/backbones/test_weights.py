"""The weights store against a real server that misbehaves in every way that has been seen."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

from transferkit.backbones import catalog, download, weights
from transferkit.backbones.catalog import ROWS
from transferkit.errors import WeightsError
from transferkit.files import read_json

from .server import serving


def hdf5(seed=0, size=30_000):
    """A file with the outline of Keras weights."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = ["conv"]
        file["conv"] = np.random.default_rng(seed).random(size, dtype="float32")
    return buffer.getvalue()


CONTENT = hdf5()
MD5 = hashlib.md5(CONTENT).hexdigest()
NAME = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
HASHED = replace(ROWS["vgg16"], weights_hash=MD5)
UNHASHED = ROWS["mobilenet_0.25"]
UNHASHED_NAME = "mobilenet_2_5_224_tf_no_top.h5"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The same steps, without the waiting between them."""
    monkeypatch.setattr(download, "sleep", lambda _: None)
    monkeypatch.setitem(catalog.ROWS, "vgg16", HASHED)


def fetch(server, row=HASHED, **options):
    said = []
    path = weights.fetch(row, 224, mirror=server.url, reporter=said.append, **{"timeout": 5, **options})
    return path, said


def left_behind(store):
    return sorted(p.name for p in store.iterdir() if not p.name.endswith(".lock") and p.name != weights.PINS)


def test_fetch_once_then_from_the_store(store):
    with serving(CONTENT) as server:
        path, said = fetch(server)
        assert path == store / NAME
        assert path.read_bytes() == CONTENT
        assert any(server.url in text for text in said)
        fetch(server)
        assert [request[1] for request in server.requests] == [f"/{NAME}"]
    assert left_behind(store) == [NAME]


def test_weights_are_on_the_disk_before_they_have_their_name(store, synced):
    with serving(CONTENT) as server:
        path, _ = fetch(server)
    assert synced[path.stat().st_ino] == len(CONTENT)


@pytest.mark.parametrize("mood", ["drops", "stalls", "hangs_up", "503", "500", "429", "wrong", "promises_less"])
def test_one_mishap_is_overcome(store, mood):
    with serving(CONTENT, mood) as server:
        path, said = fetch(server, timeout=0.5)
        assert path.read_bytes() == CONTENT
        assert len(server.requests) == 2
    assert any("trying again (1 of 4)" in text for text in said)
    assert left_behind(store) == [NAME]


@pytest.mark.parametrize("mood", ["drops", "stalls"])
def test_a_broken_transfer_goes_on_where_it_ended(mood):
    with serving(CONTENT, mood) as server:
        path, _ = fetch(server, timeout=0.5)
        assert server.requests[1][2] == f"bytes={len(CONTENT) // 2}-"
        assert path.read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_sends_it_whole():
    with serving(CONTENT, "drops", "no_ranges") as server:
        assert fetch(server)[0].read_bytes() == CONTENT


def test_without_a_tag_nothing_is_resumed():
    with serving(CONTENT, "no_tag") as server:
        assert fetch(server)[0].read_bytes() == CONTENT
        assert server.requests[1][2] is None


def test_a_file_that_changed_meanwhile_is_not_pieced_together():
    with serving(CONTENT, "changed_drops") as server:
        assert fetch(server)[0].read_bytes() == CONTENT
        assert server.requests[1][3] == '"v2"'


def test_two_mishaps_of_different_kinds():
    with serving(CONTENT, "drops", "503", "hangs_up", "drops") as server:
        assert fetch(server)[0].read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("mood", "requests", "message"),
    [
        ("404", 1, "the server answers 404"),
        ("403", 1, "the server answers 403"),
        ("503", 3, "the server answers 503"),
        ("hangs_up", 3, "no connection|broke off"),
        ("wrong", 2, f"is not the file: its hash is [0-9a-f]+, {MD5} is published"),
        ("promises_less", 2, f"{MD5} is published"),
    ],
)
def test_giving_up_leaves_nothing_and_says_what_to_do(store, mood, requests, message):
    with serving(CONTENT, then=mood) as server:
        with pytest.raises(WeightsError, match=message) as caught:
            fetch(server, retries=2)
        assert len(server.requests) == requests
    text = str(caught.value)
    for part in (NAME, server.url, "transferkit weights add", "--weights FILE", "--weights random"):
        assert part in text
    assert left_behind(store) == []


def test_no_server_at_all(store):
    with serving(CONTENT) as server:
        pass
    with pytest.raises(WeightsError, match="no connection"):
        fetch(server, retries=1)
    assert left_behind(store) == []


def test_address_that_is_none():
    with pytest.raises(WeightsError, match="must begin with https://"):
        weights.fetch(HASHED, 224, mirror="ftp://somewhere")


def test_mirror_from_the_environment_and_a_folder_as_mirror(store, tmp_path, monkeypatch):
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / NAME).write_bytes(CONTENT)
    monkeypatch.setenv("TRANSFERKIT_WEIGHTS_MIRROR", (tmp_path / "share").as_uri())
    assert weights.fetch(HASHED, 224).read_bytes() == CONTENT
    shutil.rmtree(tmp_path / "share")
    shutil.rmtree(store)
    with pytest.raises(WeightsError, match="No such file"):
        weights.fetch(HASHED, 224)


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_asks_nobody(monkeypatch, store, how):
    with serving(CONTENT) as server:
        monkeypatch.setenv("TRANSFERKIT_OFFLINE", "1" if how == "environment" else "0")
        with pytest.raises(WeightsError, match=rf"offline, and {store / NAME} is not there.*weights add"):
            fetch(server, offline=how == "argument")
        assert server.requests == []


def test_offline_is_content_with_what_is_there(store):
    store.mkdir(parents=True)
    (store / NAME).write_bytes(CONTENT)
    assert weights.fetch(HASHED, 224, offline=True) == store / NAME


def test_a_damaged_file_is_replaced_online_and_reported_offline(store):
    store.mkdir(parents=True)
    (store / NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=f"is damaged .*expected {MD5}"):
        weights.fetch(HASHED, 224, offline=True)
    with serving(CONTENT, then="404") as server:
        with pytest.raises(WeightsError):
            fetch(server)
        assert (store / NAME).read_bytes() == CONTENT[:-1], "not removed before there is something better"
    with serving(CONTENT) as server:
        path, said = fetch(server)
        assert path.read_bytes() == CONTENT
    assert any("is damaged" in text for text in said)


def test_without_published_hash_the_first_file_is_pinned(store):
    with serving(CONTENT) as server:
        _, said = fetch(server, UNHASHED)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert read_json(store / weights.PINS) == {UNHASHED_NAME: digest}
    assert any("no hash is published" in text and digest[:12] in text for text in said)
    assert weights.verify(UNHASHED, 224).status == "pinned"
    (store / UNHASHED_NAME).write_bytes(hdf5(seed=1))
    with pytest.raises(WeightsError, match=rf"has changed since it was first used.*expected {digest}"):
        weights.fetch(UNHASHED, 224)
    weights.add(store / UNHASHED_NAME)  # the way to accept it
    assert weights.fetch(UNHASHED, 224, offline=True) == store / UNHASHED_NAME


def test_a_partial_download_left_by_keras_is_not_pinned(store):
    store.mkdir(parents=True)
    (store / UNHASHED_NAME).write_bytes(CONTENT[: len(CONTENT) // 2])
    with pytest.raises(WeightsError, match=r"is not a whole HDF5 file.*remove it to fetch it again"):
        weights.fetch(UNHASHED, 224)
    assert not (store / weights.PINS).exists()


@pytest.mark.parametrize("mood", ["wrong", "promises_less"])
def test_without_published_hash_rubbish_is_still_refused(store, mood):
    with serving(CONTENT, then=mood) as server, pytest.raises(WeightsError, match="not a whole HDF5 file"):
        fetch(server, UNHASHED)
    assert left_behind(store) == []


def test_damaged_pins_are_reported(store):
    store.mkdir(parents=True)
    (store / UNHASHED_NAME).write_bytes(CONTENT)
    (store / weights.PINS).write_text("{")
    with pytest.raises(WeightsError, match=f"{weights.PINS} is damaged"):
        weights.fetch(UNHASHED, 224)


def test_folder_that_is_not_writable_is_reported_not_moved(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))  # a file where a folder is needed: root cannot write it
    with serving(CONTENT) as server:
        with pytest.raises(WeightsError, match="is not writable; set KERAS_HOME"):
            fetch(server)
        assert server.requests == []


def test_add_by_name_by_hash_and_refusals(store, tmp_path):
    renamed = tmp_path / "renamed.h5"
    renamed.write_bytes(CONTENT)
    assert weights.add(renamed) == store / NAME
    assert renamed.exists()
    assert weights.verify(HASHED, 224).status == "verified"
    unknown, damaged = tmp_path / "mine.h5", tmp_path / NAME
    unknown.write_bytes(hdf5(seed=5))
    damaged.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=r"neither by name nor by hash.*--weights FILE"):
        weights.add(unknown)
    with pytest.raises(WeightsError, match=f"is not added: its hash is .*{MD5} is published"):
        weights.add(damaged)
    with pytest.raises(WeightsError, match="no file"):
        weights.add(tmp_path / "absent.h5")


def test_listing_names_every_file(store):
    store.mkdir(parents=True)
    (store / UNHASHED_NAME).write_bytes(CONTENT)
    entries = weights.listing()
    assert {e.file for e in entries if e.status == "present"} == {UNHASHED_NAME}
    # Four widths of MobileNet at four sizes, six of MobileNetV2 at five; the other networks have one file
    # each, the two bundled ones none.
    assert len(entries) == len({e.file for e in entries}) == 4 * 4 + 6 * 5 + (len(ROWS) - 2 - 4 - 6)


FETCH = """
import sys
from dataclasses import replace
from transferkit.backbones import weights
from transferkit.backbones.catalog import ROWS
row = replace(ROWS["vgg16"], weights_hash=sys.argv[2])
print(weights.fetch(row, 224, mirror=sys.argv[1]))
"""


def start(server):
    return subprocess.Popen([sys.executable, "-c", FETCH, server.url, MD5], env=dict(os.environ))


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_two_processes_transfer_one_file_once(store):
    with serving(CONTENT, "slow") as server:
        processes = [start(server), start(server)]
        assert [p.wait(60) for p in processes] == [0, 0]
        assert len(server.requests) == 1
    assert (store / NAME).read_bytes() == CONTENT
    assert left_behind(store) == [NAME]


def test_what_a_killed_fetch_half_wrote_goes_with_the_next_one(store, monkeypatch, tmp_path):
    store.mkdir(parents=True, exist_ok=True)
    of_others = store / ".other_weights.h5.1-aaaaaaaa.tmp.h5"
    leftovers = [store / f"..{NAME}.part.1-aaaaaaaa.tmp.json", of_others]
    for path in leftovers:
        path.write_text("{")
    with serving(CONTENT) as server:
        fetch(server)
    assert [path.exists() for path in leftovers] == [False, True]  # somebody may be writing that one now
    given = tmp_path / UNHASHED_NAME
    given.write_bytes(CONTENT)
    stem = UNHASHED_NAME.removesuffix(".h5")
    leftovers = [store / f".{stem}.1-aaaaaaaa.tmp.h5", store / ".transferkit-pins.1-aaaaaaaa.tmp.json"]
    for path in leftovers:
        path.write_text("{")
    weights.add(given)
    assert not any(path.exists() for path in leftovers)
    assert (store / UNHASHED_NAME).read_bytes() == CONTENT


def test_killed_once_the_file_is_there_nothing_else_stays(store, monkeypatch):
    class KilledError(BaseException):
        pass

    def kill(folder):
        raise KilledError

    monkeypatch.setattr(download, "sync_folder", kill)
    with serving(CONTENT) as server, pytest.raises(KilledError):
        fetch(server)
    assert weights.fetch(HASHED, 224, offline=True).read_bytes() == CONTENT
    assert left_behind(store) == [NAME]


def test_killed_in_the_middle_then_resumed(store):
    part = store / f".{NAME}.part"
    with serving(CONTENT, "stalls") as server:
        process = start(server)
        wait_for(lambda: server.requests)
        wait_for(lambda: part.exists() and part.stat().st_size >= len(CONTENT) // 2)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert not (store / NAME).exists(), "never a partial file under the final name"
        have = part.stat().st_size
        assert have == len(CONTENT) // 2
        path, _ = fetch(server)
        assert path.read_bytes() == CONTENT
        assert server.requests[1][2] == (f"bytes={have}-")
    assert left_behind(store) == [NAME]
