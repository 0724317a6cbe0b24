"""`transferkit explain`: where the model looked."""

from __future__ import annotations

from pathlib import Path

import click

from transferkit.cli._common import Once, common, echo, emit, reporter
from transferkit.text import shown


@click.command(cls=Once, epilog="Example:  transferkit explain runs/flowers rose.jpg --output explained/")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--method", type=click.Choice(["grad-cam", "occlusion"]), default="grad-cam", show_default=True,
    help="grad-cam needs a feature map or a grid of patches; occlusion works for every network, and takes about 100 "
    "times as long.",
)  # fmt: skip
@click.option("--class", "output", metavar="NAME", help="Explain this class, not the predicted one.")
@click.option("--output", "folder", type=click.Path(path_type=Path), help="Folder of PNGs. [default: RUN/explained]")
@common()
def explain(
    run: Path, paths: tuple[Path, ...], method: str, output: str | None, folder: Path | None, quiet: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Show which places of pictures speak for the answer of RUN's model, as heat maps over them.

    PATHS are files and folders; left out, they are the most confident mistakes of the test split, or what the model
    was least sure of where it made none.
    """
    from transferkit import compute
    from transferkit.delivery import explain as room
    from transferkit.delivery.inputs import find
    from transferkit.delivery.members import film_step
    from transferkit.runs.layout import Layout

    layout = Layout(run)
    layout.complete()
    speaker = reporter(quiet, as_json)
    chosen = find(paths, speaker.warn, step=film_step([run])) if paths else room.worst(layout)
    where = folder or layout.written(run / "explained")
    compute.start(reporter=speaker)
    rows = room.explain_to(layout, chosen, where, method, output, speaker)
    if as_json:
        emit(rows)
        return
    for row in rows:
        sure = "" if row["confidence"] is None else f" {row['confidence']:.2f}"
        echo(f"{shown(row['overlay'])}  {shown(row['predicted'])}{sure}")
