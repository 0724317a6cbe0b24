"""Settings in files: every option, the command line wins, a run is a config, mistakes are named; completion."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.calls import Result, call
from tests.runs.sealing import put_manifest
from transferkit.cli._config_file import COMMAND_LINE_ONLY, OWN, OWN_OF_BEST, OWN_OF_TUNE, own_options
from transferkit.cli.config import as_toml, template, toml_value
from transferkit.config import Settings
from transferkit.setting import declared
from transferkit.text import safe


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> dict[str, Any]:
    """What `finetune` passes on, without training anything."""
    found: dict[str, Any] = {}

    class StoppedError(Exception):
        pass

    def stop(data: Path, **given: Any) -> None:
        found.update(given)
        raise StoppedError

    monkeypatch.setattr("transferkit.api.finetune", stop)
    call("finetune", *arguments)
    return found


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


# ------------------------------------------------------------------------------------------------- --config


def test_every_option_may_stand_in_the_file_and_the_command_line_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "run.toml", '''
backbone = "mini"
image-size = 64
head_width = [8, 4]
epochs = 5
ema = false
output = "runs/a"
offline = true
cache = false
track = "mlflow"
engine = "ray"
address = "auto"
''')  # fmt: skip
    found = asked(monkeypatch, tmp_path, "--config", file, "--epochs", 2, "--output", "runs/b", "--engine", "local")
    assert found.pop("reporter")
    assert found == {
        "backbone": "mini", "image_size": 64, "head_width": [8, 4], "epochs": "2", "ema": False, "resume": False,
        "output": Path("runs/b"), "offline": True, "cache": False, "track": ("mlflow",),
        "dry_run": False, "engine": "local", "address": "auto",
    }  # fmt: skip


def test_a_run_is_a_config_whole_or_by_its_manifest_or_exported(
    digits_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = write(tmp_path / "exported.toml", call("config", "show", digits_run.folder).out)
    wanted = {"backbone": "mini", "epochs": 8, "patience": 7, "views": 1}
    for source in (digits_run.folder, digits_run.folder / "run.json", exported):
        found = asked(monkeypatch, tmp_path, "--config", source)
        assert {name: found[name] for name in found if name in Settings.model_fields} == wanted


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("epoch = 3", ("unknown setting 'epoch'", "it is called epochs here")),
        ("image-size = 64\nimage_size = 32", ("image_size with a dash and with an underscore",)),
        ("offline = 'yes'", ("offline = 'yes' must be true or false",)),
        ("[head]\nwidth = 3", ("--head",)),
        ("views = 3\naugment = 'none'\nepochs = 'x'", ("--views 3 has no effect", "--epochs x")),
        ("backbone = 'vgg61'", ("vgg61", "nearest", "'vgg16'")),
        ("backbone = 'mini'\nunfreeze = 'from:blok3'", ("blok3", "block3")),
        ("= 3", ("not valid TOML",)),
        ("epochs = " + "[" * 100_000, ("nested too deeply",)),
        ("epochs = " + "9" * 5000, ("not valid TOML",)),
        ("epochs = '" + "9" * 5000 + "'", ("--epochs 999", "9… (5,000 characters)")),
        ('"\x1b[31mred" = 3'.replace("\x1b", "\\u001b"), (r"unknown setting '\x1b[31mred'",)),
    ],
)
def test_mistakes_are_named(content: str, words: tuple[str, ...], tmp_path: Path, digits: Path) -> None:
    file = write(tmp_path / "run.toml", content)
    more = () if "backbone" in content else ("--backbone", "mini")
    results = [call("finetune", digits, "--config", file, *more, "--output", tmp_path / "run")]
    results.append(call("config", "validate", file))
    for result in results:
        assert result.code == 2
        assert all(word in result.err for word in words), result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_are_read_as_windows_saves_them(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_bytes('backbone = "mini"\r\nepochs = 3\r\n'.encode(encoding))
    assert "is valid: 2 settings" in call("config", "validate", tmp_path / "run.toml").out


def test_other_json_is_no_run(tmp_path: Path) -> None:
    for text in ("[]", "{}", "{", '{"config": 3, "given": ["epochs"]}', "[" * 100_000):
        result = call("config", "show", write(tmp_path / "x.json", text))
        assert result.code == 2
        assert "is not the run.json of a run" in result.err


# -------------------------------------------------------------------------------------- init, show, validate


def test_the_template_has_every_setting_at_its_default(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    assert call("config", "init", file, "--backbone", "mini").code == 0
    assert tomllib.loads(file.read_text("utf-8")) == {"backbone": "mini"}
    lines = [line[2:] for line in file.read_text("utf-8").splitlines() if line.startswith("# ") and " = " in line]
    values = tomllib.loads("\n".join(lines))
    for name, value in values.items():
        if name in Settings.model_fields:
            default = Settings.model_fields[name].default
            assert value == (list(default) if isinstance(default, tuple) else default), name
    text = file.read_text("utf-8")
    assert all(f"{name} =" in text for name in Settings.model_fields)
    assert max(map(len, text.splitlines())) <= 100
    told = " ".join(text.replace("\n# ", " ").split())
    assert all(" ".join(setting.said.help.split()) in told for setting in declared(Settings).values())
    assert "Dropout in the head. (0..1, at least 0, below 1)" in told
    assert call("config", "validate", file).out.startswith(f"{file} is valid: 1 setting")
    again = call("config", "init", file)
    assert again.code == 2
    assert "not overwritten" in again.err
    assert call("config", "init").out == "\n".join(template(None)) + "\n"


def test_a_missing_backbone_may_come_later(tmp_path: Path) -> None:
    file = write(tmp_path / "run.toml", "epochs = 3\nunfreeze = 'from:anything'\n")
    result = call("config", "validate", file)
    assert result.code == 0, result.err
    assert "backbone is not in it" in result.out
    assert json.loads(call("config", "validate", file, "--json").out)["missing"] == ["backbone"]
    assert "backbone" not in tomllib.loads(call("config", "show", file, "--all").out)


# A value of every key that a file may hold, and of some that it may not.
FILED: dict[str, Any] = {
    "backbone": "mini", "weights": "random", "image_size": 64, "resize": "crop", "scaling": "auto", "unfreeze": "all",
    "batchnorm": "frozen", "layer_decay": 1.0, "head": "linear", "head_width": [8], "dropout": 0.1, "l1": 0.1,
    "l2": 0.1, "pooling": "max", "task": "classify", "classes": ["a", "b"], "loss": "auto",
    "adapt": "norms", "augment": "light", "views": 2, "mixup": 0.1,
    "cutmix": 0.1, "label_smoothing": 0.1, "optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.1,
    "schedule": "constant", "batch_size": 8, "epochs": 20,
    "patience": 3, "metric": "auc", "class_weights": "balanced", "precision": "float32", "split": [0.6, 0.2, 0.2],
    "folds": 3, "exclude_file": "none.txt", "on_bad_file": "skip", "budget": "5m", "refit": "train+val", "seed": 3,
    "max_latency": 5000.0, "max_size": 900.0, "unlabeled": "pool",
    "exclude": ["*x*"], "random_baseline": True, "ema": False, "normalize": False,
    "reader": "table", "image_column": "a", "label_column": ["b"], "group_column": "c", "split_column": "d",
    "path_template": "{a}.png", "label_delimiter": "|", "crop_boxes": False, "frames": "first",
    "class_level": "leaf", "intensity": "percentile",
    "output": "runs/x", "offline": True, "cache": False, "tensorboard": True, "track": [],
    "algorithm": "random", "trials": 4, "workers": 2, "engine": "local", "address": "auto", "trial_cpus": 1.0,
    "trial_gpus": 1.0, "trial_budget": "1m", "trial_memory": "2GB", "finalists": 2, "seeds": 2,
    "search": ["dropout=0:0.5"], "space": "space.toml", "distill": "mini",
    "data": "x", "resume": True, "config": "x", "quiet": True, "verbose": True, "debug": True, "json": True,
    "reporter": "x", "given": 3, "problems": [], "origin": "x", "self": 1, "epoch": 3,
}  # fmt: skip


def test_every_key_has_a_value_here() -> None:
    from transferkit.tuning.search_settings import NAMES

    assert {*Settings.model_fields, *OWN, *OWN_OF_BEST, *OWN_OF_TUNE, *NAMES, *COMMAND_LINE_ONLY} <= FILED.keys()


@pytest.mark.parametrize("backbone", ["mini", ""])
@pytest.mark.parametrize("key", FILED)
def test_what_is_valid_is_what_the_commands_take(
    key: str, backbone: str, tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "space.toml", "dropout = [0.1, 0.2]\n")
    content = {"backbone": backbone, key: FILED[key]} if backbone else {key: FILED[key]}
    file = write(tmp_path / "x.toml", as_toml(content))
    taken = []
    for command in ("finetune", "tune", "best"):

        def stop(*_: object, name: str = command) -> None:
            taken.append(name)
            raise KeyboardInterrupt

        monkeypatch.setattr("transferkit.runs.intake.take_in", stop)
        more = () if "backbone" in content else ("--backbone", "mini")
        result = call(command, digits, "--config", file, *more)
        assert result.code == (130 if command in taken else 2), result.err
        assert "unexpected" not in result.err
    validated = call("config", "validate", file, "--json")
    assert validated.code == (0 if taken else 2), validated.err
    if taken:
        assert json.loads(validated.out)["commands"] == taken
    refused = {"given", "problems", "origin", "self", "epoch", *COMMAND_LINE_ONLY}
    without_effect = {"address", "trial_cpus", "trial_gpus", "layer_decay", "adapt", "classes"}
    assert bool(taken) == (key not in refused | without_effect)


def test_a_file_for_searches(tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table says what is searched; several networks are a list; the command line wins."""
    found: dict[str, Any] = {}

    def stop(data: Path, backbone: Any, **given: Any) -> None:
        found.update(given, backbone=backbone)
        raise KeyboardInterrupt

    monkeypatch.setattr("transferkit.api.tune", stop)
    text = 'backbone = ["mini", "vgg16"]\nworkers = 2\noffline = false\ncache = false\n[search]\ndropout = "0:0.5"\n'
    file = write(tmp_path / "x.toml", text)
    assert call("tune", digits, "--config", file, "--workers", 3, "--output", "y").code == 130
    assert found.pop("reporter")
    assert found == {
        "backbone": ["mini", "vgg16"], "workers": "3", "offline": False, "cache": False, "search": {"dropout": "0:0.5"},
        "output": Path("y"), "space": None, "resume": False,
    }  # fmt: skip
    assert call("tune", digits, "--config", file, "--backbone", "mini", "--search", "l2=0:1").code == 130
    assert (found["backbone"], found["search"]) == (["mini"], ("l2=0:1",))
    shown = tomllib.loads(call("config", "show", file).out)
    assert shown == tomllib.loads(text)
    validated = call("config", "validate", file)
    assert "; for tune\n" in validated.out
    assert "not for finetune" in validated.out


