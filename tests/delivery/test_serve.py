"""The page: answers by our decoder alone, limits on what is sent, and what headless Chromium makes of it."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.chromium import Browser, needs_chromium
from tests.cli.calls import call
from tests.data.pictures import encoded, photo
from tests.delivery.pages.test_multipart import body, named
from tests.fake_engine import faked
from tests.records import facts_of
from tests.runs.sealing import reseal
from transferkit.compute.engines import EngineError
from transferkit.console import Reporter
from transferkit.data.images.decode import DECODER_VERSION
from transferkit.delivery import serve as room
from transferkit.delivery.pages.messages import PageRequest, RequestError
from transferkit.delivery.pages.server import Server
from transferkit.features import engine_choice as choosing
from transferkit.runs import model_file

HERE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def answering(digits_run: Any) -> room.Answering:
    return room.Answering.of(digits_run.layout)


def bomb() -> bytes:
    """A PNG of a few hundred kilobytes that unpacks to 400 million pixels."""
    return encoded(Image.new("1", (20000, 20000)), "PNG")


def opened(address: str) -> Image.Image:
    """The picture in a data address."""
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


# ------------------------------------------------------------------------------------------ without a browser


def test_pictures_are_answered_as_predict_does(answering: room.Answering, digits_run: Any, digits: Path) -> None:
    paths = [sorted((digits / name).iterdir())[2] for name in ("5", "7")]
    wanted = list(digits_run.predict(paths))
    found = answering.predict([(path.name, path.read_bytes()) for path in paths], top=3, heat=True, drawn=True)
    for path, answer, said in zip(paths, wanted, found, strict=True):
        assert said["file"] == path.name
        assert answer.label in (said["label"], said.get("best_guess"))
        assert said["scores"] == pytest.approx(dict(answer.scores[:3]), abs=1e-6)
        assert (opened(said["heat"]).size, opened(said["heat"]).format) == ((32, 32), "PNG")
        assert (opened(said["picture"]).size, opened(said["picture"]).format) == ((32, 32), "JPEG")
    plain = answering.predict([("a", paths[0].read_bytes())], top=1, heat=False, drawn=False)[0]
    assert not {"heat", "picture"} & plain.keys()


def test_below_its_threshold_it_is_not_sure_enough(answering: room.Answering, digits_run: Any, digits: Path) -> None:
    picture = sorted((digits / "5").iterdir())[2].read_bytes()
    careful = room.Answering(model_file.load(digits_run.layout.model), answering.facts, threshold=1.1)
    (found,) = careful.predict([("a.png", picture)], top=2, heat=False, drawn=False)
    assert (found["label"], found["abstained"]) == (None, True)
    assert found["best_guess"] == next(iter(found["scores"]))


def test_the_runs_own_threshold_is_taken(digits_run: Any, answering: room.Answering) -> None:
    rows = {row["accuracy"]: row["threshold"] for row in digits_run.metrics["abstention"]}
    assert answering.threshold == rows.get(0.95)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"<html><script>alert(1)</script>", "HTML page"), (b"", "empty"), (b"<svg onload='x()'/>", "SVG"),
     (encoded(photo(1, 100, 100), "JPEG")[:-500], "cut short"), (None, "decompression bomb")],
    ids=["page", "empty", "svg", "cut", "bomb"],
)  # fmt: skip
def test_what_is_no_picture_is_told_and_the_others_are_answered(
    content: bytes | None, words: str, answering: room.Answering
) -> None:
    good = encoded(photo(1, 40, 40), "PNG")
    bad, other = answering.predict([("x.jpg", bomb() if content is None else content), ("y.png", good)], 5, True, True)
    assert words in bad["error"]
    assert bad.keys() == {"error", "file"}
    assert other["scores"]


def test_numbers_have_no_threshold_and_a_model_without_a_map_no_heat() -> None:
    import keras

    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, name="target_units")(x))
    facts = {"task": "regress", "classes": ["age"], "thresholds": None, "backbone": "own",
             "decode": {"decoder": DECODER_VERSION, "size": 8, "resize": "stretch"}}  # fmt: skip
    answering = room.Answering(model, facts_of(facts))
    (found,) = answering.predict([("p.png", encoded(photo(2, 30, 20), "PNG"))], 5, True, False)
    assert isinstance(found["scores"]["age"], float)
    assert found["confidence"] is None
    assert found["no_heat"] == answering.cannot_explain != ""
    about = json.loads(room.Serving(answering, "t", 20).answer(PageRequest("GET", "/about", {})).body)
    assert (about["heat"], about["threshold"]) == (False, None)


@pytest.mark.parametrize("top", ["0", "-1", "x", "٣", ""])
def test_wrong_requests_say_what_is_right(top: str, answering: room.Answering) -> None:
    app = room.Serving(answering, "t", 20)
    with pytest.raises(RequestError, match="top=5"):
        app.answer(PageRequest("POST", "/predict", {"top": top}, "", b""))
    with pytest.raises(RequestError, match="curl -F file="):
        app.answer(PageRequest("POST", "/predict", {}, "image/png", b"\x89PNG"))
    kind = "multipart/form-data; boundary=xyz"
    with pytest.raises(RequestError, match="no file in it"):
        app.answer(PageRequest("POST", "/predict", {}, kind, body(('Content-Disposition: form-data; name="a"', b"1"))))


def test_examples_are_test_pictures_of_different_classes_that_are_still_as_they_were(
    digits_run: Any, digits: Path, tmp_path: Path
) -> None:
    found = room.examples_of(digits_run.layout)
    assert len({label for label, _ in found}) == len(found) == room.EXAMPLES
    tests = {p.label: 0 for p in digits_run.layout.read_splits() if p.split == "test"}
    assert {label for label, _ in found} <= tests.keys()
    assert all(content[:2] == b"\xff\xd8" for _, content in found)


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    result = call("serve", tmp_path)
    assert result.code == 2
    assert "not a run directory" in result.err


# ------------------------------------------------------------------------------------------------- by whom


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [encoded(photo(seed, 40, 30), "PNG") for seed in range(16)]


@contextmanager
def served(layout: Any, reporter: Reporter) -> Iterator[tuple[str, room.Answering]]:
    """Address of the page in this process, whose engines a test can replace."""
    answering = room.Answering.of(layout, reporter)
    server = Server(room.Serving(answering, "t", 20), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", answering
    finally:  # the thread would keep this process for ever
        server.shutdown()
        thread.join()
        server.server_close()


def asked(server: str, contents: list[bytes]) -> list[dict[str, float]]:
    """The scores of pictures that are sent one by one; whatever they set going has ended then."""
    found = []
    for content in contents:
        status, answer = post(server, body((named("p.png"), content)), query="?top=10")
        assert status == 200
        found += [said["scores"] for said in answer["predictions"]]
    for thread in threading.enumerate():
        if thread.name == "transferkit-engine":
            thread.join()
    return found


@pytest.mark.parametrize(("off", "by"), [(0.0, "fake"), (2e-3, "keras")])
def test_another_engine_answers_requests_only_as_keras_does(
    digits_run: Any, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch, off: float, by: str
) -> None:
    fake = faked(monkeypatch)
    fake.change = lambda outputs: [x + np.float32(off) for x in outputs]
    reporter = Reporter(quiet=True)
    with served(digits_run.layout, reporter) as (server, answering):
        asked(server, pictures[:15])
        assert fake.asked == 0, "fifteen pictures do not show whether it agrees"
        asked(server, pictures[15:])
        assert (fake.asked, fake.together) == (1, True), "one picture at a time, on all threads"
        before, few = fake.called, pictures[:3]
        found = asked(server, few)
        assert (fake.called > before) is answering._member.settled is (by == "fake")
        asked(server, few)
        assert fake.asked == 1, "it is asked once, and a refusal is remembered"
        if by == "fake":
            fake.change = lambda outputs: failing()
            for again, once in zip(asked(server, few), found, strict=True):
                assert again == pytest.approx(once, abs=1e-6)
            assert reporter.warnings == ["Fake: broken; going on with TensorFlow"]
    with served(digits_run.layout, Reporter(quiet=True)) as (server, answering):
        fake.change = lambda outputs: outputs
        asked(server, pictures)
        assert answering._member.settled is (by == "fake"), "the next server knows it from the first"
        wanted = list(digits_run.predict(few))
        for scores, answer in zip(asked(server, few), wanted, strict=True):
            assert scores == pytest.approx(dict(answer.scores), abs=1e-6)


def failing() -> Any:
    raise EngineError("Fake: broken")


def test_few_pictures_are_not_worth_a_trial(
    digits_run: Any, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = faked(monkeypatch)
    monkeypatch.setattr(choosing, "START", 20.0)  # of TensorFlow's seconds, of which a picture takes one
    monkeypatch.setattr(choosing, "SHARES", {False: 0.5, True: 0.5})
    with served(digits_run.layout, Reporter(quiet=True)) as (server, _):
        asked(server, pictures * 4)
        assert fake.asked == 0, "64 pictures: a trial takes 20 + 16 + 8 seconds of 64"
        asked(server, pictures * 4)
        assert fake.asked == 1, "128: it takes less than half of as many again"


# ----------------------------------------------------------------------------------------------- a real server


@pytest.fixture(scope="module")
def hostile_run(digits_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with classes that are scripts, so that every answer shows one."""
    folder: Path = shutil.copytree(digits_run.folder, tmp_path_factory.mktemp("served") / "<b>run")
    layout = type(digits_run)(folder).layout
    facts = model_file.facts(layout.model)
    names = [f"<img src=x onerror=document.title='hit'>{i}" for i in range(10)]
    model_file.save(model_file.load(layout.model), facts_of({**facts.as_json(), "classes": names}), layout.model)
    reseal(folder)
    return folder


