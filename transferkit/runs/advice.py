"""Commands that a run's files give as advice: shown only where they are transferkit's own.

A run folder may come from a stranger, and people paste what a program tells them to.
"""

from __future__ import annotations

import ast
import shlex
from typing import Any

HIDDEN = "(a command that is none of transferkit alone is not shown)"
IN_PYTHON = "  # as in the script that made it"  # behind a shell command for what a script began


def own(command: Any) -> str:
    """`command` where it is a single transferkit command, or a call of `transferkit.finetune` on literals; else ""."""
    if not isinstance(command, str) or not command.isprintable():
        return ""
    return command if _is_shell(command.removesuffix(IN_PYTHON)) or _is_call(command) else ""


def brief(command: str, given: str, run: str) -> str:
    """A command of advice with the settings that it has from the run taken through `--config RUN`.

    Args:
        command: `transferkit finetune DATA` with options; others are returned as they are.
        given: the command that repeats the run, without an output.
        run: the folder of the run.
    """
    words, before = shlex.split(command), _options(shlex.split(given)[3:])
    if words[:2] != ["transferkit", "finetune"] or len(words) < 3:
        return command
    now = _options(words[3:])
    if not {flag for flag, *_ in before} <= {flag for flag, *_ in now}:  # an option less cannot be said by a file
        return command
    changed = [word for option in now if option not in before for word in option]
    shorter = shlex.join([*words[:3], "--config", run, *changed])
    return min(command, shorter, key=len)


def _options(words: list[str]) -> list[tuple[str, ...]]:
    """Flags with their values."""
    found: list[tuple[str, ...]] = []
    for word in words:
        if word.startswith("--") or not found:
            found.append((word,))
        else:
            found[-1] += (word,)
    return found


def resuming(command: str, run: str) -> str:
    """What goes on with an unfinished run.

    Args:
        command: the one of our own that began it.
        run: its folder.
    """
    if command.endswith(")"):
        return f"{command[:-1]}, resume=True)"
    if command.endswith(IN_PYTHON):
        return f"{command.removesuffix(IN_PYTHON)} --resume"
    return shlex.join(["transferkit", "resume", run])


def _is_shell(command: str) -> bool:
    """One command without anything that a shell would act on: it reads as it would be written again."""
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    return words[:1] == ["transferkit"] and shlex.join(words) == command


def _is_call(command: str) -> bool:
    try:
        tree = ast.parse(command, mode="eval").body
        if not isinstance(tree, ast.Call) or ast.unparse(tree.func) not in ("transferkit.finetune", "transferkit.tune"):
            return False
        for keyword in tree.keywords:
            ast.literal_eval(keyword.value)
        return [ast.unparse(argument) for argument in tree.args] == ["(x, y)"]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
