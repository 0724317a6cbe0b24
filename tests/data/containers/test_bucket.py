"""Data in a bucket, of a real S3-compatible server on this machine, over a line that breaks and stalls."""

from __future__ import annotations

import io
import os
import socket
import struct
import threading
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.data.readers.forms import Corpus, folder
from tests.data.readers.training import finetune, outcome
from transferkit.data.containers import bucket
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.data.source import origin_of, scan
from transferkit.errors import DataError

pytestmark = [
    pytest.mark.extended,  # starts a server: about ten seconds
    pytest.mark.filterwarnings("ignore"),  # of the server and of the client's own libraries
]


class Line:
    """A line to the server, of which chosen connections are reset before, or in the middle of, the answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.breaks: list[int] = []  # bytes of the answer after which the line of the next fetches is reset
        self.count = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.own = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        left: list[int] = []  # bytes until the reset, once a request is one to break
        try:
            with socket.create_connection(("127.0.0.1", self.port)) as server, client:
                threading.Thread(target=self._pump, args=(client, server, left), daemon=True).start()
                while block := server.recv(4096):
                    if left:
                        block, left[0] = block[: left[0]], left[0] - len(block)
                    client.sendall(block)
                    if left and left[0] <= 0:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                        return
        except OSError:
            return

    def _pump(self, client: socket.socket, server: socket.socket, left: list[int]) -> None:
        try:
            while block := client.recv(4096):
                if block.startswith(b"GET") and self.breaks:
                    left[:] = [self.breaks.pop(0)]
                server.sendall(block)
        except OSError:
            return

    def close(self) -> None:
        self._server.close()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import boto3
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        port = server.get_host_and_port()[1]
        own = Line(port)
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in keys.items():
                patch.setenv(name, value)
            client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
            client.create_bucket(Bucket="garden")
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                for name, label, content in Corpus():
                    client.put_object(Bucket="garden", Key=f"flowers/{label}/{name}.png", Body=content)
                    archive.writestr(f"flowers/{label}/{name}.png", content)
            client.put_object(Bucket="garden", Key="flowers.zip", Body=packed.getvalue())
            rows = "".join(f"flowers/{label}/{name}.png,{label}\n" for name, label, _ in Corpus())
            client.put_object(Bucket="garden", Key="data.csv", Body=f"path,label\n{rows}".encode())
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{own.own}")
            yield own
        own.close()
        server.stop()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    bucket._bucket.cache_clear()
    monkeypatch.setattr(bucket, "_PAUSE", 0.05)
    monkeypatch.setattr(bucket, "_STALLED", 2)  # the line of the tests does not say that it is broken


@pytest.mark.parametrize("source", ["s3://garden/flowers", "s3://garden/flowers.zip", "s3://garden/data.csv"])
def test_data_in_a_bucket_is_the_same_data(source: str, line: Line) -> None:
    corpus = Corpus()
    found = scan(source).hashed()
    assert found.classes == ("daisy", "rose", "tulip")
    assert len(found) == 120
    assert np.array_equal(decode(found.pinned(77), DecodeSettings(32)), corpus.pixels[77])
    assert origin_of(source) == source


@pytest.mark.parametrize("source", ["s3://garden/flowers", "s3://garden/flowers.zip"])
def test_data_in_a_bucket_trains_to_the_same_scores(source: str, line: Line, tmp_path: Path) -> None:
    plain, _ = folder(Corpus(), tmp_path)
    assert outcome(finetune(source, tmp_path / "run")) == outcome(finetune(plain, tmp_path / "plain"))


def test_what_was_fetched_is_read_from_the_cache(line: Line) -> None:
    found = scan("s3://garden/flowers").hashed()
    before = line.count
    again = scan("s3://garden/flowers").hashed()
    assert again.sha256 == found.sha256
    assert line.count - before <= 2
    assert len(list((Path(os.environ["TRANSFERKIT_CACHE"]) / "fetched").rglob("*.png"))) == 120


def test_a_line_that_breaks_is_tried_again_and_nothing_half_is_kept(line: Line) -> None:
    line.breaks[:] = [1, 3000, 20_000]
    found = scan("s3://garden/flowers.zip").hashed()
    assert not line.breaks
    assert len(found) == 120


def test_what_is_not_there_is_refused_and_named(line: Line) -> None:
    with pytest.raises(DataError, match=r"s3:/+garden/flowrs does not exist"):
        scan("s3://garden/flowrs")
