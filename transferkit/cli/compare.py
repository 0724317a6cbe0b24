"""`transferkit compare` and `transferkit diagnose`: runs against each other, and one run against itself."""

from __future__ import annotations

from pathlib import Path

import click

from transferkit.cli._common import Once, common, emit, tell


@click.command(cls=Once, epilog="Example:  transferkit compare runs/a runs/b --figure curves.png")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--figure", type=click.Path(path_type=Path), help="Write the curves of all runs into this PNG.")
@common(seed=True)
def compare(runs: tuple[Path, ...], figure: Path | None, quiet: bool, as_json: bool, seed: int) -> None:
    """Compare two or more RUNS on the same test pictures, with paired tests.

    Runs whose test splits differ are refused: their scores say nothing about each other.
    """
    from transferkit.delivery.compare import compare as room
    from transferkit.errors import ConfigError
    from transferkit.runs.layout import Layout

    if figure is not None and figure.suffix.lower() != ".png":
        raise ConfigError(f"--figure {figure}: the figure is a PNG; name it so, e.g. curves.png")
    found = room([Layout(run) for run in runs], seed)
    if figure is not None:
        found.figure(figure)
    if as_json:
        emit(found.as_dict())
    else:
        tell(found, hang=4)


@click.command(cls=Once, epilog="Example:  transferkit diagnose runs/flowers")
@click.argument("run", type=click.Path(path_type=Path))
@common()
def diagnose(run: Path, quiet: bool, as_json: bool) -> None:
    """Name what is wrong with RUN, if anything, with the evidence and what to try."""
    from transferkit.delivery.diagnose import as_lines, diagnosis_of
    from transferkit.runs.layout import Layout

    found = diagnosis_of(Layout(run))
    if as_json:
        emit(found.as_dict())
        return
    for line in as_lines(found):
        tell(line)
