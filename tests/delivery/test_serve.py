"""The page: answers by our decoder alone, limits on uploads, and what headless Chromium makes of it."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.calls import call
from tests.data.pictures import photo
from transferkit.data.decode import DECODER_VERSION
from transferkit.delivery import serve as room
from transferkit.errors import ConfigError
from transferkit.runs import model_file

HERE = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")
MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
with_gradio = pytest.mark.skipif("gradio" in MISSING, reason="not installed: gradio; the page is not served")
in_browser = pytest.mark.skipif(
    bool(MISSING) or not CHROMIUM,
    reason=f"not installed: {', '.join(MISSING + ([] if CHROMIUM else ['chromium']))}; the page is not opened",
)


@pytest.fixture(scope="module")
def answering(digits_run: Any) -> room.Answering:
    return room.Answering.of(digits_run.layout)


def upload(source: Path, folder: Path) -> str:
    """A copy, as an upload is."""
    return str(shutil.copy(source, folder / source.name))


def bomb(path: Path) -> Path:
    """A PNG of a few hundred kilobytes that unpacks to 400 million pixels."""
    Image.new("1", (20000, 20000)).save(path)
    return path


# ------------------------------------------------------------------------------------------ without a browser


def test_a_picture_is_answered_as_predict_does_and_not_kept(
    answering: room.Answering, digits_run: Any, digits: Path, tmp_path: Path
) -> None:
    path = sorted((digits / "5").iterdir())[2]
    (wanted,) = digits_run.predict(path)
    sent = upload(path, tmp_path)
    scores, heat, said = answering(sent)
    assert scores == pytest.approx(dict(wanted.scores[: room.TOP]), abs=1e-6)
    assert said == f"{wanted.label}, with a confidence of {wanted.confidence:.1%}."
    assert heat is not None
    assert (heat.shape, heat.dtype) == ((32, 32, 3), np.uint8)
    assert not Path(sent).exists()
    assert path.exists()
    assert answering(None) == (None, None, "")


@pytest.mark.parametrize("kind", ["page", "bomb", "empty", "cut", "svg"])
def test_hostile_uploads_are_told_and_removed(kind: str, answering: room.Answering, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    if kind == "bomb":
        path = bomb(tmp_path / "x.png")
    elif kind == "cut":
        photo(1, 100, 100).save(path)
        path.write_bytes(path.read_bytes()[:-500])
    else:
        path.write_text({"page": "<html><script>alert(1)</script>", "empty": "", "svg": "<svg onload='x()'/>"}[kind])
    scores, heat, said = answering(str(path))
    assert scores is None
    assert heat is None
    words = {"page": "HTML page", "bomb": "decompression bomb", "empty": "empty", "cut": "cut short", "svg": "SVG"}
    assert words[kind] in said
    assert not path.exists()


def test_numbers_have_no_bars_and_a_model_without_a_map_no_heat(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, name="target_units")(x))
    facts = {"task": "regress", "classes": ["age"], "thresholds": None,
             "decode": {"decoder": DECODER_VERSION, "size": 8, "resize": "stretch"}}  # fmt: skip
    photo(2, 30, 20).save(tmp_path / "p.png")
    scores, heat, said = room.Answering(model, facts)(str(tmp_path / "p.png"))
    assert scores is None
    assert heat is None
    assert re.match(r"age -?\d.* No heat map: ", said)


def test_without_gradio_the_error_names_the_extra(digits_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = call("serve", digits_run.folder)
    assert result.code == 2
    assert "pip install 'transferkit[serve]'" in result.err or "pip install -U 'transferkit[serve]'" in result.err
    with pytest.raises(ConfigError):
        room.gradio()


def test_an_unfinished_run_is_refused_before_gradio(tmp_path: Path) -> None:
    result = call("serve", tmp_path)
    assert result.code == 2
    assert "not a run directory" in result.err


# ---------------------------------------------------------------------------------------------- with a browser


@pytest.fixture(scope="module")
def hostile_run(digits_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with a class that is a script, so that every answer shows it."""
    folder: Path = shutil.copytree(digits_run.folder, tmp_path_factory.mktemp("served") / "<b>run")
    layout = type(digits_run)(folder).layout
    facts = model_file.facts(layout.model)
    names = [f"<img src=x onerror=document.title='hit'>{i}" for i in range(10)]
    model_file.save(model_file.load(layout.model), facts | {"classes": names}, layout.model)
    return folder


@pytest.fixture(scope="module")
def server(hostile_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of the page in a process of its own, and the folder its uploads go to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uploads = tmp_path_factory.mktemp("uploads")
    command = [sys.executable, "-m", "transferkit", "serve", str(hostile_run), "--port", str(port), "--json"]
    environment = {**os.environ, "TMPDIR": str(uploads)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=HERE)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert f"http://127.0.0.1:{port}" in line
    yield f"http://127.0.0.1:{port}", uploads
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stdout.close()
    assert not list(uploads.glob("transferkit-serve-*"))


@pytest.fixture
def browser_page(server: tuple[str, Path]) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server[0])
        page.wait_for_selector("#upload input[type=file]", state="attached", timeout=60_000)
        yield page
        away = [url for url in asked if not url.startswith((server[0], "data:", "blob:"))]
        assert not away, f"the page asks other servers: {away[:3]}"
        assert "hit" not in page.title()
        chromium.close()


