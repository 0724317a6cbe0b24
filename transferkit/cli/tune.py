"""`transferkit tune`: every setting of a run, and how to search over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from transferkit.cli._common import CACHE, OFFLINE, VERBOSE, common, present, reporter
from transferkit.cli._config_file import OWN_OF_TUNE, from_file, own_options
from transferkit.cli._help import (
    Grouped,
    GroupedOption,
    config_option,
    default,
    option,
    output_option,
    setting_option,
    with_settings,
)
from transferkit.config import Settings
from transferkit.setting import declared
from transferkit.tuning.search_settings import SearchSettings
from transferkit.tuning.search_space.dimensions import SEARCHABLE


def _settings() -> Iterator[GroupedOption]:
    """How to search, then every setting of a run. What can be searched is named by --search, not in the short help."""
    yield from map(setting_option, declared(SearchSettings).values())
    for name, setting in declared(Settings).items():
        if name != "backbone" and name not in SearchSettings.model_fields:
            yield setting_option(setting, setting.said.common and (name == "unfreeze" or not setting.said.searched))


# fmt: off
@click.command(cls=Grouped, epilog="Example:  transferkit tune flowers/ --trials 30 --search dropout=0:0.6")
@click.argument("data", type=click.Path(path_type=Path))
@option(
    "--backbone", multiple=True, metavar="NAME|FILE", group="network", common=True,
    brief=f"Network, or several.{default('chosen for you')}",
    help=f"Pretrained network. Repeatable: several are searched over.{default('chosen for you')}",
)
@option(
    "--search", multiple=True, metavar="NAME=VALUES", group="search", common=True,
    brief="What to search: LOW:HIGH[:log] or A,B,C.",
    help=f"What to search: LOW:HIGH[:log] or A,B,C. Repeatable. NAME is one of {', '.join(SEARCHABLE)}.",
)
@option(
    "--space", metavar="FILE", group="search", help="TOML file of what to search (docs/search.md)."
)
@with_settings(_settings())
@output_option("runs/DATA-BACKBONE-tuned")
@config_option("Settings (and search, space, output…) from a TOML file; options win.")
@option("--resume", is_flag=True, common=True, help="Go on with the search in --output.")
@OFFLINE
@CACHE
@VERBOSE
@common()
def tune(
    data: Path, backbone: tuple[str, ...], search: tuple[str, ...], output: Path | None, config: Path | None,
    resume: bool, offline: bool, cache: bool | None, verbose: bool, quiet: bool, as_json: bool, **options: Any,
) -> None:
    # fmt: on
    """Search for the settings that suit the pictures in DATA, and train the best.
    Without --search and --space: learning rate, batch size and head width are
    searched. Trials never see the test pictures; the winner is scored on them.
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
    present(run, verbose, as_json)
