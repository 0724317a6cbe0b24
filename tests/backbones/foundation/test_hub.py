"""Networks of the hub, played by a server on loopback: redirects, ranges, gates, wrong hashes, pointers, caches."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.backbones.foundation.checkpoints import split_up
from tests.backbones.foundation.parity import FIXTURES
from transferkit.backbones import build, download, published
from transferkit.backbones.foundation import hub, model_folder
from transferkit.cli.backbones import backbones
from transferkit.errors import BackboneError, WeightsError

COMMIT = "a" * 40
COMMITS = {"main": COMMIT, "v1": "b" * 40}
NAME = "hf:facebook/tiny"


class Hub(BaseHTTPRequestHandler):
    """Serves a folder as the hub does: its list of files, small files itself, large ones from another server."""

    server: Any

    def do_GET(self) -> None:
        server, path = self.server, self.path.partition("?")[0]
        server.requests.append((path, self.headers.get("Authorization"), self.headers.get("Range")))
        if server.gated and self.headers.get("Authorization") != "Bearer secret":
            self.answer(401 if self.headers.get("Authorization") is None else 403)
        elif path.startswith("/api/models/facebook/tiny/revision/"):
            commit = COMMITS.get(path.rpartition("/")[2])
            self.answer(200, json.dumps({"sha": commit, "siblings": server.siblings()}).encode())
        elif path.startswith(tuple(f"/facebook/tiny/resolve/{commit}/" for commit in COMMITS.values())):
            name = path.rpartition("/")[2]
            if name.endswith(".safetensors"):
                self.answer(302, location=f"http://localhost:{server.server_address[1]}/cdn/{name}")
            else:
                self.file(name)
        elif path.startswith("/cdn/"):
            self.file(path.rpartition("/")[2])
        else:
            self.answer(404)

    def file(self, name: str) -> None:
        content, cut = self.server.files[name], self.server.cuts.pop(name, None)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", '"one"')
        self.end_headers()
        self.wfile.write(content[start:][:cut])
        self.close_connection = True

    def answer(self, status: int, body: bytes = b"", location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


class Server(ThreadingHTTPServer):
    gated = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hub)
        self.requests: list[tuple[str, str | None, str | None]] = []
        self.cuts: dict[str, int] = {}
        self.files = {name: (FIXTURES / "vit" / name).read_bytes() for name in ("config.json", "model.safetensors")}
        self.files["README.md"] = b"---\nlicense: apache-2.0\n---\n"
        self.hashes: dict[str, str] = {}

    def serve(self, folder: Path) -> None:
        """Serve this folder's files in place of those of the ViT."""
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "reference.npz"}

    def asked(self) -> list[str]:
        """Names of the files that were asked for."""
        return [path.rpartition("/")[2] for path, _, _ in self.requests if "/resolve/" in path]

    def siblings(self) -> list[dict[str, Any]]:
        listed = [{"rfilename": ".gitattributes", "blobId": "0" * 40}, {"rfilename": "../../evil", "blobId": "0" * 40}]
        for name, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            entry: dict[str, Any] = {"rfilename": name, "blobId": blob}
            if name.endswith(".safetensors"):
                entry["lfs"] = {"sha256": self.hashes.get(name, hashlib.sha256(content).hexdigest())}
            listed.append(entry)
        return listed


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "sleep", lambda _: None)
    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{made.server_address[1]}")
        yield made
        made.shutdown()


def test_a_network_is_fetched_once_and_known_by_its_name(server: Server) -> None:
    said: list[str] = []
    place = hub.fetch(NAME, reporter=said.append)
    row = model_folder.describe(str(place)).row

    assert row.name == "tiny"
    assert row.licence == "apache-2.0 (says its model card)"
    assert place.name == COMMIT
    assert sorted(path.name for path in place.iterdir()) == sorted([*server.files, hub.RECORD])
    assert any("fetching model.safetensors" in line for line in said)
    before = len(server.requests)
    assert hub.fetch(NAME, offline=True) == place
    assert len(server.requests) == before
    assert build.check(NAME, 33, "from:block9", offline=True) != []


