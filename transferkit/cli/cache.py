"""`transferkit cache`: what the feature store holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from transferkit.cli._common import CommandGroup, common, echo, emit
from transferkit.quantities import plural
from transferkit.text import shown


@click.group(cls=CommandGroup, epilog="Example:  transferkit cache info")
def cache() -> None:
    """The store of computed features."""


@cache.command(epilog="Example:  transferkit cache info --json")
@common()
def info(quiet: bool, as_json: bool) -> None:
    """Where it is, how large, how large it may grow, and what it holds."""
    from transferkit import cache_quota
    from transferkit.data.containers import kept
    from transferkit.features import store, stored_sets

    sets = stored_sets.listing()
    data = {name: _size(kept.files(name)) for name in kept.STORES}
    total, limit = sum(s.bytes for s in sets), cache_quota.limit(store.root())
    if as_json:
        found = {"folder": str(store.root()), "bytes": total, "limit": limit, "sets": [asdict(s) for s in sets]}
        emit(found | data | {"data_limit": kept.limit()})
        return
    most = f"{limit / 1e6:,.0f} MB ({cache_quota.VARIABLE})"
    echo(f"{store.root()}: {plural(len(sets), 'set')} of features, {total / 1e6:,.1f} MB of at most {most}")
    for name, what in (("archives", "unpacked archives"), ("fetched", "fetched data")):
        if data[name]:
            echo(f"{kept.store(name)}: {data[name] / 1e6:,.1f} MB of {what}")
    if any(data.values()):
        echo(f"data that was unpacked or fetched: {sum(data.values()) / 1e6:,.1f} MB of at most {most}")
    for entry in sets:
        spec = entry.spec
        rows = _rows(str(spec["rows"]))
        echo(f"  {shown(spec['network']):<20} {rows:<31} {spec['precision']:<9} {entry.bytes / 1e6:>9,.1f} MB")


@cache.command(epilog="Example:  transferkit cache clear")
@click.option("--keep", type=click.FloatRange(0), default=0, metavar="GB", help="Keep the most recent GB. [default: 0]")
@common()
def clear(keep: float, quiet: bool, as_json: bool) -> None:
    """Remove stored features, least recently used first; without --keep also unpacked archives and fetched data.

    All are made again when needed. What a running job uses stays.
    """
    from transferkit.data.containers import kept
    from transferkit.features import stored_sets

    removed, freed = stored_sets.clear(int(keep * 1e9))
    (archives, more), (fetched, yet_more) = ((0, 0), (0, 0)) if keep else map(kept.clear, kept.STORES)
    freed += more + yet_more
    left = 0 if keep else len(stored_sets.listing()) + sum(len(kept.files(name)) for name in kept.STORES)
    if as_json:
        emit({"removed": removed, "bytes": freed, "archives": archives, "fetched": fetched, "left": left})
        return
    also = (f", {archives} unpacked archives" if archives else "") + (f", {fetched} fetched files" if fetched else "")
    echo(f"{removed} sets{also}, {freed / 1e6:,.1f} MB freed")
    if left:
        echo(f"{left} left: a running job uses them, or this user may not remove them")


def _rows(kind: str) -> str:
    """What the rows of a set are: `taps:stem.mean+…` in words."""
    name, _, what = kind.partition(":")
    words = {
        "taps": f"{what.count('+') + 1} vectors of several depths", "pooled": f"last layer ({what})",
        "cut": f"maps at layer {what}",
    }  # fmt: skip
    return shown(words.get(name, kind))[:31]


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.exists())