@pytest.fixture(scope="module")
def server(hostile_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the page in a process of its own, whose temporary folder stays empty."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = tmp_path_factory.mktemp("temporary")
    command = [sys.executable, "-m", "transferkit", "serve", str(hostile_run), "--port", str(port), "--json",
               "--examples", "--max-upload", "2"]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=HERE)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"url": f"http://127.0.0.1:{port}/"}
    yield f"127.0.0.1:{port}"
    left = [path for path in temporary.rglob("*") if path.is_file()]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stdout.close()
    assert left == []


def post(server: str, sent: bytes, kind: str = "multipart/form-data; boundary=xyz", query: str = "") -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(server, timeout=60)) as connection:
        connection.request("POST", f"/predict{query}", sent, {"Content-Type": kind})
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if answer.status == 200 else content.decode()


def test_programs_send_pictures_and_get_json(server: str, digits: Path) -> None:
    five = sorted((digits / "5").iterdir())[2].read_bytes()
    status, found = post(server, body((named("5.png"), five), (named("x.jpg"), b"<html>")), query="?top=2&heat=1")
    assert status == 200
    first, second = found["predictions"]
    assert (first["file"], len(first["scores"]), opened(first["heat"]).size) == ("5.png", 2, (32, 32))
    assert "HTML" in second["error"]
    assert post(server, b"x", "text/plain")[0] == 400
    assert post(server, body((named("big.png"), bytes(3_000_000))))[0] == 413


