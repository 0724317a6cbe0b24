"""The frozen side of a cut, from uint8 pictures to rows: built once, run once, whichever phases read it later."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from transferkit import compute
from transferkit.backbones.build import LoadedBackbone
from transferkit.backbones.cut import Parts
from transferkit.compute.engines import EngineError, engine_version
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.samples import Samples
from transferkit.features import engine_choice, row_kinds
from transferkit.features.cost import LARGE, measured
from transferkit.features.extract import at_once, content_key, extract, missing
from transferkit.features.number_formats import row_bytes
from transferkit.features.passes import Passes
from transferkit.features.precision import Precision, applied, choose
from transferkit.features.row_kinds import Rows
from transferkit.features.row_sources import (
    FORWARD_BATCH,
    RESIDENT_BYTES,
    Source,
    Stored,
    Streamed,
    Views,
    row_names,
)  # fmt: skip
from transferkit.features.shard_store import marked
from transferkit.features.shard_worker import Extraction
from transferkit.features.shards import Pictures
from transferkit.features.store import ResidentSet, listed_rows, open_set, root
from transferkit.features.stored_sets import make_room, room_for
from transferkit.features.taps import Taps
from transferkit.record import JsonObject

if TYPE_CHECKING:
    import keras

    from transferkit.features.extraction_engines import ExtractionEngine


@dataclass
class Frozen:
    """Everything below the cuts of one run.

    `cache` False stores nothing; True stores what there is room for; None also weighs what storing large activations
    costs against computing them again (`features.cost`). Vectors that are not stored are computed once all the same,
    and held in memory where they fit; all else is streamed. What is trained on is the same in every case.
    """

    backbone: LoadedBackbone
    settings: Settings
    views: Views
    cache: bool | None
    reporter: Reporter
    precision: Precision = field(default_factory=Precision)
    rows_computed: int = 0
    engine: ExtractionEngine | None = None  # extracts what is to be stored, where that is many pictures; None: here

    def __post_init__(self) -> None:
        self._warned: set[str] = set()
        self._passes = Passes(self.reporter)

    def pooled(self) -> Rows:
        """The backbone's output, pooled as the head wants it."""
        return row_kinds.pooled(self.backbone, self.settings)

    def at(self, first: int) -> tuple[Parts, Rows | None]:
        """The parts of a cut before operation `first`, and its rows (None: nothing is frozen, pixels are the input)."""
        return row_kinds.at(self.backbone, self.settings, first)

    def tapped(self) -> tuple[Taps, Rows]:
        """Vectors from several depths, in one row of one pass."""
        return row_kinds.tapped(self.backbone)

    def together(self, kinds: Sequence[Rows]) -> keras.Model:
        """One model with the outputs of all kinds, in order, a cut's first; nothing runs twice."""
        return row_kinds.together(self.backbone, self.settings, kinds)

    def prepare(self, kinds: Sequence[Rows], samples: Samples, wanted: Mapping[int, Sequence[int]]) -> None:
        """Fill the store with the rows of all `kinds` in one pass, where they fit; otherwise they will be streamed.

        Vectors are kept in memory then.
        """
        promised, names = 0, row_names(self.views, samples, wanted)
        for kind in kinds:
            if self.cache is False:
                self._hold(kind, names)
            elif self._worth_storing(kind, samples, names, wanted):
                promised += self._open(kind, names, promised)
        stored = [kind for kind in kinds if kind.features is not None]
        if not stored:
            return
        model = self.together(stored)
        sets = [kind.features for kind in stored if kind.features is not None]
        try:
            if self.engine is not None:
                self._extract_elsewhere(self.engine, model, stored, samples, wanted)
            with applied(model, self.precision):
                run = self._passes.of(model, self.precision)
                self.rows_computed += extract(run, sets, self.views, samples, wanted, self.reporter, at_once(model))
        except EngineError as error:
            self.precision = self._passes.failed(error)
            self.prepare(kinds, samples, wanted)

    def _extract_elsewhere(
        self, engine: ExtractionEngine, model: keras.Model, kinds: Sequence[Rows], samples: Samples,
        wanted: Mapping[int, Sequence[int]],
    ) -> None:  # fmt: skip
        """Have rows that are lacking computed by an engine. What it does not bring is computed here afterwards."""
        sets = [kind.features for kind in kinds if kind.features is not None]
        lacking = missing(sets, self.views, samples, wanted)
        if len(lacking) <= FORWARD_BATCH or any(isinstance(features, ResidentSet) for features in sets):
            return
        folder = str(root().absolute())
        with marked(folder) as marker:
            specs = [(self.spec(kind), kind.shapes) for kind in kinds]
            work = Extraction.of(model, specs, self.views, self.precision, folder, marker)
            found = engine.run(work, Pictures(samples, list(lacking), lacking.__getitem__), self.reporter)
        self.rows_computed += found.computed
        for line in found.slow:
            self.reporter.say(f"took much longer than others: {line}")
        for features in sets:
            features.refresh()

    def compiled(self, model: keras.Model) -> compute.Forward:
        """The forward pass in the chosen precision, in halves where memory runs out; by TensorFlow from where another
        engine fails."""
        return self._passes.guarded(model, self.precision)

    def _worth_storing(self, kind: Rows, samples: Samples, names: Sequence[str], wanted: Collection[int]) -> bool:
        """Whether reading rows of a cut is expected to cost less than computing them each time they are read."""
        size = row_bytes(kind.width)
        if self.cache or kind.tail is None or len(names) * size < LARGE:
            return True
        lacking = len(open_set(self.spec(kind), kind.shapes).missing(names))
        visits = self.settings.epochs * len(wanted)
        with applied(kind.model, self.precision):
            run = self.compiled(kind.model)
            key = {**self._key(kind), "precision": self.precision.name, "how": self.precision.how}
            cost = measured(key, root(), lambda: self._some(samples, wanted), run, FORWARD_BATCH)
        again, stored = cost.again(visits), cost.stored(visits, lacking, size)
        self.reporter.say(
            f"activations ({kind.label}, {lacking * size / 1e9:.1f} GB): storing and reading them costs about "
            f"{stored:.0f} s over {self.settings.epochs} epochs, computing them again {again:.0f} s: "
            + (
                "storing them (--no-cache computes them again)"
                if stored < again
                else "not storing them (--cache would)"
            )
        )
        return stored < again

    def _open(self, kind: Rows, names: Sequence[str], promised: int) -> int:
        """Open the store of `kind` if what it lacks of `names` fits beside `promised` bytes; returns its bytes."""
        features = open_set(self.spec(kind), kind.shapes)
        lacking = len(features.missing(names))
        fits, needed, free = room_for(lacking, features.width, promised)
        if not fits:
            removed, freed = make_room(needed + promised)
            if removed:
                self.reporter.say(f"cache: removed {removed} sets not used for longest ({freed / 1e9:.1f} GB)")
            fits, needed, free = room_for(lacking, features.width, promised)
        if fits:
            kind.features = features
            return needed
        if not self._hold(kind, names) and kind.label not in self._warned:
            self._warned.add(kind.label)
            self.reporter.warn(
                f"features ({kind.label}) would take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are there for them: "
                "computing them again each epoch instead (slower). Move the cache to a larger disk with "
                "TRANSFERKIT_CACHE, or let it grow with TRANSFERKIT_CACHE_SIZE"
            )
        return 0

    def _hold(self, kind: Rows, names: Sequence[str]) -> bool:
        """Whether rows of `kind` are vectors that fit into memory; they are given a place there."""
        if any(len(shape) > 1 for shape in kind.shapes) or 4 * kind.width * len(names) > RESIDENT_BYTES:
            return False
        if not isinstance(kind.features, ResidentSet):
            kind.features = ResidentSet(kind.shapes)
        return True

    def spec(self, kind: Rows) -> JsonObject:
        """All that changes these rows besides the picture and the view."""
        return self._spec(kind, self.precision)

    def _spec(self, kind: Rows, precision: Precision) -> JsonObject:
        row = self.backbone.row
        key: JsonObject = {"network": row.name, "rows": kind.label, "scaling": self.backbone.scaling}
        key |= {"precision": precision.name, "how": precision.how}
        if precision.engine:
            key["engine"] = engine_version(precision.engine)
        key["layers"] = [*kind.structure()]
        if row.plugin is not None:
            key["plugin"] = [*row.plugin.key()]
        return content_key(self.backbone.weights_sha256, key, self.views.decode)

    def source(self, kind: Rows, samples: Samples, wanted: Mapping[int, Sequence[int]]) -> Source:
        """Where training reads these rows: the store, or a stream that computes them."""
        if kind.features is not None:
            return Stored(kind.features, self.views, samples, wanted)
        with applied(kind.model, self.precision):
            run = self.compiled(kind.model)
            run([np.zeros((FORWARD_BATCH, *kind.model.input_shape[1:]), np.uint8)])  # trace inside the context
        return Streamed(self.views, samples, run, kind.shapes)

    def pixels(self, samples: Samples) -> Source:
        """Pictures themselves, for a network that is trained from its first layer."""
        size = self.backbone.size
        return Streamed(self.views, samples, None, [(size, size, 3)])

    def choose_precision(
        self, kind: Rows, samples: Samples, wanted: Mapping[int, Sequence[int]], times: float = 1.0
    ) -> None:
        """Decide how the frozen part computes the rows of `wanted`, before anything is computed. The pictures may be a
        sample of data that has so many `times` as many."""
        rows = round(times * sum(len(views) for views in wanted.values()))
        some, key = partial(self._some, samples, wanted), self._key(kind)
        self.precision = choose(self.settings.precision, kind.model, some, rows, key, self.reporter)
        if self.settings.precision == "auto" and engine_choice.offered():
            self.precision = engine_choice.choose(
                self.precision, self._work(kind, samples, wanted, times), self.reporter
            )
            self._passes.keep(self.precision)
        asked = self.settings.precision
        if asked not in ("auto", self.precision.name) and "precision" not in self._warned:
            self._warned.add("precision")
            self.reporter.warn(
                f"--precision {asked}: {self.precision.reason}, and the shipped model computes in float32; features "
                "are computed in float32, so that the head learns from what it will be given"
            )

    def _work(
        self, kind: Rows, samples: Samples, wanted: Mapping[int, Sequence[int]], times: float
    ) -> engine_choice.Work:
        names = row_names(self.views, samples, wanted)

        def lacking(option: Precision) -> int:
            here = listed_rows(self._spec(kind, option), names) if self.cache is not False else ()
            return round(times * (len(names) - len(here)))

        return engine_choice.Work(
            network=kind.model, pixels=partial(self._some, samples, wanted), batch=FORWARD_BATCH,
            parallel=at_once(kind.model), key=self._key(kind), lacking=lacking,
            compiled=lambda option: self._passes.of(kind.model, option),
        )  # fmt: skip

    def refuse_engine(self, kind: Rows, why: str) -> None:
        """Another engine than TensorFlow, where it is chosen, is not chosen again for this network."""
        if self.precision.engine:
            engine_choice.refuse(self._key(kind), self.precision.engine, why)

    def _key(self, kind: Rows) -> JsonObject:
        """What is probed once a machine."""
        backbone = self.backbone
        return {"network": backbone.row.name, "size": backbone.size, "rows": kind.label,
                "weights": backbone.weights_sha256}  # fmt: skip

    def _some(self, samples: Samples, wanted: Collection[int]) -> np.ndarray:
        """uint8 [16, size, size, 3] of pictures from all over `wanted`: those of the test have no part in a choice."""
        rows = np.sort(np.fromiter(wanted, np.int64, len(wanted)))
        return self.views.pixels(samples, rows[np.linspace(0, len(rows) - 1, 16).astype(int)])