def test_a_run_of_best_is_valid_for_best_too(digits_run: Any, tmp_path: Path) -> None:
    """Networks are compared again with what it was given; what it chose is for `finetune`."""
    record = json.loads((digits_run.folder / "run.json").read_text("utf-8"))
    chosen = Settings(backbone="mini", unfreeze="all")
    record |= {"kind": "best", "given": ["backbone", "unfreeze"], "config": chosen.model_dump(mode="json")}
    put_manifest(tmp_path, record)
    validated = json.loads(call("config", "validate", tmp_path / "run.json", "--json").out)
    assert validated["commands"] == ["finetune", "tune", "best"]
    assert validated["settings"].keys() >= {"backbone", "unfreeze"}


def test_show_all_names_the_defaults(digits_run: Any) -> None:
    shown = tomllib.loads(call("config", "show", digits_run.folder, "--all").out)
    assert shown["dropout"] == 0.3
    assert shown["epochs"] == 8
    assert json.loads(call("config", "show", digits_run.folder, "--json").out)["epochs"] == 8


def test_all_of_what_show_prints_trains_the_same(digits_run: Any, tmp_path: Path) -> None:
    """What is left at its default and what is written out are one thing, but for contradictions with given ones."""
    shown = write(tmp_path / "x.toml", call("config", "show", digits_run.folder).out)
    assert call("config", "validate", shown).code == 0


