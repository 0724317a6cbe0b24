"""`transferkit backbones`: what there is to build on."""

from __future__ import annotations

import click

from transferkit.cli._common import Group, common, emit


@click.group(cls=Group, epilog="Example:  transferkit backbones show vgg16")
def backbones() -> None:
    """The pretrained networks."""


@backbones.command("list", epilog="Example:  transferkit backbones list --json")
@common()
def list_(quiet: bool, as_json: bool) -> None:
    """Name, picture size, parameters and licence of every network."""
    from transferkit.backbones import catalog, weights

    rows = [catalog.find(name) for name in catalog.names()]
    if as_json:
        emit([_facts(row) for row in rows])
        return
    click.echo(f"{'name':<22} {'size':>4} {'least':>5} {'parameters':>11}  {'here':<4}  weights' licence")
    for row in rows:
        here = "yes" if row.kind == "mini" or weights.locate(row, row.size) else ""
        click.echo(f"{row.name:<22} {row.size:>4} {row.minimum:>5} {row.parameters:>11,}  {here:<4}  {row.licence}")


@backbones.command(epilog="Example:  transferkit backbones show vgg16")
@click.argument("name")
@common()
def show(name: str, quiet: bool, as_json: bool) -> None:
    """Everything known about one network: stages to cut at, scaling, weights file."""
    from transferkit.backbones import catalog

    facts = _facts(catalog.find(name))
    if as_json:
        emit(facts)
        return
    for key, value in facts.items():
        click.echo(f"{key:<14} {', '.join(value) if isinstance(value, list) else value}")


def _facts(row: object) -> dict[str, object]:
    from transferkit.backbones import weights
    from transferkit.backbones.catalog import Row

    assert isinstance(row, Row)
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
        "weights": file or "bundled",
        "weights_url": url,
        "weights_hash": row.weights_hash,
        "weights_here": str(where) if where else None,
        "licence": row.licence,
        "paper": row.paper,
    }
