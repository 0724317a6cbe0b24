"""What all commands share: lazy loading, the common options, the reporter, the error boundary."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from transferkit import synonyms
from transferkit.console import Reporter, columns, silence
from transferkit.errors import StorageError, nearest
from transferkit.files import reason
from transferkit.text import safe, shown, wrapped

if TYPE_CHECKING:
    from transferkit.api import Run

UNCUT = 10_000  # characters
# What an argument is, for those who left it out.
ARGUMENTS = {
    "data": "your pictures, a folder with one folder for each class, or a CSV with path and label",
    "source": "your pictures, a folder with one folder for each class, or a CSV with path and label",
    "run": "the folder of a finished run; transferkit runs lists those there are",
    "runs": "folders of finished runs; transferkit runs lists those there are",
    "pool": "pictures without labels, files or folders",
    "paths": "pictures, or folders of pictures (they stand behind the run)",
}
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
            return super().parse_args(ctx, list(args))  # which takes words out of it
        except click.MissingParameter as error:
            raise click.UsageError(self._missing(error), ctx) from error
        except click.NoSuchOption as error:
            said = synonyms.answer(error.option_name, self.name or "")
            if said is None:
                raise
            raise click.UsageError(f"no option {error.option_name}: {said}", ctx) from error
        except click.UsageError as error:
            quoted = _in_pieces(args)
            if quoted is None or "unexpected extra argument" not in error.message:
                raise
            raise click.UsageError(f"a name with a blank in it has to stand in quotes: {quoted}", ctx) from error

    def _missing(self, error: click.MissingParameter) -> str:
        """What is missing in plain words, and the command's example."""
        parameter = error.param
        if not isinstance(parameter, click.Argument):
            return error.format_message()
        what = ARGUMENTS.get(str(parameter.name), "")
        example = (self.epilog or "").partition("\n")[0]
        return f"{parameter.human_readable_name} is missing{what and f': {what}'}\n{example}".rstrip()


def _in_pieces(args: list[str]) -> str | None:
    """A file or folder whose name with blanks was taken for several words, quoted."""
    pairs = ((start, end) for start in range(len(args)) for end in range(start + 2, len(args) + 1))
    joined = (" ".join(args[start:end]) for start, end in pairs)
    return next((shlex.quote(shown(name)) for name in joined if os.path.exists(name)), None)


class CommandGroup(click.Group):
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
            raise click.UsageError(f"no command '{shown(args[0])}'{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command with the whole first sentence of its help: click would cut it at the line's end."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(limit=UNCUT)) for name, command in found if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Lazy(CommandGroup):
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


VERBOSE = click.option(
    "-v", "--verbose", is_flag=True, help="In the summary, also what was trained, how long it took, and the files."
)


OFFLINE = click.option("--offline", is_flag=True, help="Never download weights.")
CACHE = click.option(
    "--cache/--no-cache", default=None,
    help="Store features, or compute them again. [default: what measured costs and the disk say]",
)  # fmt: skip


def reporter(quiet: bool, as_json: bool = False) -> Reporter:
    """The command's reporter; JSON output implies quiet."""
    return Reporter(quiet=quiet or as_json)


def echo(content: object, err: bool = False, nl: bool = True) -> None:
    """Print text (standard output, or `err`) that no terminal obeys and that the stream's encoding can hold.

    Every command prints by this or by `emit`. Raises StorageError where the disk behind standard output is full; what
    standard error cannot take is dropped, since nobody could be told.
    """
    stream = sys.stderr if err else sys.stdout
    try:
        click.echo(safe(str(content), getattr(stream, "encoding", None) or "utf-8"), err=err, nl=nl)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and not err:
            raise
        silence(stream)  # or Python would try once more at its end
        if not err:
            raise StorageError(f"cannot write to standard output ({reason(error)})") from error


def tell(text: object, hang: int = 2) -> None:
    """Print sentences to standard output, wrapped between words where that is a terminal."""
    echo(wrapped(str(text), columns(), hang))


def emit(content: Any, indent: int | None = 2) -> None:
    """Print JSON to standard output, in ASCII: it passes through every encoding, and no terminal obeys it."""
    echo(json.dumps(content, indent=indent, allow_nan=False))


def present(run: Run, verbose: bool, as_json: bool) -> None:
    """Print what a run came to: its scores as JSON, or its summary."""
    if as_json:
        emit({"run": str(run.folder), **run.metrics})
    else:
        echo(run.summary(verbose))
