"""What the README and the documentation show is true: marked examples run, all others are at least valid."""

from __future__ import annotations

import ast
import re
import shutil

import click
import pytest

from tests.cli.calls import call
from tests.docs.examples import (
    ALL,
    PAGES,
    ROOT,
    blocks,
    inline_options,
    make_world,
    names_of_tk,
    on_mini,
    quick,
    quick_python,
)
from transferkit.cli import cli

# Options of other programs that pages mention, and what they belong to.
OTHERS = {
    "--num-cpus": "ray start", "--fix": "scripts/check", "--head": "ray start", "--no-index": "pip", "--no-deps": "pip",
    "--data": "scripts/pretrain_mini.py",
}  # fmt: skip

WAITS = ("serve", "data clean")  # run until Ctrl-C, and have tests of their own

SHELL = [b for b in ALL if b.is_shell]
PYTHON = [b for b in ALL if b.language in ("python", "py")]
COMMANDS = [(b, words) for b in SHELL for words in b.commands()]


def resolved(words):
    """The click command that `words` name, and the values of its parameters; click's own errors for others."""
    found, rest, context = cli, list(words), click.Context(cli, info_name="transferkit")
    while isinstance(found, click.Group):
        name, found, rest = found.resolve_command(context, rest)
        context = click.Context(found, parent=context, info_name=name)
    with found.make_context(name, rest, parent=context.parent) as made:
        return found, made.params


def options_of(command, path=()):
    """Every option of `command` and of the commands below it."""
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from options_of(command.get_command(context, name), (*path, name))
    yield from (o for p in command.get_params(context) for o in (*p.opts, *p.secondary_opts) if o.startswith("--"))


def test_there_are_examples_to_check():
    assert len(COMMANDS) > 40
    assert sum(b.run for b in ALL) >= 10
    assert {b.page for b in ALL if b.run} >= {"README.md", "docs/tutorial.md"}


@pytest.mark.parametrize(("block", "words"), COMMANDS, ids=[f"{b}-{w[0]}" for b, w in COMMANDS])
def test_a_command_line_parses_and_its_settings_are_valid(block, words):
    command, params = resolved(words)
    given = {name: value for name, value in params.items() if value not in (None, ())}
    if command.name in ("finetune", "tune"):
        _check_settings(command.name, given)


def _check_settings(name, given):
    from pathlib import Path

    from transferkit.backbones.foundation import hub
    from transferkit.config import Settings
    from transferkit.config import make as settings
    from transferkit.runs import preflight
    from transferkit.tuning import search_settings as how
    from transferkit.tuning.search_space import space as spaces

    if "config" in given:
        return
    networks = given.get("backbone", "efficientnet_lite0")  # or what the pictures speak for
    networks = list(networks) if isinstance(networks, tuple) else [networks]
    values = {k: v for k, v in given.items() if k in Settings.model_fields and (name != "tune" or k not in how.NAMES)}
    for network in networks:
        one = {**values, "backbone": network}
        problems = preflight.problems({**one, "weights": "random"}, offline=True)
        # A file of the reader's own cannot be there.
        problems = [p for p in problems if not (p.startswith("no file") and str(network).endswith(".keras"))]
        # Nor can a network of the hub.
        problems = [p for p in problems if not (p.startswith("offline, and") and hub.is_name(str(network)))]
        chosen = settings(one, problems)
    if name == "tune":
        search, problems = how.make({k: v for k, v in given.items() if k in how.NAMES})
        assert problems == []
        texts = given.get("search", ())
        space = spaces.parse_search(texts) if texts else spaces.default_space(chosen)
        assert [*spaces.check(space, chosen), *how.space_problems(search, space)] == []
        assert not isinstance(given.get("space"), Path) or given["space"].suffix == ".toml"


def test_a_wrong_option_or_value_would_be_noticed():
    (wrong,) = blocks("```bash\ntransferkit finetune x --backbone mini --unfreze all\n```")
    with pytest.raises(click.NoSuchOption):
        resolved(wrong.commands()[0])
    (wrong,) = blocks("```\ntransferkit finetune x --backbone mini --unfreeze from:block9 > a.txt\n```")
    _, params = resolved(wrong.commands()[0])
    with pytest.raises(ValueError, match="block9"):
        _check_settings("finetune", {k: v for k, v in params.items() if v not in (None, ())})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_options_in_running_text_exist(page):
    known = {*options_of(cli), "--help", "--help-all", "--version"}
    # Places under scripts have options of their own.
    text = re.sub(r"`scripts/[^`]*`", "", page.read_text("utf-8"))
    assert inline_options(text) - known - OTHERS.keys() == set()


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_python_example_is_python_and_names_what_there_is(block):
    import transferkit as tk

    ast.parse(block.text)
    assert names_of_tk(block.text) - set(dir(tk)) == set()


def test_commands_named_in_running_text_exist():
    spans = [s for page in PAGES for s in re.findall(r"`transferkit ([a-z][^`\n]*)`", page.read_text("utf-8"))]
    assert len(spans) > 20
    for span in spans:
        found, context = cli, click.Context(cli)
        for word in span.split():
            if isinstance(found, click.Group) and not word.startswith("-"):
                found = found.get_command(context, word)
                assert found is not None, f"transferkit {span}"


def test_modules_and_scripts_named_in_running_text_exist():
    spans = {(p, s) for p in PAGES for s in re.findall(r"`((?:[\w.-]+/)+[\w.-]+)[^`\n]*`", p.read_text("utf-8"))}
    named = {(p, s) for p, s in spans if (s.endswith(".py") or s.startswith("scripts/")) and "NAME" not in s}
    assert len(named) > 50
    assert [(p.name, s) for p, s in named if not any((ROOT / room / s).exists() for room in (".", "transferkit"))] == []


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    from transferkit.data.digits import write_digits

    folder = tmp_path_factory.mktemp("world")
    make_world(folder, write_digits(tmp_path_factory.mktemp("data") / "digits", 10))
    return folder


@pytest.mark.extended
@pytest.mark.parametrize("page", sorted({b.page for b in ALL if b.run}))
def test_marked_examples_run(page, world, monkeypatch):
    """In the order of the page, offline, on digits and `mini`; pages share what they make."""
    monkeypatch.chdir(world)
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(world / "cache"))
    monkeypatch.setenv("TRANSFERKIT_OFFLINE", "1")
    for block in (b for b in ALL if b.run and b.page == page):
        if block.is_shell:
            for words in (w for w in block.commands() if not " ".join(w).startswith(WAITS)):
                if "runs/other" in words:  # the reader's other run
                    shutil.copytree("runs/flowers", "runs/other")
                result = call(*quick([on_mini(word) for word in words]), "--quiet")
                assert result.code == 0, f"{block}: {' '.join(words)}\n{result.err}"
        else:
            exec(compile(quick_python(on_mini(block.text)), str(block), "exec"), {})
