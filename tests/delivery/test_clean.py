"""`data clean`: what is shown, what a decision does to the file, and that training takes the file."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.chromium import Browser, needs_chromium
from tests.cli.calls import call
from transferkit.console import Reporter
from transferkit.data.audit.checks import LabelIssue
from transferkit.data.source import scan
from transferkit.delivery import clean as room
from transferkit.delivery.pages.cleaning import Cleaning, cards
from transferkit.delivery.pages.decisions import Decision, Decisions
from transferkit.delivery.pages.messages import PageRequest
from transferkit.delivery.pages.server import Server
from transferkit.errors import ConfigError, DataError

HERE = Path(__file__).parents[2]


def textured(seed: int) -> Image.Image:
    """A picture whose look is its own, and survives JPEG."""
    blocks = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((64, 48), Image.Resampling.BICUBIC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three classes with four pictures each; a/copy.png is b/1.png, and c/0.jpg looks like c/0.png."""
    for name in "abc":
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(4):
            textured(ord(name) * 10 + i).save(tmp_path / "data" / name / f"{i}.png")
    shutil.copy(tmp_path / "data" / "b" / "1.png", tmp_path / "data" / "a" / "copy.png")
    textured(ord("c") * 10).save(tmp_path / "data" / "c" / "0.jpg", quality=80)
    return tmp_path / "data"


def prepared(data: Path, output: Path, **more: Any) -> room.Prepared:
    how = {"task": None, "exclude": (), "exclude_file": None, **more}
    return room.prepare(str(data), output, None, how, Reporter(quiet=True), lambda done, total: None)


def post(app: Cleaning, path: str, content: Any) -> tuple[int, Any]:
    answer = app.answer(PageRequest("POST", path, {}, "application/json", json.dumps(content).encode()))
    return answer.status, json.loads(answer.body)


def number(app: Cleaning, path: str) -> int:
    return app.samples.paths.index(path)


# ------------------------------------------------------------------------------------------------- what is shown


def test_copies_with_different_labels_come_first_then_look_alikes(data: Path, tmp_path: Path) -> None:
    found = prepared(data, tmp_path / "out.csv")
    rows = [(card["title"], [p["path"] for p in card["pictures"]]) for card in found.as_dict()["cards"]]
    assert rows == [
        ("The same picture 2 times, with different labels", ["a/copy.png", "b/1.png"]),
        ("2 look-alikes", ["c/0.jpg", "c/0.png"]),
    ]
    assert found.said() == "14 pictures: 1 group of copies, 1 group of look-alikes"


def test_doubts_come_before_copies_and_files_that_cannot_be_read_last(data: Path) -> None:
    (data / "a" / "0.png").write_bytes(b"<html>")
    samples = scan(data, strict=False)
    issues = [LabelIssue("b/2.png", "b", "c", 0.021, True), LabelIssue("gone.png", "b", "c", 0.1, True)]
    found = cards(samples, issues, *_copies(samples))
    assert [card.kind for card in found] == ["label", "copies", "look-alikes", "damaged"]
    assert found[0].title == "Chance that this label is right: 2 %"
    assert "HTML" in found[-1].title


def _copies(samples: Any) -> Any:
    from transferkit.data.audit.duplicate_groups import find_copies

    return find_copies(samples)


