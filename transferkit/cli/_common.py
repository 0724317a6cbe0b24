"""What all commands share: lazy loading, the common options, the reporter, the error boundary."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from transferkit.console import Reporter
from transferkit.errors import TransferKitError

F = TypeVar("F", bound=Callable[..., Any])


class Lazy(click.Group):
    """A group whose commands live in modules that are imported when they are asked for."""

    def __init__(self, *args: Any, commands_at: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table: the order in which people need them."""
        return list(self.commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in self.commands_at:
            return None
        module, name = self.commands_at[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


def common(seed: bool = False) -> Callable[[F], F]:
    """Add --json, --quiet and --debug (and --seed) to a command; they arrive as `as_json`, `quiet`, `debug`."""

    def add(function: F) -> F:
        function = click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")(
            function
        )
        function = click.option("-q", "--quiet", is_flag=True, help="No progress, warnings only.")(function)
        # Read by the error boundary before click sees it; declared here so that --help lists it.
        function = click.option(
            "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
        )(function)
        if seed:
            function = click.option("--seed", type=int, default=0, show_default=True, help="Random seed.")(
                function
            )
        return function

    return add


def reporter(quiet: bool, as_json: bool = False) -> Reporter:
    """The command's reporter; JSON output implies quiet."""
    return Reporter(quiet=quiet or as_json)


def emit(content: Any) -> None:
    """Print JSON to standard output."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


def guarded(command: click.Command, arguments: list[str]) -> int:
    """Run `command`; every error becomes one message on standard error and an exit code."""
    debug = "--debug" in arguments
    try:
        result = command.main(arguments, prog_name="transferkit", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            "interrupted; what was finished is kept (repeat the command with --resume to go on)", err=True
        )
        return 130
    except BrokenPipeError:
        # The reader went away (`… | head`): no error, and nothing more to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TransferKitError as error:
        if debug:
            raise
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except Exception as error:
        if debug:
            raise
        click.echo(
            f"error: unexpected {type(error).__name__}: {error}\nThis is a bug in transferkit; "
            "--debug shows where.",
            err=True,
        )
        return 1
