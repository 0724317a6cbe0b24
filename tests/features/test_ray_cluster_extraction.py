"""Extraction on a real cluster of three nodes: killed workers, a lost node, a killed asking process, a bucket."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest

import transferkit as tk
from tests.features.ray_job import Held, settings
from tests.marks import RAY
from tests.ray_nodes import ROOT, SIGNS, begun, lose_a_worker_and_a_node, three_nodes
from transferkit.data.source import scan
from transferkit.features import extraction_engines, ray_shards, shard_store, store

pytestmark = RAY


@pytest.fixture(scope="module")
def bucket_address():
    """A server that speaks S3, with an empty bucket; its address is in the environment, as on real nodes."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        import boto3
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        address = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
        }.items():  # fmt: skip
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="garden")
        yield "s3://garden/features"
        server.stop()


@pytest.fixture(scope="module")
def cluster(bucket_address):
    """Three nodes of one CPU each."""
    with three_nodes() as found:
        yield found


@pytest.fixture
def signs(tmp_path, monkeypatch):
    folder = tmp_path / "signs"
    folder.mkdir()
    monkeypatch.setenv(SIGNS, str(folder))
    return folder


def asked(digits, cluster, workers=3, **more):
    return tk.extract_features(
        digits, "mini", engine="ray", address=cluster.address, workers=workers, worker_cpus=1, **settings(), **more
    )


def content(digits, folder: Path | None = None):
    """All rows of the one set in a store, in the order of pictures and views, and the names they were asked by."""
    from transferkit.data.augmentation.augment import augmentation
    from transferkit.data.images.decode import DecodeSettings
    from transferkit.features.row_sources import Views

    views = Views(DecodeSettings(32), augmentation("light"), 2, 0)
    hashes = scan(digits).hashed().sha256
    (about,) = (folder or store.root()).glob("*/*/set.json")
    features = store.FeatureSet(about.parent, {}, [(_width(about.parent),)])
    return features.gather(*features.places([views.name(sha, view) for sha in hashes for view in range(3)]))


def _width(folder: Path) -> int:
    return int(np.load(next(folder.glob("chunk-*.npy")), mmap_mode="r").shape[1])


@pytest.fixture(scope="module")
def expected(digits, tmp_path_factory):
    """The rows as one process computes them, in a store of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(tmp_path_factory.mktemp("alone")))
        found = tk.extract_features(digits, "mini", **settings())
        assert found.computed + found.present == 600
        return content(digits)


def test_rows_in_a_bucket_are_those_of_one_machine_and_a_second_time_nothing_is_computed(
    cluster, digits, bucket_address, expected
):
    found = asked(digits, cluster, workers=2, store=bucket_address)
    assert (found.pictures, found.computed + found.present, found.unreadable) == (200, 600, [])
    again = asked(digits, cluster, workers=1, store=bucket_address)
    assert (again.computed, again.present) == (0, 600)
    assert not list(store.root().glob("*/*/chunk-*"))
    chunks, size = shard_store.fetch(bucket_address)
    assert chunks >= 3
    assert size > 600 * 4 * 64
    assert np.array_equal(content(digits), expected)
    assert shard_store.fetch(bucket_address) == (0, 0)


def test_a_killed_asking_process_leaves_no_worker_and_the_same_command_goes_on(
    tmp_path, cluster, digits, signs, expected
):
    command = [sys.executable, "-m", "tests.features.ray_job", str(digits), cluster.address]
    with open(tmp_path / "err", "wb") as err:
        asking = subprocess.Popen(command, stdout=err, stderr=err, cwd=ROOT)
        first, _, _ = begun(signs, 1)[0]
        (signs / f"go-{first}").touch()
        ends = time.monotonic() + 200
        while not list(store.root().glob("*/*/chunk-*.json")):
            assert asking.poll() is None, (tmp_path / "err").read_text()
            assert time.monotonic() < ends, (tmp_path / "err").read_text()
            time.sleep(0.05)
        workers = [psutil.Process(process) for _, _, process in begun(signs, 2) if psutil.pid_exists(process)]
        asking.kill()
        asking.wait()
    _, alive = psutil.wait_procs(workers, timeout=90)
    assert not alive
    found = asked(digits, cluster, workers=1)
    assert found.present >= 3 * 64 - 8, "what one worker had stored"
    assert 0 < found.computed <= 600 - found.present
    assert np.array_equal(content(digits), expected)


def test_a_killed_worker_and_a_lost_node_cost_their_shards_and_no_row(cluster, digits, signs, expected, monkeypatch):
    """The last test: of the three nodes one is gone afterwards."""
    monkeypatch.setattr(extraction_engines, "ShardWorker", Held)
    monkeypatch.setattr(ray_shards, "LOOK", 0.5)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(asked(digits, cluster)), daemon=True)
    thread.start()
    lose_a_worker_and_a_node(cluster, signs)
    thread.join(200)
    assert found, "the extraction did not end"
    report = found[0]
    assert report.workers_lost == 2
    assert (report.pictures, report.computed + report.present, report.unreadable) == (200, 600, [])
    assert np.array_equal(content(digits), expected)
