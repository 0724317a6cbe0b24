"""The other commands' main paths, and what all commands promise."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tests.cli.calls import call, tree
from tests.data.pictures import folder_of_classes
from transferkit.cli import COMMANDS, cli
from transferkit.cli._boundary import guarded
from transferkit.cli._help import Grouped


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands())


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example_and_the_common_options(path: tuple[str, ...]) -> None:
    result = call(*path, "--help-all" if isinstance(ALL[path], Grouped) else "--help")
    assert result.code == 0
    assert f"Example:  transferkit {' '.join(path)}" in " ".join(result.out.split("\n")).replace("  ", "  ")
    for option in ("--json", "--quiet", "--debug"):
        assert option in result.out
    assert ALL[path].help


VALUED = {
    path: [p for p in command.params if isinstance(p, click.Option) and not p.is_flag and not p.multiple]
    for path, command in ALL.items()
}


@pytest.mark.parametrize("path", [path for path, options in VALUED.items() if options], ids=" ".join)
def test_every_command_refuses_an_option_given_twice(path: tuple[str, ...]) -> None:
    name = VALUED[path][0].opts[0]
    result = call(*path, name, "1", name, "2")
    assert result.code == 2
    assert "is given 2 times" in result.err


def test_only_what_is_built_is_offered() -> None:
    assert {path[0] for path in ALL} == set(COMMANDS)
    assert all(command.callback is not None for command in ALL.values())


def test_version_and_help() -> None:
    import transferkit

    assert transferkit.__version__ in call("--version").out
    text = call("--help").out
    assert all(name in text for name in COMMANDS)
    assert "Example:" in text


# ---------------------------------------------------------------------------------- the error boundary


@click.command()
@click.option("--kind")
def failing(kind: str) -> None:
    if kind == "bug":
        raise KeyError("x")
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "import":  # was interrupted, and tells of it as compiled modules do
        raise ImportError("initialization failed") from KeyboardInterrupt()
    if kind == "pipe":  # to a process of ours that died
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    if kind == "gone":  # a run that was renamed while a command reads it
        Path("runs/a/model.keras").read_bytes()
    if kind == "short":  # a compressed file that ends too early
        raise EOFError("no end-of-stream marker")
    from transferkit.errors import DataError, StorageError

    raise {"data": DataError, "disk": StorageError}[kind]("what is wrong")


@pytest.mark.parametrize(("kind", "code", "text"), [
    ("data", 2, "error: what is wrong\n"),
    ("disk", 1, "error: what is wrong\n"),
    ("interrupt", 130, "interrupted\n"),
    ("import", 130, "interrupted\n"),
])  # fmt: skip
def test_errors_become_one_message_and_a_code(
    kind: str, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(failing, ["--kind", kind]) == code
    out, err = capsys.readouterr()
    assert (out, err.lstrip()) == ("", text)


@pytest.mark.skipif(os.name != "posix", reason="whether a pipe is read is asked of a POSIX system")
@pytest.mark.parametrize(("kind", "text"), [("pipe", "unexpected BrokenPipeError"), ("short", "unexpected EOFError")])
def test_what_only_looks_like_a_reader_who_left_or_an_interrupt_is_told(
    kind: str, text: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull, "w") as read_by_somebody:
        monkeypatch.setattr(sys, "stdout", read_by_somebody)
        assert guarded(failing, ["--kind", kind]) == 1
    assert text in capfd.readouterr().err


def test_what_is_moved_away_meanwhile_is_no_bug_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(failing, ["--kind", "gone"]) == 1
    said = "error: runs/a/model.keras is not there any more: it was moved or removed while it was needed"
    assert capsys.readouterr().err == f"{said}; --debug shows where\n"


def test_a_bug_says_so_and_debug_shows_where(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    assert guarded(failing, ["--kind", "bug"]) == 1
    text = capsys.readouterr().err
    assert "unexpected KeyError" in text
    assert "Traceback" not in text
    flagged = click.command()(click.option("--kind")(click.option("--debug", is_flag=True)(lambda **_: {}["x"])))
    assert guarded(flagged, ["--kind", "bug", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.extended
def test_a_reader_that_goes_away_is_no_error(digits_run: Any, digits: Path) -> None:
    command = f"{sys.executable} -m transferkit predict {digits_run.folder} {digits} | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=200, check=True)
    assert len(result.stdout.splitlines()) == 2
    assert result.stdout.splitlines()[1] == "0"
    assert "Traceback" not in result.stderr
    assert "Broken pipe" not in result.stderr


# ------------------------------------------------------------------------------------------ the groups


def test_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = folder_of_classes(tmp_path / "flowers", {"rose": 9, "iris": 8})
    before = tree(data)
    assert json.loads(call("data", "summary", data, "--json").out)["classes"] == {"iris": 8, "rose": 9}
    assert call("data", "split", data, "--output", tmp_path / "s.csv").code == 0
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 18
    assert call("data", "check", data).code == 0
    (data / "rose" / "page.jpg").write_text("<html>")
    found = call("data", "check", data, "--write-exclusions", tmp_path / "out.txt")
    assert found.code == 2
    assert "page.jpg" in (tmp_path / "out.txt").read_text()
    (data / "rose" / "page.jpg").unlink()
    assert tree(data) == before


def test_backbones() -> None:
    listed = json.loads(call("backbones", "list", "--json").out)
    assert {"mini", "vgg16", "resnet50_v2", "mobilenet_0.25"} <= {row["name"] for row in listed}
    text = call("backbones", "list").out
    assert all(row["name"] in text for row in listed)
    assert {"name": "dinov2_small", "repository": "facebook/dinov2-small"}.items() <= next(
        row for row in listed if row["name"] == "dinov2_small"
    ).items()
    one = json.loads(call("backbones", "show", "vgg16", "--json").out)
    assert (one["size"], one["minimum"], one["stages"][-1]) == (224, 32, "block5")
    assert "block5" in call("backbones", "show", "vgg16").out
    bundled = json.loads(call("backbones", "show", "efficientnet_lite0", "--json").out)
    assert (bundled["weights"], bundled["weights_url"], len(bundled["weights_hash"])) == ("bundled", None, 64)
    assert bundled["licence"].startswith("Apache-2.0 (Google")
    wrong = call("backbones", "show", "resnet51")
    assert wrong.code == 2
    assert "nearest: " in wrong.err


def test_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert call("weights", "path").out.strip() == str(tmp_path / "models")
    file = Path(call("weights", "path", "mobilenet_0.25").out.strip())
    assert file.parent == tmp_path / "models"
    absent = call("weights", "fetch", "mobilenet_0.25", "--offline")
    assert absent.code == 2
    assert file.name in absent.err
    assert call("weights", "verify", "mobilenet_0.25").code == 1
    assert call("weights", "verify").code == 0
    assert "no weights are here to be verified" in call("weights", "verify").out
    assert "0 files" in call("weights", "list").out
    assert call("weights", "add", tmp_path / "absent.h5").code == 2
    rows = json.loads(call("weights", "list", "--json").out)
    assert {row["status"] for row in rows} == {"absent"}


def test_cache(digits_run: Any, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "copy"))
    assert json.loads(call("cache", "info", "--json").out)["sets"] == []
    shutil.copytree(digits_run.folder.parent / "cache", tmp_path / "copy")
    content = json.loads(call("cache", "info", "--json").out)
    assert content["bytes"] > 0
    assert content["folder"] == str(tmp_path / "copy" / "features")
    first, *told = call("cache", "info").out.splitlines()
    assert f"{len(content['sets'])} set" in first
    assert any(line.startswith("  mini") for line in told)
    assert all(len(line) <= 80 and ":" not in line for line in told)  # in words, whatever the keys are
    assert json.loads(call("cache", "clear", "--keep", 1, "--json").out)["removed"] == 0
    assert json.loads(call("cache", "clear", "--json").out)["removed"] == len(content["sets"])
    assert json.loads(call("cache", "info", "--json").out)["bytes"] == 0


def test_report_and_summary(digits_run: Any, tmp_path: Path) -> None:
    shutil.copytree(digits_run.folder, tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    result = call("report", tmp_path / "run", "--json")
    assert json.loads(result.out) == {"report": str(tmp_path / "run" / "report.html")}
    assert (tmp_path / "run" / "report.html").exists()
    content = json.loads(call("summary", tmp_path / "run", "--json").out)
    assert content["run"]["status"] == "complete"
    assert content["metrics"] == digits_run.metrics


def test_a_demo_takes_no_place_of_others(tmp_path: Path) -> None:
    """What it does: `tests/packaging/test_wheel.py`."""
    (tmp_path / "demo" / "run").mkdir(parents=True)
    (tmp_path / "demo" / "run" / "run.json").touch()
    taken = call("demo", "--output", tmp_path / "demo")
    assert taken.code == 2
    assert "choose another name" in taken.err
    (tmp_path / "file").write_text("mine")
    assert call("demo", "--output", tmp_path / "file").code == 2
    assert (tmp_path / "file").read_text() == "mine"


def test_evaluate_shows_each_score_with_its_interval_on_one_line(digits_run: Any) -> None:
    result = call("evaluate", digits_run.folder)
    assert result.code == 0
    low, high = digits_run.metrics["test"]["accuracy_ci95"]
    line = next(line for line in result.out.splitlines() if line.startswith("accuracy "))
    assert line.endswith(f"(95 % interval {low:.4f} to {high:.4f})")
    assert "_ci95" not in result.out
