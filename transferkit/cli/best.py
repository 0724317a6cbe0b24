"""`transferkit best`: which networks are compared and for how long, and the settings of a run that all share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transferkit.cli._common import CACHE, OFFLINE, VERBOSE, common, present, reporter
from transferkit.cli._config_file import OWN_OF_BEST, from_file, own_options
from transferkit.cli._help import (
    Grouped,
    config_option,
    default,
    option,
    output_option,
    setting_option,
    with_settings,
)
from transferkit.config import Settings
from transferkit.setting import declared
from transferkit.tuning.portfolio_settings import SETTINGS, place_settings

# fmt: off


@click.command(cls=Grouped, epilog="Example:  transferkit best flowers/ --budget 10m --output runs/flowers")
@click.argument("data", type=click.Path(path_type=Path))
@option(
    "--budget", metavar="TIME", group="search", common=True, brief=f"Time for all of it.{default('10m')}",
    help="Time for all of it: 90s, 10m, 1.5h. A network is begun only where it is expected to be done in time; the "
    f"first always is. Counted again with --resume.{default('10m')}",
)
@option(
    "--backbone", multiple=True, metavar="NAME|FILE", group="network", common=True,
    brief=f"Network. Repeatable.{default('all that are here')}",
    help="Network to compare: a name of `transferkit backbones list`, or a .keras file. Repeatable; the first is "
    f"always finished.{default('all whose weights are here')}",
)
@option(
    "--distill", metavar="NAME|FILE", group="network", brief=f"Small network to teach.{default('none')}",
    help="Small network, for phones, that is taught by what was chosen, beyond the budget: a run of its own, in "
    f"student/, scored beside its teacher.{default('none')}",
)
@with_settings(setting_option(setting) for name, setting in declared(Settings).items() if name in SETTINGS)
@with_settings(map(setting_option, place_settings().values()))
@output_option("runs/DATA-best")
@config_option("Settings (and budget, distill, output…) from a TOML file or a run; options win.")
@option("--resume", is_flag=True, common=True, help="Go on with the comparison in --output.")
@OFFLINE
@CACHE
@VERBOSE
@common()
def best(
    data: Path, backbone: tuple[str, ...], budget: str | None, distill: str | None, output: Path | None,
    config: Path | None, resume: bool, offline: bool, cache: bool | None, verbose: bool, quiet: bool, as_json: bool,
    **options: Any,
) -> None:
    # fmt: on
    """Compare networks on the pictures in DATA, in the time you give, and train the
    best. All are cross-validated on the same folds; the smallest of those that are
    as good as the best is taken. The winner is scored once on the test pictures.
    """
    from transferkit import api

    file = from_file(config, chosen=False)
    given = {"offline": offline, "cache": cache, "output": output, "budget": budget, "distill": distill}
    kept = {k: v for k, v in own_options(file, OWN_OF_BEST, **given).items() if v is not None}
    settings = {**file, **{k: v for k, v in options.items() if v is not None and v != ()}}
    networks = settings.pop("backbone", None)
    run = api.best(
        data, list(backbone) or networks, resume=resume, reporter=reporter(quiet, as_json), **kept, **settings
    )  # fmt: skip
    present(run, verbose, as_json)
