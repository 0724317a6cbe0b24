"""Every page of help fits 80 columns uncut; the most used options fit one screen; a word after --help opens a group."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import click
import pytest

from tests.cli.calls import call
from transferkit.cli import COMMANDS, SECTIONS, cli
from transferkit.cli._help import Grouped
from transferkit.config import Settings
from transferkit.setting import GROUPS, declared
from transferkit.tuning.search_settings import SearchSettings

SCREEN = 24  # lines


def pages(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The arguments that show each page of help there is."""
    yield (*path, "--help")
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from pages(command, (*path, name))
            continue
        yield (*path, name, "--help")
        if isinstance(command, Grouped):
            yield (*path, name, "--help-all")
            yield from ((*path, name, "--help", word) for word in command.groups())


@pytest.mark.parametrize("page", list(pages()), ids=" ".join)
@pytest.mark.parametrize("columns", ["80", "200"])
def test_a_page_fits_80_columns_uncut(page: tuple[str, ...], columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = call(*page)
    assert result.code == 0
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    usage, *rest = lines
    assert usage.startswith("Usage: ")
    assert not [line for line in rest if line.endswith(("...", "…"))], "a text is cut"
    assert "\xa0" not in result.out
    examples = [line.strip() for line in lines if re.match(r" +(Example|With a run): ", line)]
    assert examples
    # The line below an example is another example, or there is none: it stands on one line.
    for example in examples:
        after = lines[[line.strip() for line in lines].index(example) + 1 :]
        assert all(not line.strip() or line.strip() in examples for line in after), after


@pytest.mark.parametrize("command", ["finetune", "tune"])
def test_the_most_used_options_fit_one_screen_each_on_one_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = call(command, "--help").out.splitlines()
    assert len(lines) <= SCREEN
    start, end = lines.index("Most used options:") + 1, lines.index("", lines.index("Most used options:"))
    assert all(re.match(r"  -", line) for line in lines[start:end]), "an option takes two lines"
    text = "\n".join(lines)
    for word in ("--backbone", "--unfreeze", "--output", "--config", "--resume", "--help-all", "--help GROUP"):
        assert word in text
    assert f"[default: {Settings.model_fields['epochs'].default}]" in text


def options_in(text: str) -> set[str]:
    return set(re.findall(r"^  (?:-\w, )?(--[a-z][a-z0-9-]*)", text, re.MULTILINE))


@pytest.mark.parametrize("command", ["finetune", "best", "tune"])
def test_groups_hold_every_option_once(command: str) -> None:
    found = cli.get_command(click.Context(cli), command)
    assert isinstance(found, Grouped)
    every = {name for p in found.params for name in p.opts if name.startswith("--")}
    groups = [options_in(call(command, "--help", word).out) for word in found.groups()]
    assert set.union(*groups) == every | {"--help"}
    assert sum(map(len, groups)) == len(every) + 1
    assert options_in(call(command, "--help-all").out) == every | {"--help"}
    assert call(command, "--help", "all").out == call(command, "--help-all").out
    assert call(command, "--help=Head").out == call(command, "-h", "head").out


@pytest.mark.parametrize(("name", "group"), [("dropout", "head"), ("split", "data"), ("refit", "judging")])
def test_a_setting_stands_in_its_group_with_meaning_and_effective_default(name: str, group: str) -> None:
    setting = declared(Settings)[name]
    text = " ".join(call("finetune", "--help", group).out.split())
    assert GROUPS[group] + ":" in text
    assert f"{setting.option} {setting.metavar} {setting.said.help} [default: {setting.effective}]" in text


def test_what_follows_help_otherwise_is_no_group() -> None:
    assert call("finetune", "--help", "flowers/").out == call("finetune", "--help").out
    result = call("finetune", "--help=heads")
    assert result.code == 2
    assert "no group of options 'heads'; there are data, network, head" in result.err
    assert call("finetune", "--", "--help-all").code == 2  # after -- it is DATA


def test_every_default_says_what_happens() -> None:
    for model in (Settings, SearchSettings):
        for name, setting in declared(model).items():
            assert setting.effective not in ("None", "", "auto") or name in ("algorithm", "head"), name
            assert setting.said.help.endswith("."), name
            assert setting.metavar or setting.is_flag, name


def test_defaults_in_words_are_those_of_the_recipe() -> None:
    from transferkit import tasks
    from transferkit.config.declarations import AUTO_VIEWS
    from transferkit.training import optimizers, phase, planning

    said = {name: setting.effective for name, setting in declared(Settings).items()}
    assert said["learning_rate"] == f"{planning.HEAD_RATES['adamw']:g} for adamw"
    assert f"gets {planning.TAIL_RATE} of it" in declared(Settings)["learning_rate"].said.help
    assert float(said["weight_decay"]) == optimizers.ADAMW_DECAY
    assert said["label_smoothing"] == f"{phase.LABEL_SMOOTHING}; regression 0"
    assert said["views"] == f"{Settings.model_fields['views'].default}; where a classifier is chosen, {AUTO_VIEWS}"
    assert said["loss"] == "crossentropy; regression squared"
    assert [task.default_loss for task in tasks.every() if not task.numbers] == ["crossentropy"] * 3
    assert tasks.of("regress").default_loss == "squared"
    assert set(said["metric"].replace(" or ", ", ").split(", ")) == {task.default_metric for task in tasks.every()}


def test_the_overview_groups_every_command_with_an_uncut_summary() -> None:
    lines = call("--help").out.splitlines()
    assert [line[:-1] for line in lines if line.rstrip(":") in SECTIONS] == list(SECTIONS)
    for commands in SECTIONS.values():
        for name, (_, summary) in commands.items():
            assert f"  {name.ljust(10)}  {summary}" in lines
    assert len(set(COMMANDS)) == len(COMMANDS)


def test_help_takes_less_than_a_second_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tests.cli.calls import call; "
        "[call(*words) for words in (['--help'], ['finetune', '--help-all'], ['tune', '--help-all'])]; "
        "heavy = {'tensorflow', 'keras', 'jax', 'torch', 'sklearn', 'scipy', 'PIL'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.PIPE).stderr == b""
    best = min(_seconds("finetune", "--help") for _ in range(3))
    assert best < 1.5  # a machine may be busy with other tests: it takes 0.4 s


def _seconds(*words: str) -> float:
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "transferkit", *words], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start
