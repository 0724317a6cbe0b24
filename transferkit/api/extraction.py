"""The verb that computes features before any run: `extract_features`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from transferkit.api import unnamed
from transferkit.api.arguments import checked
from transferkit.api.asked import PathOrName, asked
from transferkit.compute import restoring
from transferkit.config import make
from transferkit.config.declarations import OF_FEATURES
from transferkit.console import Reporter
from transferkit.data.containers import bucket
from transferkit.errors import ConfigError, nearest
from transferkit.runs import preflight
from transferkit.storage import is_offline
from transferkit.text import shown

if TYPE_CHECKING:
    from transferkit.features.extraction_engines import ExtractionEngine
    from transferkit.runs.extraction import FeaturesExtracted


@restoring
@checked
def extract_features(
    data: Any, backbone: PathOrName | None = None, *, engine: Literal["local", "ray"] = "local",
    address: str | None = None, workers: int | None = None, worker_cpus: float | None = None,
    worker_gpus: float | None = None, store: str | os.PathLike[str] | None = None, offline: bool = False,
    quiet: bool = False, reporter: Reporter | None = None, **settings: Any,
) -> FeaturesExtracted:  # fmt: skip
    """Compute the features that `finetune` with the same data, network and settings will look for.

    Args:
        data: what `load_data` reads, or its result.
        backbone: a network; without one, it is chosen as `finetune` does.
        engine: where: "local", in this process, or "ray", by workers on a Ray cluster.
        address: of the cluster (`auto`, `host:port`, `ray://host:port`); None: one on this machine.
        workers: how many of them; None: as many as there is room for.
        worker_cpus: CPUs of a worker; None: 4, or as many as the smallest machine has.
        worker_gpus: GPUs of a worker.
        store: an address (`s3://bucket/features`) that rows go to, for `transferkit features fetch`; None: the cache.
        offline: never download weights.
        quiet: no progress, warnings only.
        reporter: who is told instead of the terminal.
        settings: those of `transferkit.Settings` that features depend on.

    Returns:
        How many rows were computed, and what could not be read.

    Raises:
        ConfigError, DataError, BackboneError, WeightsError, StorageError: as `finetune`.
    """
    from transferkit.data.readers.request import Reading
    from transferkit.data.source import scan
    from transferkit.features.extraction_engines import engine_of
    from transferkit.runs.extraction import ExtractionJob

    reporter = reporter or Reporter(quiet)
    this = asked(data, backbone, settings, None, resume=False, offline=offline, resumed="")
    problems = [*this.problems, *_idle(settings), *_no_store(store, offline)]
    if this.given.get("backbone") is None:
        this.announce(reporter)
    choice, more = unnamed.backbone(this.data, this.given, this.origin, None, offline)
    chosen = make(this.given, [*problems, *more, *preflight.problems(this.given, offline)])
    where = engine_of(engine, address, workers, worker_cpus, worker_gpus)
    this.begin(reporter, choice, store is None)
    task = None if chosen.task == "auto" else chosen.task
    samples = scan(
        this.source, task, exclude=chosen.exclude, exclude_file=chosen.exclude_file, strict=False,
        order=chosen.classes, reading=Reading.of(chosen),
    )  # fmt: skip
    return ExtractionJob(
        samples=samples, settings=chosen, engine=where, origin=this.origin, reporter=reporter, offline=offline,
        target=None if store is None else os.fspath(store),
    ).run()  # fmt: skip


def fetch_features(store: str | os.PathLike[str]) -> tuple[int, int]:
    """Copy the features that lie behind an address, and are not here, into this machine's store.

    Args:
        store: the address that `extract_features` was given.

    Returns:
        Chunks that were copied, and their bytes.

    Raises:
        ConfigError: it is no address.
        StorageError: it cannot be reached, or the disk is full.
    """
    from transferkit.errors import raise_problems
    from transferkit.features import shard_store

    raise_problems(ConfigError, _no_store(store))
    return shard_store.fetch(os.fspath(store))


def extraction_engine(
    engine: str, address: str | None, cache: bool | None
) -> tuple[ExtractionEngine | None, list[str]]:
    """Where a run's features are extracted, None for its own process; and problems.

    Args:
        engine: "local" or "ray".
        address: of the cluster.
        cache: whether features are stored; workers have no other way to hand them over.
    """
    from transferkit.features.extraction_engines import engine_of

    if engine == "ray" and cache is False:
        return None, ["--no-cache contradicts --engine ray, whose workers put features into the cache; drop one"]
    try:
        return None if engine == "local" and not address else engine_of(engine, address, None, None, None), []
    except ConfigError as error:
        return None, [str(error)]


def _idle(settings: dict[str, Any]) -> list[str]:
    """Settings that features do not depend on."""
    return [
        f"{name} has no effect on features{nearest(name, OF_FEATURES)}; leave it out"
        for name in settings
        if name not in OF_FEATURES
    ]


def _no_store(store: str | os.PathLike[str] | None, offline: bool = False) -> list[str]:
    """Why rows cannot go to `store`."""
    if store is None:
        return []
    name = shown(os.fspath(store))
    if not bucket.is_address(os.fspath(store)):
        return [f"--store {name} is no address such as s3://bucket/features; for a folder, set TRANSFERKIT_CACHE"]
    if is_offline(offline):
        by = "--offline" if offline else "TRANSFERKIT_OFFLINE"
        return [f"--store {name} lies in the network, which {by} forbids; drop one of them"]
    return []
