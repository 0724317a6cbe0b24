"""Pictures without labels that a run may learn from as well: read, and looked through."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transferkit.console import Reporter
from transferkit.data.audit.newcomers import newcomers
from transferkit.data.containers.films import film_of
from transferkit.data.samples import Samples, shown
from transferkit.errors import ConfigError, DataError, RunError
from transferkit.quantities import plural
from transferkit.runs.run_record import PoolRecord, RunRecord

MOST = 3000  # pictures of a pool that are learnt from: more make the choice slow, and add little


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Hashed pictures without labels, none like a labelled one or like another; and what is said of them."""

    samples: Samples
    record: PoolRecord

    @property
    def words(self) -> str:
        """How many there are, and what became of the others."""
        return said(self.record)


def without_labels(paths: Sequence[Path]) -> Samples:
    """Samples of picture files whose labels nobody knows: their one class has no name."""
    found = tuple(os.path.abspath(path) for path in paths)
    nothing = (None,) * len(found)
    return Samples(
        root=Path(), paths=found, targets=np.zeros(len(found), np.int64), classes=("",), task="classify",
        split=nothing, group=nothing, sha256=None, pixels=None, origin="pictures without labels",
    )  # fmt: skip


def take_in(paths: Sequence[Path], labelled: Samples, name: str, seed: int, reporter: Reporter) -> Pool:
    """Open every picture of a pool, and keep those that can be read and are new.

    Copies and look-alikes of labelled pictures are left out, whatever split these are in: of test pictures they would
    tell what test must not, and of all others whose answers are asked for in cross-validation. So are all frames of a
    film of which one is labelled.

    Args:
        paths: of the pool's pictures.
        labelled: all pictures with labels.
        name: the pool as the user named it.
        seed: decides which are used where there are more than `MOST`.
        reporter: is told of the progress, and of what is left out.

    Raises:
        ConfigError: the labels are not of one class each.
        DataError: no picture of the pool is left.
    """
    if not labelled.kind.plain_classes:
        raise ConfigError(
            f"--unlabeled {shown(name)} is for one class a picture, not for --task {labelled.task}; drop it"
        )
    films = {film_of(os.path.abspath(path)) for path in labelled.sources() if isinstance(path, Path)} - {""}
    every = without_labels(paths)
    pool = every.select([i for i, path in enumerate(every.paths) if film_of(path) not in films])
    with reporter.progress("comparing unlabelled pictures", len(labelled) + len(pool)) as advance:
        found = newcomers(labelled, pool, progress=lambda done, total: advance(1))
    alike = found.known + len(every) - len(pool)
    samples, beyond = found.fresh, max(0, len(found.fresh) - MOST)
    if not len(samples):
        raise DataError(
            f"--unlabeled {shown(name)}: none of its {plural(len(every), 'picture')} can be used: {alike} are "
            f"like labelled ones, {len(found.faults)} cannot be read. Give other pictures, or drop it"
        )
    if beyond:
        samples = samples.select(np.sort(np.random.default_rng(seed).permutation(len(samples))[:MOST]))
    digest = hashlib.sha256("\n".join(sorted(samples.sha256 or ())).encode()).hexdigest()
    record = PoolRecord(
        path=name, n=len(samples), alike=alike, repeated=found.repeated, unreadable=len(found.faults),
        beyond=beyond, sha256=digest,
    )  # fmt: skip
    reporter.say(said(record))
    return Pool(samples=samples, record=record)


def said(record: PoolRecord) -> str:
    """A pool in words."""
    out = {
        "like labelled ones": record.alike, "like one another": record.repeated,
        "that cannot be read": record.unreadable, f"more than the {MOST:,} that are used": record.beyond,
    }  # fmt: skip
    left = ", ".join(f"{count:,} {why}" for why, count in out.items() if count)
    return f"{plural(record.n, 'unlabelled picture')}{left and f'; left out: {left}'}"


def check_same(record: RunRecord, pool: Pool | None) -> None:
    """Raise where a run that goes on was begun with other unlabelled pictures.

    Args:
        record: run.json.
        pool: of now.

    Raises:
        RunError: says so.
    """
    then, now = record.data.unlabeled, None if pool is None else pool.record
    if then is not None and now is not None and then.sha256 != now.sha256:
        raise RunError(
            "--resume: the unlabelled pictures are not those the run was started with; put them back as they were, or "
            "start again with another --output"
        )