def test_a_fetched_network_is_built_by_its_name(server: Server) -> None:
    backbone = build.build(NAME, size=32)

    assert backbone.row.name == "tiny"
    assert backbone.weights_sha256 == build.build(str(FIXTURES / "vit"), size=32).weights_sha256


def test_a_broken_transfer_goes_on_where_it_ended(server: Server) -> None:
    server.cuts["model.safetensors"] = 1000
    hub.fetch(NAME)

    assert [r for path, _, r in server.requests if path == "/cdn/model.safetensors"] == [None, "bytes=1000-"]


def test_the_token_stays_with_the_hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub.fetch(NAME)

    sent = {path: token for path, token, _ in server.requests}
    assert sent[f"/facebook/tiny/resolve/{COMMIT}/model.safetensors"] == "Bearer secret"
    assert sent["/cdn/model.safetensors"] is None


def test_the_token_of_a_login_is_found(server: Server, tmp_path: Path) -> None:
    (tmp_path / "huggingface").mkdir()
    (tmp_path / "huggingface" / "token").write_text("secret\n")
    hub.fetch(NAME)

    assert server.requests[0][1] == "Bearer secret"


@pytest.mark.parametrize(("token", "status"), [("", 401), ("wrong", 403)])
def test_a_gate_is_explained(server: Server, monkeypatch: pytest.MonkeyPatch, token: str, status: int) -> None:
    server.gated = True
    monkeypatch.setenv("HF_TOKEN", token)

    with pytest.raises(WeightsError) as caught:
        hub.fetch(NAME)

    text = str(caught.value)
    assert str(status) in text
    assert "accept its licence on" in text
    assert "HF_TOKEN" in text
    assert "--backbone dinov2_small" in text
    assert token == "" or token not in text


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_another_file_than_was_promised_is_refused(server: Server, name: str) -> None:
    real = server.siblings()
    server.siblings = lambda: real  # type: ignore[method-assign]
    server.files[name] = server.files[name][:-1] + b"\xee"

    with pytest.raises(WeightsError, match="its hash is"):
        hub.fetch(NAME)
    assert hub.local(NAME) is None


def test_a_pointer_in_place_of_the_file_is_told(server: Server) -> None:
    server.hashes["model.safetensors"] = "b" * 64
    server.files["model.safetensors"] = b"version https://git-lfs.github.com/spec/v1\noid sha256:bb\nsize 9\n"

    with pytest.raises(WeightsError, match="Git LFS pointer"):
        hub.fetch(NAME)


def test_an_absent_repository_is_told(server: Server) -> None:
    with pytest.raises(WeightsError, match="Is there a facebook/other"):
        hub.fetch("hf:facebook/other")


def test_a_file_that_changed_on_disk_is_noticed_and_fetched_again(server: Server) -> None:
    place = hub.fetch(NAME)
    (place / "model.safetensors").write_bytes(b"x")

    with pytest.raises(WeightsError, match="damaged; repeat"):
        hub.fetch(NAME)
    assert model_folder.describe(str(hub.fetch(NAME))).row.layers == 26


def test_the_hubs_own_cache_is_shared(server: Server, tmp_path: Path) -> None:
    cached = tmp_path / "huggingface" / "hub" / "models--facebook--tiny"
    shutil.copytree(FIXTURES / "vit", cached / "snapshots" / COMMIT)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)

    assert hub.fetch(NAME, offline=True) == cached / "snapshots" / COMMIT
    assert server.requests == []


def test_offline_says_where_it_was_looked_for(server: Server) -> None:
    for name, repository in (("dinov2_small", "facebook/dinov2-small"), (NAME, "facebook/tiny")):
        (said,) = build.check(name, offline=True)
        assert f"offline, and {repository} (main) is neither in" in said
        assert "--backbone PATH" in said
    assert server.requests == []