def test_json_prints_the_list_and_serves_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("data", "clean", data, "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert len(found["cards"]) == 2
    assert (found["output"], found["decided"]) == ("data-clean.csv", {})
    assert not Path("data-clean.csv").exists()


def test_of_a_run_the_doubted_labels_come_first_and_changed_pictures_are_not_shown(
    digits_run: Any, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("data", "clean", digits_run.folder, "--suspects", 7, "--json")
    assert result.code == 0, result.err
    found = [card for card in json.loads(result.out)["cards"] if card["kind"] == "label"]
    assert len(found) == 7
    assert [card["chance_right"] for card in found] == sorted(card["chance_right"] for card in found)
    assert all(card["suggested"] != card["pictures"][0]["label"] for card in found)
    assert "a run brings its own" in call("data", "clean", digits_run.folder, "--exclude", "3").err
    saved = digits_run.layout.read_splits()
    other = [dataclasses.replace(p, sha256="0" * 64) if p.path.startswith("3/") else p for p in saved]
    monkeypatch.setattr(type(digits_run.layout), "read_splits", lambda self: other)
    monkeypatch.setattr(room, "label_issues", lambda layout, samples, reporter: [])
    reporter = Reporter(quiet=True)
    how = {"task": None, "exclude": (), "exclude_file": None}
    app = room.prepare(str(digits_run.folder), None, None, how, reporter, lambda done, total: None)
    assert not any(path.startswith("3/") for path in app.app.samples.paths)
    assert "20 pictures have changed since the run" in reporter.warnings[0]
    assert app.command == ("transferkit", "finetune", str(digits), "--config", str(digits_run.folder))


def test_suspects_without_a_run_are_refused(data: Path) -> None:
    assert "--suspects has no effect" in call("data", "clean", data, "--suspects", 5).err


# ---------------------------------------------------------------------------------------------------- decisions


def test_every_decision_is_in_the_file_at_once_and_undone_in_order(data: Path, tmp_path: Path) -> None:
    app = prepared(data, tmp_path / "out.csv").app
    copy, other = number(app, "a/copy.png"), number(app, "b/1.png")
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    lines = []
    for decided in ({"id": copy, "action": "exclude"}, {"id": other, "action": "relabel", "label": "c"}):
        assert post(app, "/decide", decided)[0] == 200
        lines.append((tmp_path / "out.csv").read_text().splitlines())
    assert lines == [
        ["path,action,label", "a/copy.png,exclude,"],
        ["path,action,label", "a/copy.png,exclude,", "b/1.png,relabel,c"],
    ]
    found = scan(data, exclude_file=tmp_path / "out.csv")
    assert "a/copy.png" not in found.paths
    assert found.label(found.paths.index("b/1.png")) == "c"
    assert post(app, "/undo", None) == (200, {str(copy): {"action": "exclude", "label": ""}})
    assert post(app, "/undo", None) == (200, {})
    assert post(app, "/undo", None) == (200, {})  # nothing is left
    both = [{"id": copy, "action": "keep"}, {"id": other, "action": "exclude"}]
    assert len(post(app, "/decide", both)[1]) == 2
    assert post(app, "/undo", None) == (200, {})
    assert (tmp_path / "out.csv").read_text() == "path,action,label\n"
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
    assert not list(tmp_path.glob(".*"))


def test_kept_ones_stay_and_the_last_decision_counts(data: Path, tmp_path: Path) -> None:
    app = prepared(data, tmp_path / "out.csv").app
    copy = number(app, "a/copy.png")
    for action in ("exclude", "keep"):
        post(app, "/decide", {"id": copy, "action": action})
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == ["a/copy.png,keep,"]
    assert "a/copy.png" in scan(data, exclude_file=tmp_path / "out.csv").paths


def test_a_started_file_is_gone_on_with_and_earlier_exclusions_are_taken_over(data: Path, tmp_path: Path) -> None:
    (tmp_path / "before.txt").write_text(f"a/1.png\n{data / 'a' / '2.png'}\n")
    app = prepared(data, tmp_path / "out.csv", exclude_file=tmp_path / "before.txt").app
    post(app, "/decide", {"id": number(app, "c/0.jpg"), "action": "exclude"})
    again = prepared(data, tmp_path / "out.csv").app
    post(again, "/decide", {"id": number(again, "c/0.png"), "action": "keep"})
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == [
        "a/1.png,exclude,", "a/2.png,exclude,", "c/0.jpg,exclude,", "c/0.png,keep,",
    ]  # fmt: skip
    made = again.answer(PageRequest("GET", "/list", {})).body
    assert len(json.loads(made)["made"]) == 2  # of those that are shown


def test_what_is_kept_with_a_corrected_label_keeps_the_correction(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("path,action,label\na/copy.png,relabel,b\n")
    app = prepared(data, tmp_path / "out.csv", exclude_file=tmp_path / "out.csv").app
    post(app, "/decide", {"id": number(app, "a/copy.png"), "action": "keep"})
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == ["a/copy.png,relabel,b"]


@pytest.mark.parametrize("name", ["#1 a,b.png", 'say "hi".png', " blank .png", "é\n.png", "=1.png"])
def test_strange_names_are_read_back_exactly(name: str, data: Path, tmp_path: Path) -> None:
    os.rename(data / "a" / "0.png", data / name)
    decisions = Decisions(tmp_path / "out.csv", data)
    decisions.decide({name: Decision("exclude")})
    assert Decisions(tmp_path / "out.csv", data).made == {name: Decision("exclude")}
    os.rename(data / name, data / "a" / name)
    decisions.decide({f"a/{name}": Decision("relabel", "b")})
    found = scan(data, exclude_file=tmp_path / "out.csv")
    assert found.label(found.paths.index(f"a/{name}")) == "b"


def test_a_file_that_is_not_ours_is_never_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("path,label\na/1.png,a\n")
    with pytest.raises(ConfigError, match="no file of `data clean`"):
        Decisions(tmp_path / "mine.csv", data)
    decisions = Decisions(tmp_path / "out.csv", data)
    decisions.decide({"a/1.png": Decision("keep")})
    (tmp_path / "out.csv").write_text("path,action,label\na/1.png,exclude,\n")
    with pytest.raises(DataError, match="changed by another program"):
        decisions.decide({"a/2.png": Decision("keep")})
    assert (tmp_path / "out.csv").read_text() == "path,action,label\na/1.png,exclude,\n"


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"id": 0, "action": "exclude"}, 0, "no such picture"),  # there, but not among those that are shown
        ({"id": -1, "action": "exclude"}, 0, "no such picture"),
        ({"id": "4", "action": "exclude"}, 0, "an id and an action"),
        ({"id": True, "action": "keep"}, 0, "an id and an action"),
        ({"id": 4, "action": "delete"}, 0, "an id and an action"),
        ({"id": 4, "action": "relabel", "label": "dd"}, 409, "'dd' is no class of this data"),
        ({"id": 4, "action": "relabel", "label": 7}, 0, "no such picture"),
    ],
)
def test_wrong_decisions_change_nothing(asked: Any, status: int, words: str, data: Path, tmp_path: Path) -> None:
    app = prepared(data, tmp_path / "out.csv").app
    assert number(app, "a/copy.png") == 4
    if status:
        found, content = post(app, "/decide", asked)
        assert (found, words in content["error"]) == (status, True)
    else:
        with pytest.raises(ValueError, match=words):  # answered 400 by the server
            post(app, "/decide", asked)
    assert not (tmp_path / "out.csv").exists()


