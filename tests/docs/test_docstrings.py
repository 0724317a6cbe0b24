"""Public functions say what each of their arguments is, where they have several."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pytest

from transferkit.cli import cli

PACKAGE = Path(__file__).parents[2] / "transferkit"
ROOMS = sorted(p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file())
PASSED = re.compile(r"overload|\.command\(")
SECTION = re.compile(r"^Args:\n(?P<rows>(?:    .*\n|\n)*)", re.M)
ROW = re.compile(r"^    (?P<names>\w+(?:, \w+)*): \S", re.M)


def modules(room: str) -> list[Path]:
    place = PACKAGE / room
    found = [place] if place.is_file() else sorted(place.rglob("*.py"))
    return [path for path in found if path.name == "__init__.py" or not path.name.startswith("_")]


def lacking(source: str) -> Iterator[str]:
    """Functions of a module with several arguments whose docstring does not name exactly these, and what is wrong.

    Commands are passed over: nobody calls them, and their docstring is their `--help`, in which each option says what
    it is.
    """
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        if any(PASSED.search(ast.unparse(decorator)) for decorator in node.decorator_list):
            continue
        spec = node.args
        arguments = {a.arg for a in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg) if a}
        if len(arguments) < 2:
            continue
        section = SECTION.search(inspect.cleandoc(ast.get_docstring(node) or "") + "\n")
        if section is None:
            yield f"{node.name} (line {node.lineno}) has no `Args:`"
            continue
        named = {name for row in ROW.finditer(section["rows"]) for name in row["names"].split(", ")}
        for name in sorted(arguments - named):
            yield f"{node.name} (line {node.lineno}) does not say what `{name}` is"
        for name in sorted(named - arguments):
            yield f"{node.name} (line {node.lineno}) speaks of `{name}`, which it does not take"


@pytest.mark.parametrize("room", ROOMS)
def test_public_functions_say_what_each_argument_is(room: str) -> None:
    paths = modules(room)
    found = [f"{p.relative_to(PACKAGE)}: {text}" for p in paths for text in lacking(p.read_text("utf-8"))]
    assert not found, "\n".join(found)


def own(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """What a function does itself and lets out: without inner functions, and without what is tried."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        yield node
        caught = isinstance(node, ast.Try) and node.handlers
        inner = (*node.handlers, *node.orelse, *node.finalbody) if caught else ast.iter_child_nodes(node)
        yield from own(inner)


def untold(source: str) -> Iterator[str]:
    """Functions of a module that raise an error which their docstring does not name."""
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        if any(PASSED.search(ast.unparse(decorator)) for decorator in node.decorator_list):
            continue
        raised = [n.exc for n in own(node.body) if isinstance(n, ast.Raise) and n.exc is not None]
        calls = [n for n in own(node.body) if isinstance(n, ast.Call)]
        several = [call.args[0] for call in calls if ast.unparse(call.func) == "raise_problems"]
        made = [ast.unparse(e.func if isinstance(e, ast.Call) else e).rpartition(".")[2] for e in (*raised, *several)]
        for name in dict.fromkeys(made):
            if re.fullmatch(r"[A-Z]\w*Error", name) and name not in (ast.get_docstring(node) or ""):
                yield f"{node.name} (line {node.lineno}) does not say when it raises {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_public_functions_say_what_they_raise_themselves(room: str) -> None:
    found = [f"{p.relative_to(PACKAGE)}: {text}" for p in modules(room) for text in untold(p.read_text("utf-8"))]
    assert not found, "\n".join(found)


def test_an_error_that_is_not_told_is_named() -> None:
    source = '''
def told(a):
    """Raises errors.DataError for nothing."""
    raise errors.DataError(a)

def untold(a):
    def inner():
        raise KeyError(a)
    try:
        raise ValueError(a)
    except ValueError as error:
        raise RunError(a) from error
    raise_problems(ConfigError, [])
'''
    assert list(untold(source)) == [
        "untold (line 6) does not say when it raises RunError",
        "untold (line 6) does not say when it raises ConfigError",
    ]


def options(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Option]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from options(command, f"{before}{name} ")
        else:
            yield from ((f"{before}{name}", option) for option in command.params if isinstance(option, click.Option))


def test_every_option_says_what_it_is() -> None:
    found = list(options(cli))
    assert len({command for command, _ in found}) > 30
    silent = [f"{command} {option.opts[0]}" for command, option in found if not (option.help or option.hidden)]
    assert not silent


def test_rooms_are_found() -> None:
    assert {"api", "runs", "heads.py"} <= set(ROOMS)
    assert len(modules("backbones")) > 10


def test_what_is_missing_or_too_much_is_named() -> None:
    source = '''
def none(a, *, b): ...

def some(a, *rest, **more):
    """Does.

    Args:
        a, c: what it is.
            x: only looks like one.

    Returns:
        more: is not told here.
    """

def whole(a, b):
    """Does.

    Args:
        a: one.
        b: another.
    """

def _own(a, b): ...

@click.command(cls=Once)
def command(a, b):
    """Does."""
'''
    assert list(lacking(source)) == [
        "none (line 2) has no `Args:`",
        "some (line 4) does not say what `more` is",
        "some (line 4) does not say what `rest` is",
        "some (line 4) speaks of `c`, which it does not take",
    ]
