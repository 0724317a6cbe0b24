"""`transferkit cache`: what the feature store holds."""

from __future__ import annotations

from dataclasses import asdict

import click

from transferkit.cli._common import Group, common, echo, emit


@click.group(cls=Group, epilog="Example:  transferkit cache info")
def cache() -> None:
    """The store of computed features."""


@cache.command(epilog="Example:  transferkit cache info --json")
@common()
def info(quiet: bool, as_json: bool) -> None:
    """Where it is, how large, how large it may grow, and what it holds."""
    from transferkit.features import cache_quota, store

    sets = store.listing()
    total, limit = sum(s.bytes for s in sets), cache_quota.limit(store.root())
    if as_json:
        emit({"folder": str(store.root()), "bytes": total, "limit": limit, "sets": [asdict(s) for s in sets]})
        return
    most = f"{limit / 1e6:,.0f} MB ({cache_quota.VARIABLE})"
    echo(f"{store.root()}: {len(sets)} sets, {total / 1e6:,.1f} MB of at most {most}")
    for entry in sets:
        spec = entry.spec
        echo(f"  {spec['network']:<22} {spec['rows']:<14} {spec['precision']:<9} {entry.bytes / 1e6:>9,.1f} MB")


@cache.command(epilog="Example:  transferkit cache clear")
@click.option("--keep", type=click.FloatRange(0), default=0, metavar="GB", help="Keep the most recent GB. [default: 0]")
@common()
def clear(keep: float, quiet: bool, as_json: bool) -> None:
    """Remove stored features, least recently used first. Features are computed again when needed."""
    from transferkit.features import store

    removed, freed = store.clear(int(keep * 1e9))
    emit({"removed": removed, "bytes": freed}) if as_json else echo(f"{removed} sets, {freed / 1e6:,.1f} MB freed")
