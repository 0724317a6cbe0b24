"""What all commands share: lazy loading, the common options, the reporter, the error boundary."""

from __future__ import annotations

import importlib
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import click

from transferkit import synonyms
from transferkit.console import Reporter
from transferkit.errors import TransferKitError, nearest
from transferkit.wording import speak_shell

F = TypeVar("F", bound=Callable[..., Any])


def refuse_repeated(ctx: click.Context, command: click.Command, arguments: list[str]) -> None:
    """An option given twice is an error: click would silently take the last."""
    _, _, order = command.make_parser(ctx).parse_args(args=list(arguments))
    for parameter, times in Counter(order).items():
        if not isinstance(parameter, click.Option) or parameter.multiple or times == 1:
            continue
        if not parameter.is_flag or parameter.secondary_opts:
            names = "/".join([*parameter.opts, *parameter.secondary_opts])
            raise click.UsageError(f"{names} is given {times} times; give it once", ctx)


class Once(click.Command):
    """A command that refuses an option given twice, and understands other tools' words for its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Translate and check, then parse as click does."""
        known = [name for option in self.get_params(ctx) for name in (*option.opts, *option.secondary_opts)]
        args = synonyms.canonical(args, known)
        try:
            refuse_repeated(ctx, self, args)
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            said = synonyms.answer(error.option_name, self.name or "")
            if said is None:
                raise
            raise click.UsageError(f"no option {error.option_name}: {said}", ctx) from error


class Group(click.Group):
    """A group whose commands refuse an option given twice, and which names the nearest where a name is wrong."""

    command_class = Once

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the names there are."""
        known = self.list_commands(ctx)
        ours = synonyms.COMMANDS.get(args[0].lower()) if args and args[0] not in known else None
        if ours in known:
            args = [ours, *args[1:]]
        if args and not args[0].startswith("-") and args[0] not in known:
            hint = f"{nearest(args[0], known)}; commands: {', '.join(known)}"
            raise click.UsageError(f"no command '{args[0]}'{hint}", ctx)
        return super().resolve_command(ctx, args)


class Lazy(Group):
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
        function = click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")(function)
        function = click.option("-q", "--quiet", is_flag=True, help="No progress; results and warnings only.")(function)
        # Read by the error boundary before click sees it; declared here so that --help lists it.
        function = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(
            function
        )
        if seed:
            function = click.option(
                "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Random seed."
            )(function)
        return function

    return add


def reporter(quiet: bool, as_json: bool = False) -> Reporter:
    """The command's reporter; JSON output implies quiet."""
    return Reporter(quiet=quiet or as_json)


def emit(content: Any) -> None:
    """Print JSON to standard output."""
    from transferkit.files import to_json

    click.echo(to_json(content, indent=2))


def guarded(command: click.Command, arguments: list[str]) -> int:
    """Run `command`; every error becomes one message on standard error and an exit code."""
    before = speak_shell(True)
    try:
        return _guarded(command, arguments)
    finally:
        speak_shell(before)


def _guarded(command: click.Command, arguments: list[str]) -> int:
    try:
        result = command.main(arguments, prog_name="transferkit", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort) as stop:
        # click replaces the interrupt by an Abort of its own.
        said = getattr(stop, "__notes__", None) or getattr(stop.__context__, "__notes__", None) or []
        click.echo("\n".join(["interrupted", *said]), err=True)
        return 130
    except (BrokenPipeError, SystemExit):
        # The reader went away (`… | head`; click ends itself then): no error, and nothing more to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _failed(error, "--debug" in arguments)


def _failed(error: Exception, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, TransferKitError):
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    where = "" if debug else "; --debug shows where"
    click.echo(f"error: unexpected {type(error).__name__}: {error}\nThis is a bug in transferkit{where}.", err=True)
    return 1
