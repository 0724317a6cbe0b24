"""`features extract`: the rows that a run on these pictures will look for, computed before it, here or on a cluster.

Pictures are listed here and read by the workers, so that this process reads a sample of them only. Which are for
testing is known where the data says so: those are left out. All others get the views of training pictures, since the
split is made later, by hashes that are not known yet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from transferkit import compute
from transferkit.backbones.build import LoadedBackbone, build
from transferkit.compute.engines import EngineError
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings, PictureError
from transferkit.data.samples import Samples, hash_or_reason, shown
from transferkit.errors import BackboneError, DataError, StorageError, raise_problems
from transferkit.features.extraction_engines import ExtractionEngine
from transferkit.features.frozen import Frozen
from transferkit.features.number_formats import row_bytes
from transferkit.features.precision import Precision
from transferkit.features.row_kinds import Rows
from transferkit.features.row_sources import Views, row_names
from transferkit.features.shard_store import marked
from transferkit.features.shard_worker import Extraction
from transferkit.features.shards import Extracted, Pictures
from transferkit.features.store import listed_rows, root
from transferkit.features.stored_sets import make_room, room_for
from transferkit.quantities import duration, plural
from transferkit.runs.run_record import Skipped
from transferkit.training import planning

SAMPLE = 64  # pictures that are read here, to choose the arithmetic and to know what is there already
SHOWN = 20  # of what went wrong


@dataclass(frozen=True, kw_only=True)
class FeaturesExtracted:
    """What an extraction came to. `rows` names the kinds of rows, `width` the numbers in one row of all of them."""

    data: str
    backbone: str
    precision: str
    rows: list[str]
    width: int
    views: int
    pictures: int
    for_testing: int
    computed: int
    present: int
    seconds: float
    store: str
    machines: dict[str, int]
    workers_lost: int
    slow: list[str] = field(default_factory=list)
    unreadable: list[Skipped] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"unreadable": [entry.model_dump() for entry in self.unreadable]}

    def lines(self) -> list[str]:
        """What to say of it."""
        found = [
            f"{self.computed:,} rows computed and {self.present:,} there already, of {self.pictures:,} pictures with "
            f"{plural(self.views, 'view')} each ({self.backbone}, {', '.join(self.rows)}), in {duration(self.seconds)}",
            f"store: {self.store}",
        ]
        if self.for_testing:
            found.append(f"{self.for_testing:,} pictures that are for testing were left out")
        if len(self.machines) > 1 or self.workers_lost:
            spread = ", ".join(f"{name} {count:,}" for name, count in sorted(self.machines.items()))
            found.append(f"pictures by machine: {spread}; workers lost: {self.workers_lost}")
        for what, some in (("took much longer than others", self.slow),
                           ("cannot be read", [f"{shown(e.path)}: {e.reason}" for e in self.unreadable])):  # fmt: skip
            if some:
                more = f"\n  … and {len(some) - SHOWN} more" if len(some) > SHOWN else ""
                found.append(f"{what}:\n  " + "\n  ".join(some[:SHOWN]) + more)
        return found


@dataclass(kw_only=True)
class ExtractionJob:
    """One extraction. `origin` is the data as the user named it; `target` the address of a store, None for the cache
    of this machine."""

    samples: Samples
    settings: Settings
    engine: ExtractionEngine
    origin: str | None
    reporter: Reporter
    offline: bool = False
    target: str | None = None

    def run(self) -> FeaturesExtracted:
        """Compute what the store lacks.

        Raises:
            DataError: there is nothing that can be read; with `--on-bad-file error` also where something cannot, when
                all else is stored.
            StorageError: there is no room for the rows.
        """
        started = time.monotonic()
        backbone = self._backbone()
        s = self.settings = planning.pooled_for(self.settings, backbone)
        decode = DecodeSettings(backbone.size, s.resize, s.intensity)
        self.views = Views(decode, augmentation(s.augment), s.used_views, s.seed)
        self.frozen = Frozen(backbone, s, self.views, True, self.reporter)
        upper = self.frozen.tapped()[1] if s.chooses_head else self.frozen.pooled()
        kinds = planning.kinds(self.frozen, s, upper)
        pictures = self._pictures()
        found = self._extract(kinds, upper, pictures)
        report = FeaturesExtracted(
            data=self.origin or "arrays", backbone=backbone.row.name, precision=self.frozen.precision.name,
            rows=[kind.label.partition(":")[0] for kind in kinds], width=sum(kind.width for kind in kinds),
            views=1 + self.views.count, pictures=len(pictures), for_testing=len(self.samples) - len(pictures),
            computed=found.computed, present=found.present, seconds=time.monotonic() - started, store=self._store,
            machines=found.machines, workers_lost=found.lost, slow=found.slow,
            unreadable=[Skipped(path=self.samples.paths[i], reason=reason) for i, reason in found.bad],
        )  # fmt: skip
        self._require_readable(report)
        return report

    @property
    def _store(self) -> str:
        return str(root().absolute()) if self.target is None else self.target

    def _backbone(self) -> LoadedBackbone:
        s = self.settings
        compute.start(reporter=self.reporter)
        with self.reporter.step(f"building {shown(s.backbone)}"):
            backbone = build(
                s.backbone, s.weights, s.image_size, s.seed, self.offline, None if s.scaling == "auto" else s.scaling,
                self.reporter.say,
            )  # fmt: skip
        for note in backbone.notes:
            self.reporter.say(f"backbone: {note}")
        raise_problems(BackboneError, planning.problems(backbone, s))
        return backbone

    def _pictures(self) -> Pictures:
        """All that are not for testing, each with the views that a run will look for."""
        split, s = self.samples.split, self.settings
        for_choice = s.choice_views + 1 if s.chooses_head else 1
        for_training = max(for_choice, self.views.count + 1)
        order: Sequence[int] = range(len(self.samples))
        if "test" in split:
            order = [i for i, side in enumerate(split) if side != "test"]
        judged, trained = range(for_choice), range(for_training)
        return Pictures(self.samples, order, lambda i: judged if split[i] == "val" else trained)

    def _extract(self, kinds: list[Rows], upper: Rows, pictures: Pictures) -> Extracted:
        some = self._sample(pictures)
        wanted = dict.fromkeys(range(len(some)), pictures.views(pictures.order[0]))
        times = len(pictures) / len(some)
        self.frozen.choose_precision(upper, some, wanted, times)
        while True:
            self._require_room(kinds, row_names(self.views, some, wanted), times)
            sets = [(self.frozen.spec(kind), kind.shapes) for kind in kinds]
            try:
                with marked(self._store) as marker:
                    work = Extraction.of(
                        self.frozen.together(kinds), sets, self.views, self.frozen.precision, self._store, marker
                    )
                    return self.engine.run(work, pictures, self.reporter)
            except EngineError as error:
                self.frozen.refuse_engine(upper, str(error))
                self.reporter.warn(f"{error}; going on with TensorFlow")
                self.frozen.precision = Precision(reason=str(error))

    def _sample(self, pictures: Pictures) -> Samples:
        """Some of the pictures from all over the data, hashed. Raises DataError where none can be read."""
        if not len(pictures):
            raise DataError("there are no pictures but those for testing, which are left alone")
        places = np.unique(np.linspace(0, len(pictures) - 1, SAMPLE).astype(int))
        some = self.samples.select([pictures.order[int(place)] for place in places])
        kept, hashes, reason = [], [], ""
        for i in range(len(some)):
            sha256, problem = hash_or_reason(some.source(i))
            if problem is None:
                try:
                    self.views.pixels(replace(some, sha256=(sha256,) * len(some)), i)
                except PictureError as error:
                    problem = error.reason
            if problem is None:
                kept.append(i)
                hashes.append(sha256)
            reason = reason or (problem and f"{shown(some.paths[i])}: {problem}") or ""
        if not kept:
            raise DataError(f"none of {len(some)} pictures from all over the data can be read; the first: {reason}")
        return replace(some.select(kept), sha256=tuple(hashes))

    def _require_room(self, kinds: list[Rows], names: list[str], times: float) -> None:
        """Raise StorageError where the rows will not fit, as far as the sample tells."""
        if self.target is not None:
            return
        promised = 0
        for kind in kinds:
            rows = round(times * (len(names) - len(listed_rows(self.frozen.spec(kind), names))))
            fits, needed, free = room_for(rows, kind.width, promised)
            if not fits:
                make_room(needed + promised)
                fits, needed, free = room_for(rows, kind.width, promised)
            if not fits:
                raise StorageError(
                    f"about {rows:,} rows of {row_bytes(kind.width):,} bytes ({needed / 1e9:.1f} GB) are to be "
                    f"stored and {free / 1e9:.1f} GB are there for them; move the cache to a larger disk with "
                    "TRANSFERKIT_CACHE, let it grow with TRANSFERKIT_CACHE_SIZE, or give --store s3://…"
                )
            promised += needed

    def _require_readable(self, report: FeaturesExtracted) -> None:
        if report.unreadable and self.settings.on_bad_file == "error":
            raise DataError(
                f"{len(report.unreadable)} of {report.pictures} pictures cannot be used; the rows of all others are "
                "stored.\n" + "\n".join(report.lines()[1:])
                + "\nRepair or remove them, or pass --on-bad-file skip"
            )  # fmt: skip