VALUES = st.one_of(
    st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.one_of(VALUES, st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3)))
def test_values_survive_toml(value: Any) -> None:
    assert tomllib.loads(f"x = {safe(toml_value(value))}")["x"] == value  # as it is printed


def test_settings_without_a_value_are_left_out() -> None:
    assert as_toml({"a": None, "b": (1, 2)}) == "b = [1, 2]\n"


def test_flags_of_the_command_line_add_to_the_file() -> None:
    file: dict[str, Any] = {"offline": False, "epochs": 3}
    assert own_options(file, offline=True, track=()) == {"offline": True, "track": ()}
    assert file == {"epochs": 3}


# ------------------------------------------------------------------------------------------------ completion


def complete(words: str, number: int) -> str:
    environment = {
        **os.environ,
        "_TRANSFERKIT_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(number),
    }
    code = "from transferkit.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    return done.stdout


def test_the_shell_asks_and_is_answered() -> None:
    assert "plain,finetune" in complete("transferkit fine", 1)
    assert "plain,--unfreeze" in complete("transferkit finetune --unfr", 2)
    assert "plain,litert" not in complete("transferkit export --form", 2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_the_shells(shell: str) -> None:
    result: Result = call("completion", shell)
    assert result.code == 0
    assert "_TRANSFERKIT_COMPLETE" in result.out
    assert json.loads(call("completion", shell, "--json").out)["script"] == result.out.removesuffix("\n")
    if shell == "bash" and shutil.which("bash"):
        subprocess.run(["bash", "-n"], input=result.out, text=True, check=True)
