"""`transferkit plugins`: what other packages add, and whether it can be used."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import click

from transferkit.cli._common import Once, common, echo, emit


@click.command(cls=Once, epilog="Example:  transferkit plugins --check")
@click.option("--check", is_flag=True, help="Import each one and say what is wrong with it; exit code 2 if any is.")
@common()
def plugins(check: bool, quiet: bool, as_json: bool) -> int:
    """The backbones, heads, augmentations, metrics, exporters and readers that installed packages add.

    See docs/plugins.md.
    """
    rows = list(_rows(check))
    if as_json:
        emit(rows)
    elif not rows:
        echo("no plugins are installed; docs/plugins.md shows how to write one")
    else:
        echo(f"{'kind':<14} {'name':<20} {'package':<24} state")
        for row in rows:
            whose = f"{row['package']} {row['version']}"
            echo(f"{row['kind']:<14} {row['name']:<20} {whose:<24} {row['state']}")
    return 2 if check and any(row["state"] != "ok" for row in rows) else 0


def _rows(check: bool) -> Iterator[dict[str, str]]:
    from transferkit import plugins as room
    from transferkit.errors import ConfigError

    for kind, builtin in _builtin().items():
        for plugin in room.installed(kind):
            state = "hidden by ours of that name" if plugin.name in builtin else "ok" if check else "not looked into"
            if check and state == "ok":
                try:
                    room.resolve(kind, plugin.name)
                except ConfigError as error:
                    state = str(error)
            facts = {"kind": kind, "name": plugin.name, "package": plugin.package, "version": plugin.version}
            yield {**facts, "target": plugin.target, "state": state}


def _builtin() -> dict[str, Collection[str]]:
    """The names that are ours; a plugin of the same name is never reached."""
    from transferkit.backbones.catalog import ROWS
    from transferkit.config.declarations import AUGMENTATIONS, HEADS
    from transferkit.data.containers.plugged_pictures import BUILTIN
    from transferkit.delivery.exporting.formats import FORMATS
    from transferkit.evaluation.metric_registry import GOALS

    names: tuple[Collection[str], ...] = (ROWS, HEADS, AUGMENTATIONS, (*GOALS, "auto"), FORMATS, BUILTIN)
    return dict(zip(("backbones", "heads", "augmentations", "metrics", "exporters", "readers"), names, strict=True))
