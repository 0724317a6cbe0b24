"""Data behind addresses, in Google's and Azure's stores and on the hub: of servers on this machine that fail."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.data.containers.servers import Azure, Google, Hub, Store, serving
from tests.data.readers import forms
from tests.data.readers.forms import CLASSES, Corpus
from tests.data.readers.training import finetune, outcome
from transferkit.data.containers import bucket, kept, kinds
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.data.readers.request import Reading
from transferkit.data.source import scan
from transferkit.delivery.inputs import find
from transferkit.errors import DataError, TransferKitError

pytestmark = pytest.mark.filterwarnings("ignore")  # of the clients' own libraries


def flowers() -> dict[str, bytes]:
    files = {f"flowers/{label}/{name}.png": content for name, label, content in Corpus()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    rows = "".join(f"{name},{name.split('/')[1]}\n" for name in files)
    return files | {"flowers.zip": packed.getvalue(), "data.csv": f"path,label\n{rows}".encode()}


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bucket, "_PAUSE", 0.02)
    monkeypatch.setattr(kept, "_sum", None)
    forget()


def forget() -> None:
    """As a new process would begin."""
    bucket._bucket.cache_clear()
    kinds._open.clear()
    kinds._opened_before.clear()


@pytest.fixture
def web(fresh: None) -> Iterator[Store]:
    pytest.importorskip("aiohttp")
    with serving(Store(flowers())) as store:
        yield store


def archive(store: Store) -> str:
    return f"http://127.0.0.1:{store.port}/flowers.zip"


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("piece", [32 << 20, 50_000])
def test_an_archive_behind_an_address_is_the_same_data(
    ranges: bool, piece: int, web: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "_PIECE", piece)
    web.ranges = ranges
    opened: list[Path] = []
    zipped = kinds.Zip
    monkeypatch.setattr(kinds, "Zip", lambda name, path: opened.append(path) or zipped(name, path))
    found = scan(archive(web)).hashed()
    assert (len(found), found.classes) == (120, CLASSES)
    assert len(opened) == 1
    corpus = Corpus()
    assert np.array_equal(decode(found.pinned(77), DecodeSettings(32)), corpus.pixels[77])
    assert len(kept.files("fetched")) == 1


def test_a_line_that_breaks_or_stalls_is_tried_again_in_the_piece_that_it_broke_in(
    web: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "_PIECE", 200_000)
    monkeypatch.setattr(bucket, "_STALLED", 0.3)
    web.failures[:] = ["reset", "stall", "503"]
    assert len(scan(archive(web)).hashed()) == 120
    assert not web.failures
    asked = [line for line in web.asked if "bytes=" in line]
    size = len(web.files["flowers.zip"])
    assert len(asked) == -(-size // 200_000) + 3
    assert [line for line in asked if "bytes=0-" in line] == asked[:4]


def test_a_server_that_is_down_for_a_moment_is_not_taken_for_one_without_the_file(web: Store) -> None:
    web.heads, web.failures[:] = True, ["503"] * 3
    assert len(scan(archive(web)).hashed()) == 120
    assert not web.failures


def test_what_always_fails_is_told_and_nothing_half_is_kept(web: Store) -> None:
    for failure, told in (("reset", "cannot be fetched, tried 4 times"), ("403", "look at the credentials")):
        forget()
        web.failures[:] = [failure] * 40
        with pytest.raises(TransferKitError, match=told):  # which people are told, not that this is a bug
            scan(archive(web)).hashed()
    assert [path for path in kept.store("fetched").rglob("*") if path.is_file()] == []
    web.failures[:] = []
    forget()
    with pytest.raises(DataError, match="does not exist"):
        scan(f"http://127.0.0.1:{web.port}/flowrs.zip")


def test_a_store_that_refuses_to_list_a_folder_is_bad_input(web: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def ls(self, path: str, detail: bool) -> None:
            raise ConnectionError("Name or service not known")

        info = ls

    monkeypatch.setattr(bucket, "_filesystem", lambda *_: Refusing())
    result = call("data", "summary", "s3://nowhere/flowers")
    assert (result.code, "look at the address, the network" in result.err) == (2, True), result.err


@pytest.mark.parametrize("headers", [True, False])
def test_what_has_changed_is_fetched_anew_and_what_has_not_is_not(headers: bool, web: Store) -> None:
    web.headers = headers
    scan(archive(web)).hashed()

    def fetched() -> int:
        before = len(web.asked)
        forget()
        scan(archive(web)).hashed()
        return sum(line.startswith("GET") for line in web.asked[before:])

    # Where nothing tells whether it has changed, it is kept for this process alone.
    assert fetched() == 0
    content = bytearray(web.files["flowers.zip"])
    web.files["flowers.zip"] = bytes(content[:-2]) + b"\1\0x"  # a comment behind the archive
    assert fetched() == 1


def test_a_file_that_changes_while_it_is_fetched_is_refused(web: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "_PIECE", 200_000)
    part = bucket.Bucket._part

    def changing(self: bucket.Bucket, name: str, size: int, start: int | None, end: int | None) -> bytes:
        found = part(self, name, size, start, end)
        content = bytearray(web.files[name])
        content[-1] = (content[-1] + 1) % 256
        web.files[name] = bytes(content)
        return found

    monkeypatch.setattr(bucket.Bucket, "_part", changing)
    with pytest.raises((DataError, OSError), match="was changed while it was fetched"):
        scan(archive(web))


# ------------------------------------------------------------------------------------------ stores


@pytest.fixture(scope="module")
def plain_outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What training on the same pictures in a folder comes to."""
    source, _ = forms.folder(Corpus(), tmp_path_factory.mktemp("plain"))
    return outcome(finetune(source, tmp_path_factory.mktemp("plain run") / "run"))


