"""`transferkit label`: which pictures to label next."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from transferkit.cli._common import OFFLINE, Once, common, echo, emit, reporter, tell
from transferkit.text import shown


@click.command(
    cls=Once,
    epilog="Example:  transferkit label new/ --run runs/flowers --next 20\n\n"
    "Example:  transferkit label new/ --next 40 --test 60",
)
@click.argument("pool", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--run", type=click.Path(path_type=Path), help="A run: what its model is unsure of is chosen.")
@click.option("--next", "count", type=int, default=20, show_default=True, help="How many pictures to choose.")
@click.option(
    "--test", type=int, metavar="N",
    help="How many to draw at random first, for testing. [default: 50, at most a third; 0 where there are some]",
)  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path), help="The table. [default: POOL-labels.csv, gone on with]")
@click.option("--backbone", metavar="NAME|FILE", help="Network to compare by, without --run. [default: chosen]")
@OFFLINE
@common(seed=True)
def label(
    pool: tuple[Path, ...], run: Path | None, count: int, test: int | None, output: Path | None, backbone: str | None,
    offline: bool, seed: int, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Choose pictures of POOL that are worth a label next, into a table to fill in.

    Test pictures are drawn at random before anything is chosen. With few labels typical pictures are chosen, with more
    (and --run) those that the model is unsure of and that are unlike one another. Labelled pictures and their
    look-alikes are passed over. Repeat it after each training: the table grows.
    """
    from transferkit import api

    found = api.label(
        pool, run, next=count, test=test, output=output, backbone=backbone, seed=seed, offline=offline,
        reporter=reporter(quiet, as_json),
    )  # fmt: skip
    if as_json:
        emit(found.as_dict())
        return
    echo(found)
    if found.left_out:
        tell(f"Not new, and passed over: {', '.join(found.left_out)}.")
    tell(f"\n{found.bias}")
    file = shlex.quote(shown(found.file))
    tell(f"\nFill in the column label of {file} (delete rows you cannot tell), then:")
    echo(f"  transferkit finetune {file}")
