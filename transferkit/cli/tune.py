"""`transferkit tune`: every setting of a run, and how to search over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from transferkit.cli._common import VERBOSE, Once, common, echo, emit, reporter
from transferkit.cli.config import OWN_OF_TUNE, from_file, own_options
from transferkit.cli.finetune import SETTINGS

SEARCH: tuple[tuple[str, str, str], ...] = (
    ("algorithm", "auto|grid|random|bayesian|hyperband", "How to search. [default: auto, which says its choice]"),
    ("trials", "N", "How many settings to try; grid tries all. [default: 20]"),
    ("space", "FILE", "TOML or YAML file of what to search (docs/search.md)."),
    ("workers", "N", "Trials at a time, each in a process of its own. [default: 1]"),
    ("engine", "local|ray", "Where trials run: on this machine, or on a Ray cluster. [default: local]"),
    ("address", "auto|ray://HOST:PORT", "The Ray cluster. [default: one on this machine]"),
    ("trial-cpus", "X", "CPUs of a trial on Ray. [default: 1; on this machine its cores / workers]"),
    ("trial-gpus", "X", "GPUs of a trial on Ray. [default: 0]"),
    ("budget", "TIME", "Begin no trial after this long, e.g. 30m; counted anew with --resume."),
    ("trial-budget", "TIME", "End a trial after the epoch in which this time is over."),
    ("trial-memory", "SIZE", "Fail a trial whose process takes more, e.g. 4GB. [default: 85 % of the machine's]"),
    ("finalists", "N", "How many of the best are trained with more seeds. [default: 3]"),
    ("seeds", "N", "Seeds of each of them and of the default settings; the fresh ones decide. [default: 3]"),
)  # fmt: skip


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out classes or files.")(function)
    for flag, what in (("ema", "Average weights over the last two epochs."), ("normalize", "Standardise features.")):
        function = click.option(f"--{flag}/--no-{flag}", default=None, help=f"{what} [default: on]")(function)
    own = {name for name, _, _ in SEARCH} | {"backbone"}
    for name, metavar, text in reversed([s for s in SETTINGS if s[0] not in own]):
        function = click.option(f"--{name}", metavar=metavar, help=text)(function)
    for name, metavar, text in reversed(SEARCH):
        function = click.option(f"--{name}", metavar=metavar, help=text)(function)
    return function


@click.command(
    cls=Once,
    epilog="Example:  transferkit tune flowers/ --backbone vgg16 --trials 30 --search learning_rate=1e-4:1e-2:log "
    "--search head_width=64,128,256 --output runs/flowers",
)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--backbone", multiple=True, metavar="NAME|FILE", help="A network; several are searched over. "
              "[default: chosen by the pictures, and said]")  # fmt: skip
@click.option("--search", multiple=True, metavar="NAME=VALUES", help="What to search: LOW:HIGH[:log] or A,B,C.")
@click.option("--output", type=click.Path(path_type=Path), help="Run directory. [default: runs/DATA-BACKBONE-tuned]")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings (and search, space, output…) from a TOML file; options win.",
)
@click.option("--resume", is_flag=True, help="Go on with the search in --output.")
@click.option("--offline", is_flag=True, help="Never download weights.")
@click.option(
    "--cache/--no-cache", default=None,
    help="Store features, or compute them anew. [default: what measured costs and the disk say]",
)  # fmt: skip
@_options
@VERBOSE
@common()
def tune(
    data: Path, backbone: tuple[str, ...], search: tuple[str, ...], output: Path | None, config: Path | None,
    resume: bool, offline: bool, cache: bool | None, verbose: bool, quiet: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Search for the settings that suit the pictures in DATA, and train the best.

    What --search and --space do not name stays as it is set. Without either, learning rate, batch size and head width
    are searched. Trials see training and validation pictures only; the winner is scored on the test split once.
    """
    from transferkit import api

    file = from_file(config)
    given = {"offline": offline, "cache": cache, "output": output, "search": search, "space": options.pop("space")}
    kept = own_options(file, OWN_OF_TUNE, **given)
    settings = {**file, **{k: v for k, v in options.items() if v is not None and v != ()}}
    networks = settings.pop("backbone", None)
    run = api.tune(
        data, list(backbone) or networks, resume=resume, reporter=reporter(quiet, as_json), **kept, **settings
    )  # fmt: skip
    if as_json:
        emit({"run": str(run.folder), **run.metrics})
    else:
        echo(run.summary(verbose))
