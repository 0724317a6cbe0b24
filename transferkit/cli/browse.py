"""Commands that find and show what is there: `runs`, `open`; and `resume`, which goes on with what is not done."""

from __future__ import annotations

import os
from pathlib import Path

import click

from transferkit.cli._common import Once, common, echo, emit, reporter, tell

SECTIONS = ("mistakes", "classes", "confidence", "training", "settings")


@click.command(cls=Once, epilog="Example:  transferkit runs runs/")
@click.argument("folder", required=False, default="runs", type=click.Path(path_type=Path))
@common()
def runs(folder: Path, quiet: bool, as_json: bool) -> None:
    """List the runs in FOLDER (runs/ by default): score, network, time, size."""
    from transferkit.data.samples import shown
    from transferkit.delivery.overview import as_table, overview

    rows = overview(folder) if folder.exists() or folder != Path("runs") else []
    if as_json:
        emit([row.as_dict() for row in rows])
    elif rows:
        echo(as_table(rows))
    else:
        tell(f"no runs in {shown(folder)}; make one with: transferkit finetune DATA")


@click.command("open", cls=Once, epilog="Example:  transferkit open runs/flowers mistakes")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("section", required=False, metavar="[SECTION]", type=click.Choice(SECTIONS))
@common()
def open_(run: Path, section: str | None, quiet: bool, as_json: bool) -> None:
    """Show the report of RUN in the browser, at SECTION: mistakes, classes, confidence, training or settings.

    Where no browser can be started (a server, a container), the file's path is printed.
    """
    import webbrowser

    from transferkit.delivery.report.publish import publish
    from transferkit.runs.layout import Layout

    name, _, after = str(run).partition("#")
    layout = Layout(Path(name) if after in SECTIONS else run)
    section = section or (after if after in SECTIONS else None)
    layout.complete()
    if not layout.report.is_file():
        publish(layout, reporter(quiet, as_json))
    address = layout.report.absolute().as_uri() + (f"#{section}" if section else "")
    opened = not as_json and webbrowser.open(address)
    if as_json:
        emit({"report": str(layout.report), "address": address})
    elif not opened:
        tell(f"{layout.report}\nno browser could be started; open that file yourself, or copy it to where one is")


@click.command(cls=Once, epilog="Example:  transferkit resume runs/flowers")
@click.argument("run", type=click.Path(path_type=Path))
@common()
def resume(run: Path, quiet: bool, as_json: bool) -> None:
    """Go on with RUN, a training or a search that was interrupted, with the settings that it was begun with."""
    from transferkit.delivery.invocation import beginning
    from transferkit.runs.layout import Layout

    begun = beginning(Layout(run))
    command = begun_by(begun.words)
    context = command.make_context(command.name, begun.words[1:])
    context.params |= {name: value for name, value in begun.options.items() if name in context.params}
    # Where the command was typed here, names stay as short as they were typed.
    here = begun.place.resolve() == Path.cwd()
    output = run if here else run.absolute()
    context.params |= {"output": output, "resume": True, "quiet": quiet, "as_json": as_json}
    if begun.data is not None and not here:
        context.params["data"] = begun.data
    # The files that the command names are found from where it was typed.
    os.chdir(begun.place)
    with context:
        command.invoke(context)


def begun_by(words: list[str]) -> click.Command:
    """The command that begins runs: `finetune`, `tune` or `best`, and no other."""
    from transferkit.cli.best import best
    from transferkit.cli.finetune import finetune
    from transferkit.cli.tune import tune

    return {"finetune": finetune, "tune": tune, "best": best}[words[0]]