# ------------------------------------------------------------------------------------------------------ the page


@contextmanager
def serving(app: Cleaning) -> Iterator[Server]:
    server = Server(app, "127.0.0.1", 0, secret=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def ask(server: Server, path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_pictures_are_asked_for_by_number_and_only_with_the_secret(data: Path, tmp_path: Path) -> None:
    app = prepared(data, tmp_path / "out.csv").app
    with serving(app) as server:
        secret = server.secret
        assert len(secret) > 20
        status, content = ask(server, f"{secret}/picture/{number(app, 'a/copy.png')}")
        assert (status, content[:2]) == (200, b"\xff\xd8")
        hidden = number(app, "a/1.png")
        for path in ("/", "/list", f"/picture/{hidden}", f"{secret[:-1]}/list", f"{secret}x/list",
                     f"{secret}/picture/{hidden}", f"{secret}/picture/../list", f"{secret}/picture/a/copy.png",
                     f"{secret}/{data}/a/1.png", f"{secret}/picture/-1", f"{secret}/picture/99999999999999",
                     f"{secret}/../../etc/passwd"):  # fmt: skip
            assert ask(server, path)[0] == 404, path


@needs_chromium
def test_the_page_by_keyboard(data: Path, tmp_path: Path, browser: Browser) -> None:
    with serving(prepared(data, tmp_path / "out.csv").app) as server:
        browser.open(server.url)
        browser.until("document.querySelector('figure img')?.complete")
        assert browser.run("document.getElementById('why').textContent").endswith("with different labels")
        browser.key("x")
        browser.until("document.getElementById('count').textContent.startsWith('1 of 4')")
        browser.key("3")  # the current one is b/1.png now
        browser.until("document.getElementById('count').textContent.startsWith('2 of 4')")
        browser.key("u")
        browser.until("document.getElementById('count').textContent.startsWith('1 of 4')")
        browser.key("n")
        browser.key("o")
        browser.until("document.getElementById('count').textContent.startsWith('3 of 4')")
        assert (tmp_path / "out.csv").read_text().splitlines()[1:] == [
            "a/copy.png,exclude,", "c/0.jpg,keep,", "c/0.png,exclude,",
        ]  # fmt: skip
        browser.key("r")
        browser.run("document.getElementById('other').value = 'zz'; document.querySelector('#form button').click()")
        browser.until("document.getElementById('said').textContent.includes('no class of this data')")
        assert [text for text in browser.errors if "409" not in text] == []
        assert all(address.startswith((server.url, "about:", "data:")) for address in browser.asked)


@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_every_width_and_is_legible(dark: bool, data: Path, tmp_path: Path, browser: Browser) -> None:
    with serving(prepared(data, tmp_path / "out.csv").app) as server:
        for width in (390, 768, 1440):
            browser.open(server.url, width, dark)
            browser.until("document.querySelector('figure img')?.complete")
            assert not browser.scrolls_sideways(), width
            assert browser.faint() == [], width
        assert browser.errors == []


@needs_chromium
def test_names_of_strangers_are_text(data: Path, tmp_path: Path, browser: Browser) -> None:
    evil = "<img src=x onerror=document.title='hit'>"
    os.rename(data / "b", data / evil)
    with serving(prepared(data, tmp_path / "out.csv").app) as server:
        browser.open(server.url)
        browser.until("document.querySelector('figure img')?.complete")
        browser.key("1")
        browser.until("document.getElementById('count').textContent.startsWith('1 of')")
        assert browser.run("document.querySelector('img[src=x]')") is None
        assert browser.run("document.title") == "Cleaning data"


def test_ctrl_c_ends_it_with_a_summary_and_the_next_command(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "transferkit", "data", "clean", str(data), "--exclude", "c/3.png"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True,
                               env={**os.environ, "PYTHONPATH": str(HERE)})  # fmt: skip
    assert process.stdout is not None
    assert "1 group of copies" in process.stdout.readline()
    url = process.stdout.readline().split()[0]
    place, _, secret = url.removeprefix("http://").partition("/")
    with closing(http.client.HTTPConnection(place, timeout=30)) as connection:
        body = json.dumps({"id": 4, "action": "exclude"})
        connection.request("POST", f"/{secret}decide", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert rest.splitlines() == [
        "data-clean.csv: 1 left out, 0 relabelled, 0 kept; no picture was changed",
        f"To train on the cleaned data: transferkit finetune {data} --exclude c/3.png --exclude-file data-clean.csv",
    ]
