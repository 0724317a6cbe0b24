"""`transferkit features`: features computed before they are needed, on this machine or on many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transferkit.cli._common import OFFLINE, CommandGroup, common, echo, emit, reporter
from transferkit.cli._help import Grouped, cluster_options, option, setting_option, with_settings
from transferkit.config import Settings
from transferkit.config.declarations import OF_FEATURES
from transferkit.setting import declared


@click.group(cls=CommandGroup, epilog="Example:  transferkit features extract flowers/ --backbone vgg16")
def features() -> None:
    """What networks make of pictures, computed beforehand."""


def _settings() -> Any:
    found = declared(Settings)
    return [setting_option(found[name]) for name in OF_FEATURES]


# fmt: off
@features.command(
    cls=Grouped,
    epilog="Example:  transferkit features extract flowers/ --engine ray --address auto",
)
@click.argument("data", type=click.Path(path_type=Path))
@with_settings(_settings())
@cluster_options
@option(
    "--store", metavar="ADDRESS", common=True,
    help="Put rows into s3://BUCKET/FOLDER or such. [default: the cache]",
)
@OFFLINE
@common()
def extract(
    data: Path, engine: Any, address: str | None, workers: int | None, worker_cpus: float | None,
    worker_gpus: float | None, store: str | None, offline: bool, quiet: bool, as_json: bool, **options: Any,
) -> None:
    # fmt: on
    """Compute and store the features that runs on the pictures in DATA will look for.

    That is with the same network and settings. What is there already is not computed again: a command that was
    interrupted is given once more.
    """
    from transferkit import api

    settings = {k: v for k, v in options.items() if v is not None and v != ()}
    found = api.extract_features(
        data, engine=engine, address=address, workers=workers, worker_cpus=worker_cpus, worker_gpus=worker_gpus,
        store=store, offline=offline, reporter=reporter(quiet, as_json), **settings,
    )  # fmt: skip
    if as_json:
        emit(found.as_dict())
    else:
        for line in found.lines():
            echo(line)


@features.command(epilog="Example:  transferkit features fetch s3://bucket/features")
@click.argument("store", metavar="ADDRESS")
@common()
def fetch(store: str, quiet: bool, as_json: bool) -> None:
    """Copy features that `extract --store` put behind an address into the cache."""
    from transferkit.api.extraction import fetch_features

    chunks, size = fetch_features(store)
    if as_json:
        emit({"chunks": chunks, "bytes": size})
    else:
        echo(f"{chunks} chunks, {size / 1e6:,.1f} MB copied")
