"""`transferkit finetune`: every setting of a run as an option. Only what is given is passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transferkit.cli._common import CACHE, OFFLINE, VERBOSE, common, echo, emit, present, reporter
from transferkit.cli._config_file import from_file, own_options
from transferkit.cli._help import Grouped, config_option, option, output_option, setting_option, with_settings
from transferkit.config import Settings
from transferkit.setting import declared

# fmt: off


@click.command(cls=Grouped, epilog="Example:  transferkit finetune flowers/ --output runs/flowers")
@click.argument("data", type=click.Path(path_type=Path))
@with_settings(setting_option(setting) for setting in declared(Settings).values())
@output_option("runs/DATA-BACKBONE")
@config_option("Settings from a TOML file, a run or its run.json; options win.")
@option("--resume", is_flag=True, common=True, help="Finish the run in --output.")
@option(
    "--dry-run", is_flag=True, common=True, brief="Only say what would be done and how long.",
    help="Check everything, measure, and say what would be done, how long and on how much disk.",
)
@OFFLINE
@option("--tensorboard", is_flag=True, help="Write TensorBoard logs into the run directory as it goes.")
@option(
    "--track", multiple=True, metavar="mlflow|wandb", help="Also tell MLflow or Weights & Biases (extras). Repeatable."
)
@CACHE
@option(
    "--engine", type=click.Choice(["local", "ray"]),
    help="Where features are extracted. On this machine, or by all of a Ray cluster. [default: local]",
)
@option("--address", metavar="auto|ray://HOST:PORT", help="The Ray cluster. [default: one on this machine]")
@VERBOSE
@common()
def finetune(
    data: Path, output: Path | None, config: Path | None, resume: bool, dry_run: bool, offline: bool, tensorboard: bool,
    track: tuple[str, ...], cache: bool | None, engine: str | None, address: str | None, verbose: bool, quiet: bool,
    as_json: bool, **options: Any,
) -> None:
    # fmt: on
    """Train the best classifier that the pictures in DATA allow. DATA is a folder of
    class folders, an archive of one, a table, … (docs/data.md).
    """
    from transferkit import api

    file = from_file(config)
    kept = own_options(
        file, offline=offline, cache=cache, tensorboard=tensorboard, output=output, track=track, engine=engine,
        address=address,
    )  # fmt: skip
    where = {name: kept[name] for name in ("engine", "address") if kept[name] is not None}
    settings = {**file, **{k: v for k, v in options.items() if v is not None and v != ()}}
    run = api.finetune(
        data, output=kept["output"], resume=resume, offline=kept["offline"], cache=kept["cache"],
        reporter=reporter(quiet, as_json), track=("tensorboard",) * kept["tensorboard"] + tuple(kept["track"]),
        dry_run=dry_run, **where, **settings,
    )  # fmt: skip
    if isinstance(run, api.Run):
        present(run, verbose, as_json)
    else:
        emit(run.as_dict()) if as_json else echo(run)
