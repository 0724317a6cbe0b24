"""Called by mkdocs (see mkdocs.yml): writes the references of commands and settings from what declares them."""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterator
from typing import Any

import click

MARK, SETTINGS = "<!-- commands -->", "<!-- settings -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs hands over every page; those with a mark get the reference in its place."""
    if SETTINGS in markdown:
        return markdown.replace(SETTINGS, "\n".join(settings()))
    if MARK not in markdown:
        return markdown
    from transferkit.cli import cli

    context = click.Context(cli, info_name="transferkit")
    return markdown.replace(
        MARK, "\n".join(section for name in cli.list_commands(context) for section in _of(context, name))
    )


def settings() -> Iterator[str]:
    """Every setting of a run, then of a search, by group: names, values, what happens by default, what it means."""
    from transferkit.config import Settings
    from transferkit.setting import GROUPS, declared
    from transferkit.tuning.search_settings import SearchSettings

    for group, title in GROUPS.items():
        model = SearchSettings if group == "search" else Settings
        rows = "".join(_setting(s) for s in declared(model).values() if s.said.group == group)
        if rows:
            head = "".join(f"<th>{name}</th>" for name in ("setting", "values", "default", "meaning"))
            yield f"## {title} {{#{group}}}\n"
            yield f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>\n"


def _setting(setting: Any) -> str:
    said = setting.said
    searched = (
        " <em>Searched, with new features.</em>" if said.features else " <em>Searched.</em>" if said.searched else ""
    )
    # A line may end between the words of a choice, not within a name.
    values = f"<code>{html.escape(setting.metavar or 'yes or no')}</code>".replace("|", "|<wbr>")
    values += f"<br>{setting.bounds}" if setting.bounds else ""
    name = f'<code style="white-space: nowrap">{setting.name}</code>'
    cells = (name, values, html.escape(setting.effective), _text(said.help) + searched)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _of(parent: click.Context, name: str, level: int = 2) -> Iterator[str]:
    """Heading, usage, text, options and example of one command, then of those below it."""
    assert isinstance(parent.command, click.Group)
    command = parent.command.get_command(parent, name)
    assert command is not None
    context = click.Context(command, parent=parent, info_name=name)
    path = context.command_path
    yield f"{'#' * level} {path.removeprefix('transferkit ')} {{#{path.replace(' ', '-')}}}\n"
    if not isinstance(command, click.Group):
        yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    if not isinstance(command, click.Group):
        yield _table(command, context)
    for example in re.findall(r"(?:Example|With a run):\s+(transferkit .*)", command.epilog or ""):
        yield f"```bash\n{example.strip()}\n```\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _of(context, inner, level + 1)


def _table(command: click.Command, context: click.Context) -> str:
    """What `--help` says of each option, as a table."""
    records = [record for p in command.get_params(context) if (record := p.get_help_record(context)) and record[1]]
    rows = "".join(
        f"<tr><td><code>{html.escape(option)}</code></td><td>{_text(told)}</td></tr>" for option, told in records
    )
    return f"<table><thead><tr><th>option</th><th></th></tr></thead><tbody>{rows}</tbody></table>\n"


def _text(told: str) -> str:
    """Plain text with `code` as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(told))