@pytest.mark.parametrize(
    "name", ["hf:", "hf:one", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a/b@../c", "hf:a/b c", "hf:/a/b"]
)
def test_other_names_are_refused(server: Server, name: str) -> None:
    with pytest.raises(BackboneError, match="hf:OWNER/NAME"):
        hub.fetch(name)
    assert build.check(name) != []
    assert server.requests == []


def test_random_weights_leave_the_networks_own_on_the_hub(server: Server) -> None:
    assert build.to_be_fetched(NAME, "auto", None) == f"{NAME} of the hub"
    backbone = build.build(NAME, weights="random", size=32)

    assert backbone.row.name == "tiny"
    assert not any(path.endswith(".safetensors") for path, _, _ in server.requests)
    assert hub.local(NAME) is None
    hub.fetch(NAME)
    assert build.to_be_fetched(NAME, "auto", None) is None


def test_weights_from_a_file_leave_the_networks_own_on_the_hub(server: Server, tmp_path: Path) -> None:
    vit = build.build(str(FIXTURES / "vit"), size=32)
    vit.model.save_weights(tmp_path / "mine.weights.h5")
    backbone = build.build(NAME, weights=str(tmp_path / "mine.weights.h5"), size=32)

    assert backbone.weights_sha256 == vit.weights_sha256
    assert server.asked() == ["config.json", "README.md"]


def test_a_revision_has_a_folder_of_its_own(server: Server) -> None:
    first, other = hub.fetch(NAME), hub.fetch(f"{NAME}@v1")

    assert (first.name, other.name) == (COMMITS["main"], COMMITS["v1"])
    assert hub.local(f"{NAME}@v1") == other
    assert hub.local(f"{NAME}@v2") is None


def test_shards_are_fetched_with_their_list(server: Server, tmp_path: Path) -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    shutil.copytree(FIXTURES / "vit", tmp_path / "sharded")
    split_up(tmp_path / "sharded", shards)
    (tmp_path / "sharded" / "other.safetensors").write_bytes(b"of something else")
    server.serve(tmp_path / "sharded")

    assert build.build(NAME, size=32).weights_sha256 == build.build(str(FIXTURES / "vit"), size=32).weights_sha256
    assert [name for name in server.asked() if name != "config.json"] == ["model.safetensors.index.json", *shards]


@pytest.mark.parametrize("config", [{"model_type": "bert"}, {"architecture": "resnext50_32x4d"}])
@pytest.mark.parametrize("weights", [True, False])
def test_weights_of_a_network_that_is_not_read_stay_on_the_hub(
    server: Server, config: dict[str, str], weights: bool
) -> None:
    server.files["config.json"] = json.dumps(config).encode()

    with pytest.raises(BackboneError, match=r"facebook--tiny.*(bert|resnext50_32x4d).*(known are|read are)"):
        published.opened(NAME, weights=weights)
    assert server.asked() == ["config.json", "README.md"]


def test_a_config_of_timm_needs_the_tensors_even_for_random_weights(server: Server) -> None:
    server.serve(FIXTURES / "timm_vit")

    expected = model_folder.describe(str(FIXTURES / "timm_vit")).row.parameters
    assert published.opened(NAME, weights=False).row.parameters == expected
    assert server.asked() == ["config.json", "model.safetensors"]


def test_show_says_where_a_network_is_before_and_after_it_is_fetched(server: Server) -> None:
    def shown(name: str) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(CliRunner().invoke(backbones, ["show", name, "--json"]).output)
        return said

    assert shown(NAME) == {"name": NAME, "repository": "facebook/tiny", "licence": None, "weights_here": None}
    assert shown("dinov2_small")["licence"] == "Apache-2.0"
    place = hub.fetch(NAME)
    assert shown(NAME)["weights_here"] == str(place / "model.safetensors")
    assert published.weights_bytes(NAME) == (place / "model.safetensors").stat().st_size
