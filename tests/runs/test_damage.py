"""Every file of a run, damaged in every way, under every command: one clear error names the file, or the command says
what it says of the whole run."""

import json
import os
import random
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.calls import call
from tests.marks import extended, ordinary_user
from tests.nested import places, put
from tests.runs.sealing import put_manifest
from transferkit.errors import RunError
from transferkit.files import read_json, write_json
from transferkit.runs.directory import run_lock
from transferkit.runs.layout import Layout
from transferkit.seals import SEAL

REACHED = "the model was reached"
UNPROMISED = "--abstain: the run has no threshold"  # said of the sound run as well: its validation split is small
FILES = (
    "run.json", "metrics.json", "splits.csv", "predictions.csv", "history.csv", "model.keras", "typical.npz",
    "report.html", "CARD.md", "figures",
)  # fmt: skip


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def digit(path):
    content = bytearray(path.read_bytes())
    place = next(found.start() for found in re.finditer(rb"\d", content) if found.start() >= len(content) // 2)
    content[place] = ord("0") + (content[place] - ord("0") + 1) % 10
    path.write_bytes(content)


def folder(path):
    remove(path)
    path.mkdir()


def instead(content):
    return lambda path: (remove(path), path.write_bytes(content))


DAMAGES = {
    "missing": remove,
    "a folder": folder,
    "a link to nothing": lambda path: (remove(path), path.symlink_to("nothing")),
    "a pipe": lambda path: (remove(path), os.mkfifo(path)),
    "empty": instead(b""),
    "cut": cut,
    "one bit": flip,
    "one digit": digit,
    "binary": instead(bytes(range(256)) * 40),
    "nested": instead(b"[" * 200_000),
    "an endless number": instead(b'{"status": ' + b"9" * 6000 + b"}"),
    "NaN": instead(b'{"status": NaN}'),
    "an endless cell": instead(b"path,label,split,fold,sha256,phase,epoch\n" + b"x" * 200_000),
    "one column": instead(b"path\na\n"),
    "not UTF-8": instead(b"\xff\xfe{\x00}\x00"),
}


# What is only another kind of nonsense to a file of another kind.
OF_KIND = {".json": ("nested", "an endless number", "NaN"), ".csv": ("an endless cell", "one column")}


# What no command reads, only makes again: whatever its content, what counts is that there is something else.
MADE_AGAIN = ("report.html", "CARD.md", "figures")


def damages(name, of_others):
    """Those of files of its kind, or the ones of other kinds."""
    if name in MADE_AGAIN:
        return list(DAMAGES.items())[:5]
    foreign = {damage for kind, some in OF_KIND.items() if kind != Path(name).suffix for damage in some}
    return [(damage, inflict) for damage, inflict in DAMAGES.items() if (damage in foreign) == of_others]


@pytest.fixture
def reached(monkeypatch):
    """Commands end where they would load TensorFlow: what lies before is what is tested."""

    def start(*_, **__):
        raise RunError(REACHED)

    monkeypatch.setattr("transferkit.compute.start", start)


@pytest.fixture
def copy(digits_run, tmp_path):
    return shutil.copytree(digits_run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("exports", "explained"))


def commands(run, other, data, picture):
    settings = ("--backbone", "mini", "--epochs", 8, "--patience", 7, "--views", 1)
    return [
        ("summary", run), ("summary", run, "--json"), ("diagnose", run), ("compare", run, other), ("report", run),
        ("evaluate", run), ("evaluate", run, data), ("predict", run, picture),
        ("predict", run, picture, "--abstain", "run"),
        ("explain", run), ("export", run, "--format", "keras"), ("reproduce", run, "--output", run / "again"),
        ("data", "check", "--run", run), ("finetune", data, *settings, "--output", run, "--resume"),
    ]  # fmt: skip


def sound(result, *names, whole=None):
    """Whether a command went on (as on the `whole` run, where that is given), or ended in one clear error that names
    one of `names`."""
    if "unexpected" in result.err or "bug in transferkit" in result.err or "Traceback" in result.err:
        return False
    went_on = result.code == 0 or REACHED in result.err or UNPROMISED in result.err
    on = went_on if whole is None else result == whole
    return on or (result.code == 2 and any(str(name) in result.err for name in names))


OF_OTHERS = [(name, True) for name in FILES if name not in MADE_AGAIN]


@pytest.mark.parametrize(
    ("name", "of_others"), extended([*((name, False) for name in FILES), *OF_OTHERS], OF_OTHERS, spread=True)
)
def test_each_damage_under_each_command(name, of_others, digits_run, digits, copy, reached, tmp_path):
    picture = next(digits.glob("*/*.png"))
    whole = [call(*command) for command in commands(copy, digits_run.folder, digits, picture)]
    for damage, inflict in damages(name, of_others):
        kept = tmp_path / "kept"
        (copy / name).rename(kept)
        (shutil.copytree if kept.is_dir() else shutil.copy)(kept, copy / name)
        if (copy / name).is_dir() and damage in ("cut", "one bit", "one digit"):
            inflict = folder
        inflict(copy / name)
        for command, before in zip(commands(copy, digits_run.folder, digits, picture), whole, strict=True):
            result = call(*command)
            # A command that makes a file again may find that it cannot: that names the file as well.
            fine = sound(result, name, whole=None if name in MADE_AGAIN else before)
            assert fine, f"{damage} {name}: {command[0]}: {result.code} {result.out[-300:]} {result.err[-300:]}"
            assert "\x1b" not in result.err
        remove(copy / name) if os.path.lexists(copy / name) else None
        kept.rename(copy / name)


EVERY = {
    "summary",
    "diagnose",
    "compare",
    "report",
    "evaluate",
    "predict",
    "explain",
    "export",
    "reproduce",
    "check",
    "resume",
}
READERS = {
    "run.json": EVERY,
    "metrics.json": EVERY - {"predict"},
    "splits.csv": EVERY - {"summary", "diagnose", "predict"},
    "predictions.csv": {"compare", "report", "explain", "reproduce"},
    "history.csv": {"compare", "report", "reproduce"},
    "model.keras": {"report", "evaluate", "predict", "explain", "export", "reproduce"},
    "typical.npz": {"evaluate on data"},
}


def _each(copy, digits_run, digits, to):
    """What each command says, by its name; what it writes is not kept."""
    picture, elsewhere = next(digits.glob("*/*.png")), ("--output", to)
    settings = ("--backbone", "mini", "--epochs", 8, "--patience", 7, "--views", 1)
    words = {
        "summary": ("summary", copy, "--json"), "diagnose": ("diagnose", copy), "report": ("report", copy),
        "compare": ("compare", copy, digits_run.folder), "evaluate": ("evaluate", copy, "--json"),
        "evaluate on data": ("evaluate", copy, digits, "--json"), "predict": ("predict", copy, picture, "--json"),
        "explain": ("explain", copy, *elsewhere), "export": ("export", copy, "--format", "keras", *elsewhere),
        "reproduce": ("reproduce", copy, *elsewhere), "check": ("data", "check", "--run", copy),
        "resume": ("finetune", digits, *settings, "--output", copy, "--resume"),
    }  # fmt: skip
    for name, command in words.items():
        yield name, call(*command)
        shutil.rmtree(to, ignore_errors=True)


@pytest.mark.parametrize("name", extended(READERS, list(READERS)))
def test_a_digit_of_a_sealed_file_is_refused_by_all_who_read_it_and_nobody_else_says_another_thing(
    name, digits_run, digits, copy, tmp_path
):
    call("report", copy)  # which writes another page than the run did
    whole = dict(_each(copy, digits_run, digits, tmp_path / "to"))
    assert {result.code for result in whole.values()} == {0}, whole
    digit(copy / name)
    readers = READERS[name] | ({"evaluate on data"} if "evaluate" in READERS[name] else set())
    for command, result in _each(copy, digits_run, digits, tmp_path / "to"):
        if command in readers:
            assert result.code == 2, (command, result)
            assert name in result.err, (command, result.err)
        else:
            assert (result.code, _untimed(result.out)) == (0, _untimed(whole[command].out)), command


def _untimed(text):
    return re.sub(r"\d[\d.]* ?m?s\b", "TIME", text)


@pytest.mark.parametrize("name", [*FILES, "."])
def test_files_without_permission(name, digits_run, digits, copy, reached):
    (copy / name).chmod(0)
    with ordinary_user():
        for command in commands(copy, digits_run.folder, digits, next(digits.glob("*/*.png"))):
            result = call(*command)
            assert sound(result, copy / name), (name, command[0], result.err)
    (copy / name).chmod(0o700)


VALUES = (None, "x\x1b[31m", "", -1, 10**30, 1e300, True, [], {}, [[1]], {"a": 1}, ["x"])


@pytest.mark.parametrize("name", ["run.json", "metrics.json"])
def test_wrong_types_inside_valid_json(name, digits_run, digits, copy, reached):
    """Of a run from before run.json knew the hashes of its files, so that nothing but the types can tell."""
    manifest = Layout(copy).read_manifest().as_json()
    manifest.pop("files")
    write_json(copy / "run.json", manifest)
    content, rng = read_json(copy / name), random.Random(0)
    wanted = rng.sample(sorted(places(content), key=str), 30)
    for place in wanted:
        (copy / name).write_text(json.dumps(put(content, place, rng.choice(VALUES))))
        for command in commands(copy, digits_run.folder, digits, next(digits.glob("*/*.png"))):
            result = call(*command)
            # Other settings than those asked for are told by their names; a path of data may be any text.
            fine = sound(result, name, "splits.csv", copy, "--resume", "is no longer there", "are no longer in")
            assert fine, f"{place}: {command[0]}: {result.code} {result.err[-300:]}"
            assert "\x1b" not in result.out + result.err, f"{place}: {command[0]}"


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege on Windows")
@pytest.mark.parametrize(
    ("name", "command"),
    [("figures", "report"), ("exports", "export --format keras"), ("exports", "export --format all"),
     ("explained", "explain")],
)  # fmt: skip
def test_nothing_is_written_through_links_inside_a_run(name, command, copy, reached, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    if (copy / name).exists():
        remove(copy / name)
    (copy / name).symlink_to(outside)
    word, *options = command.split()
    done = call(word, copy, *options)
    assert done.code == 2
    assert f"{name} is a link to {outside}" in done.err
    assert list(outside.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege on Windows")
@pytest.mark.parametrize("name", [".lock", "checkpoints"])
def test_nor_is_work_on_a_run_begun_behind_them(name, tmp_path):
    outside, run = tmp_path / "outside", tmp_path / "run"
    outside.write_text("mine")
    run.mkdir()
    (run / name).symlink_to(outside)
    with pytest.raises(RunError, match=f"{name} is a link to {outside}"), run_lock(Layout(run)):
        pytest.fail("begun")
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("step", extended([1, 17], [1]))
def test_no_byte_of_run_json_can_change_what_it_says(step, digits_run, tmp_path):
    layout, content = Layout(tmp_path), digits_run.layout.manifest.read_bytes()
    layout.manifest.write_bytes(content)
    known = layout.read_manifest().as_json()
    name_of_seal = range(content.rindex(SEAL.encode()), len(content))
    for place in range(0, len(content), step):
        byte = content[place]
        other = ord("0") + (byte - ord("0") + 1) % 10 if chr(byte).isdigit() else byte ^ 1 << place % 7
        layout.manifest.write_bytes(content[:place] + bytes([other]) + content[place + 1 :])
        try:
            found = layout.read_manifest().as_json()
        except RunError:
            continue
        assert {key: found[key] for key in known} == known, place
        assert place in name_of_seal or found.keys() == known.keys()  # a seal of another name is a key of nobody's


def test_a_foreign_command_is_not_shown_as_advice(copy):
    for command in (
        "rm -rf ~",
        "transferkit finetune x; rm -rf ~",
        "transferkit finetune \x1b[2J",
        "transferkit $(id)",
    ):
        put_manifest(copy, {**read_json(copy / "run.json"), "status": "interrupted\x1b[8m", "command": command})
        result = call("summary", copy)
        assert result.code == 2
        assert "interrupted\\x1b[8m, not complete; finish it with its command and --resume" in result.err
        assert "rm" not in result.err.replace(str(copy), "")
        assert "\x1b" not in result.err


def test_older_runs_stay_readable(copy, reached):
    """Before hashes of files were kept, and without what later versions added."""
    manifest = Layout(copy).read_manifest().as_json()
    for key in ("files", "plugins", "notes", "warnings", "rate_curve", "learning_rate", "split_sha256", "kind"):
        manifest.pop(key, None)
    manifest["config"].pop("refit", None)
    write_json(copy / "run.json", manifest)
    metrics = read_json(copy / "metrics.json")
    write_json(copy / "metrics.json", {k: v for k, v in metrics.items() if k not in ("abstention", "learning_curve")})
    assert call("summary", copy).code == 0
    assert call("diagnose", copy).code == 0
    for command in ("report", "evaluate"):
        assert REACHED in call(command, copy).err
    assert Path(copy, "predictions.csv").exists()
