"""Commands that a run's files hold, before they are shown as advice: a stranger's run must not suggest others."""

from __future__ import annotations

import ast
import shlex

HIDDEN = "(a command that is none of transferkit alone is not shown)"
NOTE = "  # as in the script that made it"  # behind the command of a search whose space was made in Python


def advice(command: str) -> str | None:
    """`command` where it is one of transferkit's own and nothing else; None where it is not fit to be shown."""
    if not all(character.isprintable() for character in command):
        return None
    return command if _is_shell(command.removesuffix(NOTE)) or _is_python(command) else None


def resuming(command: str) -> str:
    """The command that goes on with the run that `command` began."""
    if command.endswith(")") and _is_python(command):
        return f"{command[:-1]}, resume=True)"
    return f"{command.removesuffix(NOTE)} --resume"


def _is_shell(command: str) -> bool:
    """One plain call, quoted as we quote: nothing that a shell would expand, chain or redirect."""
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    return words[:1] == ["transferkit"] and shlex.join(words) == command


def _is_python(command: str) -> bool:
    """`transferkit.finetune((x, y), name=value, …)` with plain values."""
    try:
        call = ast.parse(command, mode="eval").body
        values = [ast.literal_eval(keyword.value) for keyword in call.keywords] if isinstance(call, ast.Call) else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return (
        isinstance(call, ast.Call)
        and ast.unparse(call.func) == "transferkit.finetune"
        and [ast.unparse(argument) for argument in call.args] == ["(x, y)"]
        and len(values) == len(call.keywords)
    )