def same(source: str, **options: str) -> None:
    corpus, found = Corpus(), scan(source, reading=Reading.checked(options)).hashed()
    assert (len(found), found.classes) == (120, CLASSES)
    assert np.array_equal(decode(found.pinned(77), DecodeSettings(32)), corpus.pixels[77])


@pytest.fixture
def google(fresh: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # which asks Google by another protocol
    pytest.importorskip("gcsfs").GCSFileSystem.clear_instance_cache()
    with serving(Store(flowers()), Google) as store:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{store.port}")
        yield store


def forget_google() -> None:
    """As a new process would begin: its library keeps what it listed."""
    pytest.importorskip("gcsfs").GCSFileSystem.clear_instance_cache()
    forget()


@pytest.fixture
def azure(fresh: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    pytest.importorskip("adlfs").AzureBlobFileSystem.clear_instance_cache()
    with serving(Store(flowers()), Azure) as store:
        monkeypatch.setenv(
            "AZURE_STORAGE_CONNECTION_STRING",
            "DefaultEndpointsProtocol=http;AccountName=account;AccountKey=a2V5;"
            f"BlobEndpoint=http://127.0.0.1:{store.port}/account;",
        )
        yield store


@pytest.mark.extended
@pytest.mark.parametrize("name", ["flowers", "flowers.zip"])
@pytest.mark.parametrize("kind", ["google", "azure"])
def test_data_in_a_store_is_the_same_data(kind: str, name: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(kind)
    address = {"google": "gs", "azure": "az"}[kind] + f"://garden/{name}"
    same(address)
    count = len(store.asked)
    forget()
    same(address)
    assert not [line for line in store.asked[count:] if "alt=media" in line]
    if name.endswith(".zip"):
        store.failures[:] = ["reset"]
        forget()  # lets go of the archive, which is not cleared while it is open
        assert kept.clear("fetched")[0] == 1
        same(address)
        assert not store.failures
    with pytest.raises(DataError, match="does not exist"):
        scan(address.replace("garden", "garden/none"))


@pytest.mark.extended
@pytest.mark.parametrize("form", ["webdataset", "tfrecords", "tfds", "hub folder"])
def test_folders_of_shards_in_a_store_are_the_same_data(form: str, google: Store, tmp_path: Path) -> None:
    source, options = forms.FORMS[form](Corpus(), tmp_path)
    for path in source.rglob("*"):
        if path.is_file() and path.name != "names.json":
            google.files[f"shards/{path.relative_to(source).as_posix()}"] = path.read_bytes()
    same("gs://garden/shards", **options)


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["web", "google", "azure"])
def test_data_in_a_store_trains_to_the_same_scores(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, plain_outcome: dict[str, Any]
) -> None:
    store: Store = request.getfixturevalue(kind)
    address = {"web": archive(store), "google": "gs://garden/flowers", "azure": "az://garden/flowers"}[kind]
    assert outcome(finetune(address, tmp_path / "run")) == plain_outcome


@pytest.mark.extended
@pytest.mark.parametrize("name", ["flowers", "flowers.zip"])
def test_a_split_of_a_store_is_data_where_it_says_that_it_belongs(name: str, google: Store, tmp_path: Path) -> None:
    for command, file in (("split", "splits.csv"), ("convert", "list.csv")):
        words = ["--output", tmp_path / file] if command == "split" else [tmp_path / file]
        result = call("data", command, f"gs://garden/{name}", *words)
        where = "gs://garden/flowers" if name == "flowers" else "gs://garden"
        assert (result.code, f"the paths lead from {where}: put {file} there" in result.out) == (0, True), result.err
        place = f"{where}/{file}".removeprefix("gs://garden/")
        google.files[place] = (tmp_path / file).read_bytes()
        forget_google()
        same(f"gs://garden/{place}")
        del google.files[place]
        forget_google()


def test_a_split_of_what_lies_behind_an_address_is_refused_with_what_to_do(web: Store, tmp_path: Path) -> None:
    result = call("data", "split", archive(web), "--output", tmp_path / "splits.csv")
    assert (result.code, "make a copy of them first" in result.err) == (2, True), result.err
    assert list(tmp_path.glob("*.csv")) == []


@pytest.mark.extended
def test_films_in_a_store_are_read_and_damaged_ones_called_by_their_address(google: Store, tmp_path: Path) -> None:
    source, options = forms.FORMS["films"](Corpus(), tmp_path)
    for path in source.rglob("*.mov"):
        google.files[f"films/{path.relative_to(source).as_posix()}"] = path.read_bytes()
    same("gs://garden/films", **options)
    rows = "".join(f"{name},{name.split('/')[1]}\n" for name in sorted(google.files) if name.endswith(".mov"))
    google.files["films.csv"] = f"path,label\n{rows}".encode()
    same("gs://garden/films.csv", **options)
    assert [path.name for path in find([Path("gs://garden/films/rose/r000.mov")])] == ["0s.png"]
    google.files["films/rose/r007.mov"] = google.files["films/rose/r007.mov"][:200]
    forget_google()
    with pytest.raises(DataError, match=r"gs://garden/films/rose/r007\.mov is (damaged|no film)") as caught:
        same("gs://garden/films", **options)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.extended
def test_a_data_set_of_the_hub_is_read(tmp_path: Path, plain_outcome: dict[str, Any]) -> None:
    pytest.importorskip("huggingface_hub")
    made = tmp_path / "made"
    made.mkdir()
    forms.hub_folder(Corpus(), made)
    files = {path.relative_to(made).as_posix(): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    with serving(Store(files | flowers()), Hub) as store:
        environment = os.environ | {
            "HF_ENDPOINT": f"http://127.0.0.1:{store.port}", "TRANSFERKIT_CACHE": str(tmp_path / "cache"),
            "HF_HOME": str(tmp_path / "home"),
        }  # fmt: skip
        for name, reader in (("", "huggingface"), ("/flowers.zip", "folder")):
            words = [sys.executable, "-m", "transferkit", "data", "summary", f"hf://datasets/gardener/flowers{name}"]
            done = subprocess.run([*words, "--json"], capture_output=True, text=True, env=environment)
            assert done.returncode == 0, done.stderr
            found = json.loads(done.stdout)
            assert (found["reader"]["name"], found["pictures"]) == (reader, 120)
            assert found["classes"] == dict.fromkeys(CLASSES, 40)
        train = [
            "--backbone", "mini", "--head", "linear", "--augment", "none", "--epochs", "1", "--image-size", "32",
            "--precision", "float32", "--quiet", "--output", str(tmp_path / "run"),
        ]  # fmt: skip
        words_of_training = [*words[:3], "finetune", "hf://datasets/gardener/flowers", *train]
        done = subprocess.run(words_of_training, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert outcome(tk.Run(tmp_path / "run")) == plain_outcome
        words[-1] = "hf://datasets/gardener/none"
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        assert done.returncode == 2
        assert "gardener/none" in done.stderr


@pytest.mark.extended
def test_a_missing_library_names_what_to_install(tmp_path: Path) -> None:
    extras = {
        "hf://datasets/a/b": ("huggingface_hub", "hub"), "gs://a/b": ("gcsfs", "gcs"), "az://a/b": ("adlfs", "azure"),
        "https://a/b.zip": ("aiohttp", "web"), "s3://a/b": ("s3fs", "s3"),
    }  # fmt: skip
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({[module for module, _ in extras.values()]}))\n"
        "from transferkit.data.source import scan\n"
        "for address in sys.argv[1:]:\n"
        "    try:\n        scan(address)\n"
        "    except Exception as error:\n        print(repr(str(error)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *extras], capture_output=True, text=True)
    for line, (_, extra) in zip(done.stdout.splitlines(), extras.values(), strict=True):
        assert f"pip install 'transferkit[{extra}]'" in line
