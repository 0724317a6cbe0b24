"""`transferkit backbones`: what there is to build on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from transferkit import tasks
from transferkit.cli._common import OFFLINE, CommandGroup, common, echo, emit, reporter, tell
from transferkit.cli._reading import with_reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transferkit.backbones.catalog import BackboneRow
    from transferkit.data.images.decode import Intensity
    from transferkit.data.readers.request import Reading


@click.group(cls=CommandGroup, epilog="Example:  transferkit backbones show vgg16")
def backbones() -> None:
    """The pretrained networks."""


@backbones.command("list", epilog="Example:  transferkit backbones list --json")
@common()
def list_(quiet: bool, as_json: bool) -> None:
    """Name, picture size, parameters and licence of every network."""
    from transferkit.backbones import catalog, weights
    from transferkit.backbones.foundation import hub

    rows = [catalog.find(name) for name in catalog.names()]
    if as_json:
        emit([*(_facts(row) for row in rows), *(_of_hub(name) for name in hub.SHORT)])
        return
    echo(f"{'name':<22} {'size':>4} {'least':>5} {'parameters':>11}  {'here':<4}  weights' licence")
    for row in rows:
        here = "yes" if row.weights_file is None or weights.locate(row, row.size) else ""
        echo(f"{row.name:<22} {row.size:>4} {row.minimum:>5} {row.parameters:>11,}  {here:<4}  {row.licence}")
    echo("\nFrom the Hugging Face hub, fetched when first used (any other of these families: hf:OWNER/NAME):")
    for name, (repository, licence) in hub.SHORT.items():
        echo(f"{name:<22} {repository:<46} {'yes' if hub.local(name) else '':<4}  {licence}")


def _of_hub(name: str) -> dict[str, object]:
    """What is known of a network of the hub by its name, before its files are here."""
    from transferkit.backbones import published
    from transferkit.backbones.foundation import hub

    return {
        "name": name,
        "repository": hub.parsed(name)[0],
        "licence": hub.SHORT[name][1] if name in hub.SHORT else None,
        "weights_here": published.here(name),
    }


@backbones.command(epilog="Example:  transferkit backbones show vgg16")
@click.argument("name", metavar="NAME|FOLDER")
@common()
def show(name: str, quiet: bool, as_json: bool) -> None:
    """Everything known about one network: stages to cut at, scaling, weights file."""
    from transferkit.backbones import catalog, published
    from transferkit.backbones.foundation import model_folder

    if not published.is_published(name):
        facts = _facts(catalog.find(name))
    elif (here := published.here(name)) is None:
        facts = _of_hub(name)
    else:
        found = model_folder.describe(here)
        facts = {**_facts(found.row), "weights": str(found.path), "weights_here": str(found.path), **found.facts()}
    if as_json:
        emit(facts)
        return
    width = max(14, *map(len, facts))
    for key, value in facts.items():
        tell(f"{key:<{width}} {', '.join(value) if isinstance(value, list) else value}")


@backbones.command(epilog="Example:  transferkit backbones recommend flowers/ --figure networks.png")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--backbone", "names", multiple=True, metavar="NAME|FILE", help="Judge these. [default: those in the store]"
)
@click.option("--pictures", type=int, default=1000, show_default=True, help="Look at this many pictures at most.")
@click.option("--task", type=click.Choice(tasks.NAMES), help="[default: found from the data]")
@click.option(
    "--intensity", type=click.Choice(["full", "percentile"]), default="full", show_default=True,
    help="How grey of more than 8 bits is scaled, as for `finetune`.",
)  # fmt: skip
@click.option("--figure", "png", type=click.Path(path_type=Path), help="Draw score against speed into this PNG.")
@OFFLINE
@with_reading
@common(seed=True)
def recommend(
    data: Path, names: tuple[str, ...], pictures: int, task: str | None, intensity: Intensity, png: Path | None,
    offline: bool, quiet: bool, as_json: bool, seed: int, order: Sequence[str] | None, reading: Reading,
) -> None:  # fmt: skip
    """Rank networks by how well the simplest classifier on them (linear probe) does
    on the pictures in DATA.

    Without --backbone, all networks whose weights are in the store are judged; nothing is downloaded then. The test
    pictures of the split that `finetune` makes with this seed are left alone.
    """
    from dataclasses import asdict
    from typing import Any

    from transferkit.data.source import scan
    from transferkit.delivery import recommend as room
    from transferkit.errors import ConfigError

    if png is not None and png.suffix.lower() != ".png":
        raise ConfigError(f"--figure {png}: the figure is a PNG; name it so, e.g. networks.png")
    wanted: Any = task
    samples = scan(data, wanted, order=order, reading=reading)
    found = room.recommend(
        samples, names, pictures=pictures, seed=seed, offline=offline or not names, intensity=intensity,
        reporter=reporter(quiet, as_json),
    )  # fmt: skip
    if png is not None:
        room.figure(found, png)
    if as_json:
        emit([asdict(c) for c in found])
        return
    for line in room.as_lines(found):
        echo(line)


def _facts(row: BackboneRow) -> dict[str, object]:
    from transferkit.backbones import bundled, weights

    file, url = row.file_for(row.size) if row.weights_file else (None, None)
    where = weights.locate(row, row.size) if row.weights_file else None
    return {
        "name": row.name,
        "constructor": f"keras.applications.{row.constructor}" if row.kind == "applications" else row.constructor,
        "size": row.size,
        "minimum": row.minimum,
        "parameters": row.parameters,
        "scaling": row.scaling,
        "stages": list(row.stage_names),
        "weights": file or ("bundled" if row.plugin is None else f"by {row.plugin}"),
        "weights_url": url,
        "weights_hash": bundled.packaged(row).sha256() if row.kind == "bundled" else row.weights_hash,
        "weights_here": str(where) if where else None,
        "licence": row.licence,
        "paper": row.paper,
    }
