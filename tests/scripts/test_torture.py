"""The plumbing of scripts/torture.py: what counts as a failure, what is recorded, how crashes and hangs are caught."""

from __future__ import annotations

import base64
import json
import marshal
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import torture  # noqa: E402 - scripts are no package
from tortures import changes, hostile, killing, kills, page, registry, shim, texts  # noqa: E402
from tortures.trying import Row, Said, Session, end, finish, in_child, left_alive, mutated  # noqa: E402

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks, signals and limits of POSIX systems")


def attempt(case: str) -> tuple[bool, list[str]]:
    if case == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if case == "hang":
        while True:
            pass
    if case == "raise":
        raise KeyError("x")
    if case == "print":
        os.write(2, b"libtiff: bad\n")
    return case == "refuse", []


def test_a_crash_and_a_hang_cost_one_case_and_are_told() -> None:
    row = Row("made up")
    cases = ["fine", "crash", "refuse", "hang", "raise", "print", "fine"]
    in_child(cases, attempt, row, str, time.monotonic() + 60, processor=0.5)
    assert (row.tried, row.refused) == (7, 1)
    told = "\n".join(row.failures)
    assert "crash: the process ended with SIGKILL" in told
    assert "hang: the process ended with SIGPROF" in told
    assert "raise: KeyError" in told
    assert "libtiff: bad" in told
    assert len(row.failures) == 4


def test_what_is_drawn_is_tried_until_the_time_is_over() -> None:
    row = Row("made up")
    in_child(range(100_000), lambda _: (bool(time.sleep(0.01)), []), row, str, time.monotonic() + 0.5)
    assert 1 < row.tried < 60
    assert not row.failures
    late = Row("made up")
    in_child(["crash"], attempt, late, str, time.monotonic())
    assert (late.tried, late.failures) == (0, [])


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (Said(0, b"fine", b"", 1), None),
        (Said(2, b"", b"error: no such file", 1), None),
        (Said(None, b"", b"", 9), "still running"),
        (Said(-11, b"", b"", 1), "ended with -11"),
        (Said(1, b"", b"Traceback (most recent call last):", 1), "Traceback"),
        (Said(1, b"", b"error: unexpected KeyError: 'x'", 1), "unexpected"),
        (Said(0, b"\x1b[31mred", b"", 1), "control character"),
    ],
)
def test_what_counts_as_a_failure(said: Said, fault: str | None) -> None:
    found = said.faults()
    assert found == [] if fault is None else fault in found[0]


def test_damage_is_drawn_from_the_seed_and_is_damage() -> None:
    content = bytes(range(256)) * 4
    first = [mutated(content, random.Random(n)) for n in range(50)]
    assert first == [mutated(content, random.Random(n)) for n in range(50)]
    assert sum(found != content for found in first) > 40
    assert mutated(b"", random.Random(0)) == b""