def send(page: Any, path: Path) -> str:
    """Upload a file; the sentence the page answers."""
    page.set_input_files("#upload input[type=file]", str(path))
    page.wait_for_function("document.querySelector('#answer textarea')?.value", timeout=60_000)
    return str(page.input_value("#answer textarea"))


@in_browser
@pytest.mark.slow
def test_a_real_upload(browser_page: Any, digits: Path, server: tuple[str, Path]) -> None:
    said = send(browser_page, sorted((digits / "5").iterdir())[2])
    assert re.match(r"<img src=x onerror=document\.title='hit'>\d, with a confidence of \d+\.\d%\.", said)
    browser_page.wait_for_selector("#heat img", timeout=30_000)
    assert browser_page.evaluate("document.querySelector('#heat img').naturalWidth") == 32
    # Class names appear as text: no picture of theirs, and no script of theirs ran.
    assert browser_page.query_selector("img[src='x']") is None
    assert not list(server[1].rglob("5_*.png"))


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["page", "bomb"])
def test_hostile_uploads_in_the_browser(kind: str, browser_page: Any, tmp_path: Path) -> None:
    if kind == "page":
        (tmp_path / "x.jpg").write_text("<html><script>document.title='hit'</script>")
        assert "it is an HTML page" in send(browser_page, tmp_path / "x.jpg")
    else:
        assert "decompression bomb" in send(browser_page, bomb(tmp_path / "x.png"))


@in_browser
@pytest.mark.slow
def test_too_large_and_other_kinds_never_reach_the_model(
    browser_page: Any, tmp_path: Path, digits: Path, server: tuple[str, Path]
) -> None:
    large = tmp_path / "large.jpg"
    with open(large, "wb") as handle:
        handle.truncate(100_000_000)
    browser_page.set_input_files("#upload input[type=file]", str(large))
    browser_page.wait_for_timeout(3000)
    assert browser_page.input_value("#answer textarea") == ""
    assert not [p for p in server[1].rglob("*") if p.is_file() and p.stat().st_size > 20_000_000]
    # The page is alive after it.
    browser_page.reload()
    browser_page.wait_for_selector("#upload input[type=file]", state="attached", timeout=60_000)
    assert "confidence" in send(browser_page, sorted((digits / "1").iterdir())[0])


@in_browser
@pytest.mark.slow
def test_the_server_refuses_large_uploads_and_other_files(server: tuple[str, Path]) -> None:
    head = b'------x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    body = head + bytes(30_000_000) + b"\r\n------x--\r\n"
    with contextlib.closing(http.client.HTTPConnection(server[0].removeprefix("http://"), timeout=60)) as connection:
        headers = {"Content-Type": "multipart/form-data; boundary=----x"}
        # The server may hang up in the middle of it: that is a refusal as well.
        with contextlib.suppress(ConnectionError):
            connection.request("POST", "/gradio_api/upload", body, headers)
            assert connection.getresponse().status == 413
    with contextlib.closing(http.client.HTTPConnection(server[0].removeprefix("http://"), timeout=60)) as connection:
        connection.request("GET", "/gradio_api/file=/etc/passwd")
        assert connection.getresponse().status in (403, 404)
    assert not [p for p in server[1].rglob("*") if p.is_file() and p.stat().st_size > 20_000_000]


def ask(server: tuple[str, Path], method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """Status and body of one request."""
    with contextlib.closing(http.client.HTTPConnection(server[0].removeprefix("http://"), timeout=60)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()


@with_gradio
@pytest.mark.slow
def test_foreign_hosts_and_origins_are_refused(server: tuple[str, Path]) -> None:
    here = server[0].removeprefix("http://")
    port = here.rpartition(":")[2]
    assert ask(server, "GET", "/config")[0] == 200
    assert ask(server, "GET", "/config", Host=f"localhost:{port}")[0] == 200
    assert ask(server, "GET", "/config", Origin=server[0])[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "10.0.0.1", "127.0.0.1.evil.example", ""):
        assert ask(server, "GET", "/config", Host=host)[0] == 403, host
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\nabc\r\n--x--\r\n',
        "multipart/form-data; boundary=x",
    )
    for origin in ("https://evil.example", "null", f"http://localhost:{port}", f"{server[0]}0"):
        status, _ = ask(server, "POST", "/gradio_api/upload", body[0], Content_Type=body[1], Origin=origin)
        assert status == 403, origin


@with_gradio
@pytest.mark.slow
def test_the_same_picture_sent_by_several_at_once_is_answered_to_each_and_then_gone(
    server: tuple[str, Path], digits: Path
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from gradio_client import Client, handle_file

    picture = sorted((digits / "7").iterdir())[0]

    def visit(_: int) -> str:
        return str(Client(server[0], verbose=False).predict(handle_file(str(picture)), api_name="/predict")[2])

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(visit, range(12)))
    assert all(re.search(r"with a confidence of \d+\.\d%", text) for text in said), said
    assert len(set(said)) == 1
    assert not list(server[1].rglob(picture.name))
