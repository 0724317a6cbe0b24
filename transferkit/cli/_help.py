"""How help is laid out: settings as options, the most used on one screen, the rest by groups, all within 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from transferkit.cli._common import Lazy, Once
from transferkit.setting import GROUPS, Declared

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
WIDTH = 80
SHORT, ALL = "short", "all"
FIRST_COLUMN = 24  # of the short help: wider options get a line of their own
LONGESTGLUED = 24
GLUE = "\xa0"  # a blank at which no line ends; printed as an ordinary one
_VIEW = f"{__name__}.view"


class GroupedOption(click.Option):
    """An option that knows its group, whether it is among the most used, and the first sentence of its help."""

    def __init__(self, *args: Any, group: str = "output", common: bool = False, brief: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group, self.common, self.brief = group, common, brief or self.help or ""


def option(*names: str, **kwargs: Any) -> Decorator:
    """`click.option` with `group`, `common` and `brief` (see `GroupedOption`)."""
    return click.option(*names, cls=GroupedOption, **kwargs)


def default(value: str) -> str:
    """What follows the help of an option: `" [default: 30]"`, which is never torn apart at a line's end."""
    return " " + f"[default: {value}]".replace(" ", GLUE if len(value) <= LONGESTGLUED else " ")


def output_option(folder: str) -> Decorator:
    """`--output`, which is `folder` where it is not given."""
    what = f"Run directory.{default(folder)}"
    return option("--output", type=click.Path(path_type=Path), metavar="FOLDER", common=True, help=what)


def config_option(text: str) -> Decorator:
    """`--config` of a command that trains; `text` says what it reads."""
    return option(
        "--config", type=click.Path(path_type=Path), metavar="FILE", common=True, help=text,
        brief="Settings from a TOML file or a run; options win.",
    )  # fmt: skip


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--engine` of commands that put pictures through a network here or on Ray, and what says where and by how many;
    they arrive as `engine`, `address`, `workers`, `worker_cpus` and `worker_gpus`."""
    several = click.IntRange(1, 100_000)
    cpus = "CPUs of each. [default: 4, or as many as the smallest machine has]"
    for add in reversed((
        option("--engine", type=click.Choice(["local", "ray"]), default="local", common=True,
               help="Where. On this machine, or on a Ray cluster. [default: local]"),
        option("--address", metavar="auto|ray://HOST:PORT", common=True,
               help="The Ray cluster. [default: one on this machine]"),
        option("--workers", type=several, metavar="N", common=True,
               help="Processes that hold the network, on Ray. [default: as many as there is room for]"),
        option("--worker-cpus", type=click.FloatRange(0, min_open=True), metavar="X", help=cpus),
        option("--worker-gpus", type=click.FloatRange(0), metavar="X", help="GPUs of each. [default: 0]"),
    )):  # fmt: skip
        function = add(function)
    return function


def setting_option(setting: Declared, common: bool | None = None) -> GroupedOption:
    """The option of a setting. It has no default of its own: only what is given is passed on."""
    said = setting.said
    shown = default(setting.effective)
    kinds: dict[str, Any] = {"metavar": setting.metavar}
    name = setting.option
    if setting.is_flag:
        name, kinds = f"{name}/--no-{name[2:]}", {"default": None}
    elif setting.types == (str,) and setting.many:
        kinds["multiple"] = True
    return GroupedOption(
        [name], help=said.help + shown, brief=setting.brief + shown, group=said.group,
        common=said.common if common is None else common, **kinds,
    )  # fmt: skip


def with_settings(options: Iterable[GroupedOption]) -> Decorator:
    """Add these options to a command, in their order."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        # Where click's own decorator collects them, last first.
        kept = function.__dict__.setdefault("__click_params__", [])
        kept.extend(reversed(list(options)))
        return function

    return add


class Grouped(Once):
    """A command of many options: `--help` shows the most used, `--help GROUP` one group, `--help-all` every one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what is asked of the help out of `args`, then parse."""
        view, args = self._asked(args)
        ctx.meta[_VIEW] = view
        return super().parse_args(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """The page, with ordinary blanks only."""
        return super().get_help(ctx).replace(GLUE, " ")

    def groups(self) -> list[str]:
        """Names of the groups that have options here."""
        here = {p.group for p in self.params if isinstance(p, GroupedOption)}
        return [name for name in GROUPS if name in here]

    def _asked(self, args: list[str]) -> tuple[str, list[str]]:
        for place, word in enumerate(args):
            if word == "--":
                break
            name, _, group = word.partition("=")
            if word == "--help-all":
                return ALL, [*args[:place], "--help", *args[place + 1 :]]
            if name not in ("-h", "--help"):
                continue
            after = "" if group else "".join(args[place + 1 : place + 2])
            asked = (group or after).lower()
            if asked in (ALL, *self.groups()):
                return asked, [*args[:place], "--help", *args[place + 1 + bool(after) :]]
            if group:
                raise click.UsageError(f"no group of options '{group}'; there are {', '.join(self.groups())} and all")
        return SHORT, args

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of the view that was asked for, under headings."""
        view = ctx.meta.get(_VIEW, SHORT)
        options = [self._row(ctx, p) for p in self.get_params(ctx) if isinstance(p, click.Option)]
        if view == SHORT:
            rows = [(record[0], brief) for _, common, record, brief in options if common]
            with formatter.section("Most used options"):
                formatter.write_dl(rows, col_max=FIRST_COLUMN)
            return
        for group in self.groups() if view == ALL else [view]:
            with formatter.section(GROUPS[group]):
                formatter.write_dl([record for of, _, record, _ in options if of == group])

    def _row(self, ctx: click.Context, option: click.Option) -> tuple[str, bool, tuple[str, str], str]:
        """Group, whether it is among the most used, the record, and the short help."""
        record = option.get_help_record(ctx) or ("", "")
        if "--help" in option.opts:
            record = ("-h, --help [GROUP]", "This page, or the options of a group.")
            return "output", True, record, record[1]
        if isinstance(option, GroupedOption):
            return option.group, option.common, record, option.brief
        return "output", False, record, record[1]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """How to see the rest, then the example."""
        formatter.write_paragraph()
        *most, last = self.groups()
        with formatter.indentation():
            if ctx.meta.get(_VIEW, SHORT) != ALL:
                formatter.write_text(
                    f"All options: --help-all. Those of one group: --help GROUP, which is {', '.join(most)} or {last}."
                )
            formatter.write_text(self.epilog or "")


class Sections(Lazy):
    """The top command: its commands stand under headings, each with a summary that is never cut."""

    def __init__(self, *args: Any, sections: dict[str, dict[str, tuple[str, str]]], **kwargs: Any) -> None:
        """Args: `sections`: heading → command → (module:name, summary); lazily imported."""
        commands = {name: target for rows in sections.values() for name, (target, _) in rows.items()}
        super().__init__(*args, commands_at=commands, **kwargs)
        self.sections = sections

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Section by section; no command is imported for it."""
        for heading, commands in self.sections.items():
            rows: Sequence[tuple[str, str]] = [
                (name.ljust(max(map(len, self.commands_at))), summary) for name, (_, summary) in commands.items()
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)