def test_each_kind_says_what_it_tries_and_the_page_tells_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, module in registry.modules().items():
        assert module.__doc__, name
        assert callable(module.rows), name
        assert all(isinstance(item, str) for item in (*module.FIXED, *module.OPEN)), name
    made_up: Any = ModuleType("made_up", "What is made up. Further words.")
    made_up.NAME, made_up.FIXED, made_up.OPEN = "made-up", ("it fell over",), ("the sun goes out",)
    monkeypatch.setattr(registry, "modules", lambda: {"made-up": made_up})
    monkeypatch.setattr(page, "JSON", tmp_path / "figures.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    untried = Row("c", note="no compiler")
    page.record("made-up", [Row("a", 3, 1), Row("b", 2, 0, ["b 1: lost"], 1.25, "noted"), untried], 0, 4.2)
    text = (tmp_path / "page.md").read_text()
    assert "| a | 3 | 1 | 0 | 0.0 s |" in text
    assert "| b (noted) | 2 | 0 | **1** | 1.2 s |" in text
    assert "| c" not in text  # a zero among failures would be praise
    assert "\nNot tried, for want of time where nothing else is said:\n\n- c (no compiler)\n" in text
    assert "- it fell over" in text
    assert "- the sun goes out" in text
    assert json.loads((tmp_path / "figures.json").read_text())["made-up"]["rows"][1]["failures"] == ["b 1: lost"]


@pytest.mark.parametrize("failing", [None, "kills"])
def test_the_short_form_shares_all_kinds_among_its_processes(
    monkeypatch: pytest.MonkeyPatch, failing: str | None
) -> None:
    begun: list[list[str]] = []

    class Begun:
        def __init__(self, command: list[str]) -> None:
            self.command = command
            begun.append(command)

        def wait(self) -> int:
            return int(failing in self.command)

    monkeypatch.setattr(subprocess, "Popen", Begun)
    done = CliRunner().invoke(torture.torture, ["--short", "--seed", "7"])
    assert done.exit_code == int(failing is not None)
    assert len(begun) == torture.LANES
    assert all(command[2:5] == ["--short", "--seed", "7"] for command in begun)
    assert sorted(kind for command in begun for kind in command[5:]) == sorted(registry.modules())


def test_the_short_form_leaves_no_kind_out_however_long_the_others_took(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried: list[str] = []

    def kind(name: str) -> Any:
        made: Any = ModuleType(name)

        def rows(session: Session) -> Iterator[Row]:
            row = Row(name)
            for _ in session.times(1, 1):
                tried.append(name)
                row.tried += 1
            yield row

        made.rows = rows
        return made

    monkeypatch.setattr(registry, "modules", lambda: {name: kind(name) for name in "abc"})
    monkeypatch.setattr(torture, "SHORT", 0.0)
    assert torture._failed("abc", True, 0, None, tmp_path) == 0
    assert tried == [*"abc"]


def test_a_row_that_a_run_does_not_come_to_keeps_what_an_earlier_one_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made_up: Any = ModuleType("made_up", "What is made up.")
    made_up.NAME, made_up.FIXED, made_up.OPEN = "made-up", (), ()
    monkeypatch.setattr(registry, "modules", lambda: {"made-up": made_up})
    monkeypatch.setattr(page, "JSON", tmp_path / "figures.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.record("made-up", [Row("a", 3), Row("b", 2, 0, ["b 1: lost"], held=300), Row("never")], 0, 4)
    page.record("made-up", [Row("a", 7), Row("b"), Row("never")], 1, 4)
    lines = (tmp_path / "page.md").read_text().splitlines()
    today = time.strftime("%Y-%m-%d")
    assert "| a | 7 | 0 | 0 | 0.0 s |" in lines
    assert f"| b (300 MB held at the most); run of {today} with seed 0 | 2 | 0 | **1** | 0.0 s |" in lines
    assert "- never" in lines


def test_the_recorded_page_is_the_one_its_figures_make() -> None:
    content = json.loads(page.JSON.read_text("utf-8"))
    assert page.PAGE.read_text("utf-8") == "\n".join(page.lines(content)) + "\n"


def session_in(folder: Path) -> Session:
    return Session(folder.resolve(), 0, True, time.monotonic() + 60)


def test_no_row_takes_the_time_of_those_behind_it(tmp_path: Path) -> None:
    now = time.monotonic()
    long = Session(tmp_path, 0, False, now + 60)
    assert long.part(3).until - now == pytest.approx(20, abs=1)
    assert long.part(1).until == pytest.approx(long.until)
    assert long.part(10, least=30).until - now == pytest.approx(30, abs=1)
    assert long.part(10, least=300).until == long.until
    assert session_in(tmp_path).part(3).until > now + 50
    assert Session(tmp_path, 0, False, now - 1).part(3).over


WRITER = """
import os, sys
with open(sys.argv[1] + "/a.txt", "wb", buffering=0) as handle:
    handle.write(b"12345678")
os.rename(sys.argv[1] + "/a.txt", sys.argv[1] + "/b.txt")
print("done", flush=True)
"""


@pytest.mark.skipif(shim.library() is None, reason="no C compiler, or not Linux")
@pytest.mark.parametrize(
    ("at", "do", "code", "left"),
    [
        (2, "kill", -9, {"a.txt": b"1234"}),  # in the middle of the write
        (3, "kill", -9, {"a.txt": b"12345678"}),
        (4, "kill", 0, {"b.txt": b"12345678"}),
        (1, "full", 1, {}),
        (2, "full", 1, {"a.txt": b""}),
        (3, "full", 1, {"a.txt": b"12345678"}),
    ],
)
def test_the_disk_fails_at_the_operation_asked_for(at: int, do: str, code: int, left: Any, tmp_path: Path) -> None:
    under = tmp_path / "under"
    under.mkdir()
    (tmp_path / "beside").mkdir()
    env = session_in(tmp_path).environment() | shim.faults(under, at=at, do=do, count=tmp_path / "count")
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(under)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert {path.name: path.read_bytes() for path in under.iterdir()} == left
    assert "No space left" in done.stderr if do == "full" else True
    # What lies elsewhere is not counted.
    elsewhere = [sys.executable, "-c", WRITER, str(tmp_path / "beside")]
    assert subprocess.run(elsewhere, env=env, capture_output=True, check=False).stdout == b"done\n"


@pytest.mark.skipif(shim.library() is None, reason="no C compiler, or not Linux")
def test_operations_are_counted_for_each_folder_and_the_clock_is_put_back(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "ab", "b")]
    for folder in folders:
        folder.mkdir()
    session, count = session_in(tmp_path), tmp_path / "count"
    env = session.environment() | shim.faults(*folders, count=count)
    for folder in folders[1:2]:
        subprocess.run([sys.executable, "-c", WRITER, str(folder)], env=env, check=True, capture_output=True)
    assert shim.counted(count, 3) == [0, 3, 0]
    tell = [sys.executable, "-c", "import time, datetime; print(time.time(), datetime.datetime.now().timestamp())"]
    told = subprocess.run(tell, env=session.environment() | shim.clock(-86_400), capture_output=True, check=True)
    assert all(time.time() - float(now) == pytest.approx(86_400, abs=60) for now in told.stdout.split())


@pytest.mark.skipif(shim.library() is None, reason="no C compiler, or not Linux")
def test_of_several_processes_one_is_killed_once(tmp_path: Path) -> None:
    under, count = tmp_path / "under", tmp_path / "count"
    under.mkdir()
    env = session_in(tmp_path).environment() | shim.faults(under, at=5, do="kill", count=count)
    again = f"import subprocess, sys; [subprocess.run([sys.executable, '-c', {WRITER!r}, sys.argv[1]]) for _ in 'abc']"
    done = subprocess.run([sys.executable, "-c", again, str(under)], env=env, capture_output=True, check=True)
    assert done.stdout == b"done\n" * 2  # the second of three was killed, at its second change
    assert shim.counted(count) == [3 + 2 + 2]  # the third found a.txt there, and made none


def test_what_is_left_over_is_told_of_one_try(tmp_path: Path) -> None:
    session = session_in(tmp_path)
    session.environment()
    run = session.fresh("tries") / "run"
    for stray in (run / ".half", session.folder / "tmp" / "stray" / "a", session.folder / "cache" / "x.tmp"):
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.write_text("")
    kept = [run / "run.json", session.folder / "home" / ".keras", session.folder / "tmp" / "__autograph_x.py"]
    for path in kept:
        path.write_text("")
    assert len(killing.left_over(session, session.folder / "tries")) == 3
    assert killing.left_over(session, session.folder / "tries") == []
    assert all(path.exists() for path in kept)


def test_what_was_never_tried_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def told(session: Session, name: str = "", **_: Any) -> Any:
        yield from map(Row, killing.titles(name) if name else ["weights or exports"])

    monkeypatch.setattr(kills, "killed", told)
    monkeypatch.setattr(kills, "_fetches", told)
    monkeypatch.setattr(kills, "_exports", told)
    monkeypatch.setattr(page, "JSON", tmp_path / "none.json")
    session = Session(tmp_path.resolve(), 0, False, time.monotonic() + 60)
    order = [row.what for row in kills.rows(session)]
    assert order[0] == "weights or exports"
    late = killing.titles("tune, bayesian, two workers")
    rows = [{"what": what, "tried": int(what != late[1])} for what in order]
    (tmp_path / "none.json").write_text(json.dumps({"kills": {"rows": rows}}))
    assert [row.what for row in kills.rows(session)][:2] == list(late)
    assert sorted(row.what for row in kills.rows(session)) == sorted(order)


def test_what_outlives_a_command_is_found_and_ended(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])"
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as process:
        process.wait()
        found = left_alive(process.pid, 0.3)
    assert len(found) == 1
    assert "time.sleep(300)" in found[0]
    assert left_alive(process.pid, 5) == []


def test_a_command_at_its_limit_is_ended_with_all_it_started(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "300"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert finish(process, 0.2).code is None
    assert process.returncode == -signal.SIGKILL
    end(process)  # once more does no harm


def test_what_is_done_to_data_changes_it_and_what_is_harmless_does_not(tmp_path: Path) -> None:
    from transferkit.data.digits import write_digits

    digits = write_digits(tmp_path / "digits", 1)
    for number, (name, harm) in enumerate(changes.HARMS.items()):
        data = shutil.copytree(digits, tmp_path / str(number))
        before = changes._hashes(data)
        picture = min(data.glob("4/*.png"))
        told = picture.stat()
        harm(picture)
        assert (changes._hashes(data) == before) == (name in changes.HARMLESS), name
        if picture.exists() and name not in changes.HARMLESS:
            assert picture.stat().st_mtime_ns == told.st_mtime_ns, "the time of the file must not give it away"


def test_hostile_models_are_what_they_are_called(tmp_path: Path) -> None:
    layers = [{"config": {"activation": "linear", "name": "a"}}, {"config": {"name": "b"}, "class_name": "Dense"}]
    plain = {"config.json": json.dumps({"config": {"layers": layers}}).encode(), "model.weights.h5": b"x"}
    for name, change in hostile.MODELS.items():
        if "300 MB" in name:
            continue
        members = dict(plain)
        change(members, tmp_path / "sign")
        assert members != plain, name
    members = dict(plain)
    hostile.MODELS["a Lambda layer"](members, tmp_path / "sign")
    code = json.loads(members["config.json"])["config"]["layers"][-1]["config"]["function"]["config"]["code"]
    exec(marshal.loads(base64.b64decode(code)))  # the code does what it must not get to do
    assert (tmp_path / "sign").exists()


@pytest.mark.parametrize("name", texts.SETTINGS)
def test_settings_are_valid_before_they_are_damaged(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(texts.SETTINGS[name])
    assert texts.called("config", "validate", tmp_path / name)[:2] == (False, [])


def test_results_are_compared_but_for_their_times(tmp_path: Path) -> None:
    for name, seconds, loss in (("a", "1.5", "0.25"), ("b", "2.5", "0.25"), ("c", "1.5", "0.35")):
        (tmp_path / f"{name}.csv").write_text(f"epoch,loss,seconds\n1,{loss},{seconds}\n")
        (tmp_path / f"{name}.json").write_text(json.dumps({"loss": loss, "search": {"seconds": seconds}}))
    for ending in ("csv", "json"):
        assert killing.told(tmp_path / f"a.{ending}") == killing.told(tmp_path / f"b.{ending}")
        assert killing.told(tmp_path / f"a.{ending}") != killing.told(tmp_path / f"c.{ending}")
