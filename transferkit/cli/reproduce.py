"""`transferkit reproduce`: repeat a run from its manifest and compare."""

from __future__ import annotations

from pathlib import Path

import click

from transferkit.cli._common import OFFLINE, Once, common, emit, reporter, tell


@click.command(cls=Once, epilog="Example:  transferkit reproduce runs/flowers --output runs/flowers-again")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Run directory to make. [default: RUN-reproduced]")
@click.option("--data", type=click.Path(path_type=Path), help="Where the run's data is now, if it moved.")
@click.option(
    "--tolerance", type=click.FloatRange(0), default=0.0, show_default=True,
    help="Largest difference of any score that still counts as reproduced.",
)  # fmt: skip
@click.option("--fresh", is_flag=True, help="Compute the features again too, beside the cache.")
@OFFLINE
@common()
def reproduce(
    run: Path, output: Path | None, data: Path | None, tolerance: float, fresh: bool, offline: bool, quiet: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Repeat RUN with its own settings and say whether the same numbers came out.

    Data and weights are first compared with the run's hashes; others are an error. Other versions or another machine
    are named. Exit code 0 where everything is equal (or within --tolerance), 1 where it is not.
    """
    from transferkit import api

    found = api.reproduce(run, data, output=output, fresh=fresh, offline=offline, reporter=reporter(quiet, as_json))
    close = found.same or (found.splits_same and found.largest <= tolerance and tolerance > 0)
    if as_json:
        emit(
            {**found.as_dict(), "largest": found.largest if found.largest < float("inf") else None, "reproduced": close}
        )
    else:
        tell(f"{found}\n{found.folder}")
    return 0 if close else 1