def test_several_at_once_are_answered_each(server: str, digits: Path) -> None:
    picture = sorted((digits / "7").iterdir())[0].read_bytes()
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: post(server, body((named("7.png"), picture))), range(12)))
    assert {status for status, _ in found} == {200}
    assert len({json.dumps(answer) for _, answer in found}) == 1


def test_foreign_hosts_and_other_paths_are_refused(server: str) -> None:
    for path, headers, status in (
        ("/", {}, 200), ("/", {"Host": "evil.example"}, 403), ("/example/0", {}, 200), ("/example/6", {}, 404),
        ("/example/../about", {}, 404), ("/../../etc/passwd", {}, 404), ("/model.keras", {}, 404),
    ):  # fmt: skip
        with closing(http.client.HTTPConnection(server, timeout=60)) as connection:
            connection.request("GET", path, headers=headers)
            assert connection.getresponse().status == status, path


@needs_chromium
def test_a_batch_in_the_browser(server: str, digits: Path, tmp_path: Path, browser: Browser) -> None:
    (tmp_path / "page.jpg").write_text("<html><script>document.title='hit'</script>")
    (tmp_path / "bomb.png").write_bytes(bomb())
    (tmp_path / "large.png").write_bytes(bytes(2_500_000))
    browser.open(f"http://{server}/")
    browser.until("document.title === '<b>run'")
    files = [
        sorted((digits / "5").iterdir())[2],
        *(tmp_path / f"{n}" for n in ("page.jpg", "bomb.png", "large.png")),
    ]
    browser.upload("#file", *files)
    browser.until("document.querySelectorAll('.says').length === 4")
    said = browser.run("document.getElementById('answers').innerText")
    assert re.search(r"<img src=x onerror=document\.title='hit'>\d, (\d|>)", said)
    for words in ("HTML page", "decompression bomb", "larger than 2 MB"):
        assert words in said
    assert browser.run("[...document.querySelectorAll('.answer img')].filter(i => i.src.includes('png')).length") == 0
    browser.run("document.getElementById('heat').click()")
    browser.until("document.querySelector(\".answer img[src^='data:image/png']\")?.naturalWidth === 32")
    browser.run("document.querySelector('#samples button').click()")
    browser.until("document.querySelectorAll('.says').length === 5")
    assert browser.run("document.querySelector('img[src=x]')") is None
    assert browser.run("document.title") == "<b>run"
    assert browser.errors == []
    assert all(url.startswith((f"http://{server}/", "data:", "about:", "blob:")) for url in browser.asked)


@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_every_width_and_is_legible(dark: bool, server: str, digits: Path, browser: Browser) -> None:
    for width in (390, 768, 1440):
        browser.open(f"http://{server}/", width, dark)
        browser.until("document.title === '<b>run'")
        browser.upload("#file", sorted((digits / "5").iterdir())[2])
        browser.until("!!document.querySelector('.says')")
        browser.run("document.querySelector('details').open = true")
        assert not browser.scrolls_sideways(), width
        assert browser.faint() == [], width
    assert browser.errors == []
