"""The frozen side of a cut, from uint8 pictures to rows: built once, run once, whichever phases read it later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute, heads
from transferkit.backbones.build import Backbone
from transferkit.backbones.cut import Parts, cut
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.samples import Samples
from transferkit.features.extract import FORWARD_BATCH, Source, Stored, Streamed, Views, content_key, extract
from transferkit.features.precision import Precision, applied, choose
from transferkit.features.store import FeatureSet, open_set, room_for

if TYPE_CHECKING:
    import keras


@dataclass
class Rows:
    """One kind of row: the pooled features (`label` "pooled:avg") or the activations at a cut ("cut:17")."""

    label: str
    model: keras.Model
    shapes: list[tuple[int, ...]]
    features: FeatureSet | None = None
    tail: keras.Model | None = None  # of a cut: from these rows to the backbone's output


@dataclass
class Frozen:
    """Everything below the cuts of one run. `cache` False streams instead of storing."""

    backbone: Backbone
    settings: Settings
    views: Views
    cache: bool
    reporter: Reporter
    precision: Precision = field(default_factory=Precision)
    seconds: float = 0.0
    rows_computed: int = 0

    def pooled(self) -> Rows:
        """The backbone's output, pooled as the head wants it (a map for `flatten` keeps its numbers, in a row)."""
        x = inputs = self._pixels()
        for layer in self.backbone.preprocessing():
            x = layer(x)
        x = self.backbone.model(x)
        # CutMix pastes rectangles, so it needs the map itself.
        pool = None if self.settings.cutmix else heads.pool(x.shape[1:], self.settings.pooling)
        x = x if pool is None else pool(x)
        label = "map" if pool is None else f"pooled:{self.settings.pooling}"
        return _rows(label, _model(inputs, x))

    def at(self, first: int) -> tuple[Parts, Rows | None]:
        """The parts of a cut before operation `first`, and its rows (None: nothing is frozen, pixels are the input)."""
        parts = cut(self.backbone.model, first)
        if parts.frozen is None:
            return parts, None
        x = inputs = self._pixels()
        for layer in self.backbone.preprocessing():
            x = layer(x)
        rows = _rows(f"cut:{first}", _model(inputs, parts.frozen(x)))
        rows.tail = parts.tail
        return parts, rows

    def _pixels(self) -> Any:
        import keras

        size = self.backbone.size
        return keras.Input((size, size, 3), dtype="uint8", name="pixels")

    def prepare(self, kinds: Sequence[Rows], samples: Samples, wanted: Mapping[int, Sequence[int]]) -> None:
        """Fill the store with the rows of all `kinds` in one pass, where they fit; otherwise they will be streamed."""
        for kind in kinds:
            self._open(kind, sum(len(v) for v in wanted.values()))
        stored = [kind for kind in kinds if kind.features is not None]
        if not stored:
            return
        model = self._together(stored)
        with applied(model, self.precision):
            run = compute.forward(model, graph_bfloat16=self.precision.how == "graph")
            sets = [kind.features for kind in stored if kind.features is not None]
            self.rows_computed += extract(run, sets, self.views, samples, wanted, self.reporter)

    def _together(self, kinds: Sequence[Rows]) -> keras.Model:
        """One model with the outputs of all kinds, in order. Pooled rows grow on the cut's, so nothing runs twice."""
        if len(kinds) == 1:
            return kinds[0].model
        lower, pooled = kinds
        assert lower.tail is not None
        inputs = self._pixels()
        below = lower.model(inputs)
        top = lower.tail(below)
        pool = heads.pool(top.shape[1:], self.settings.pooling) if pooled.label != "map" else None
        outputs = [*(below if isinstance(below, list) else [below]), top if pool is None else pool(top)]
        return _model(inputs, outputs)

    def _open(self, kind: Rows, rows: int) -> None:
        width = sum(int(np.prod(shape)) for shape in kind.shapes)
        if not self.cache:
            return
        fits, needed, free = room_for(rows, width)
        if not fits:
            self.reporter.warn(
                f"features would take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: computing them anew "
                "each epoch instead (slower). Move the cache to a larger disk with TRANSFERKIT_CACHE"
            )
            return
        key = {"network": self.backbone.row.name, "rows": kind.label, "precision": self.precision.name}
        key |= {"scaling": self.backbone.scaling}
        spec = content_key(self.backbone.weights_sha256, key, self.views.decode)
        kind.features = open_set(spec, kind.shapes)

    def source(self, kind: Rows, samples: Samples, wanted: Mapping[int, Sequence[int]]) -> Source:
        """Where training reads these rows: the store, or a stream that computes them."""
        if kind.features is not None:
            return Stored(kind.features, self.views, samples, wanted)
        with applied(kind.model, self.precision):
            run = compute.forward(kind.model, graph_bfloat16=self.precision.how == "graph")
            run([np.zeros((FORWARD_BATCH, *kind.model.input_shape[1:]), np.uint8)])  # trace inside the context
        return Streamed(self.views, samples, run, kind.shapes)

    def pixels(self, samples: Samples) -> Source:
        """Pictures themselves, for a network that is trained from its first layer."""
        size = self.backbone.size
        return Streamed(self.views, samples, None, [(size, size, 3)])

    def choose_precision(self, kind: Rows, samples: Samples, rows: int) -> None:
        """Decide how the frozen part computes, before anything is computed."""

        def some() -> np.ndarray:
            chosen = np.linspace(0, len(samples) - 1, 16).astype(int)
            return np.concatenate([self.views.pixels(samples, int(i), [0]) for i in chosen])

        key = {"network": self.backbone.row.name, "size": self.backbone.size, "rows": kind.label}
        key["weights"] = self.backbone.weights_sha256
        self.precision = choose(self.settings.precision, kind.model, some, rows, key, self.reporter)


def _model(inputs: Any, outputs: Any) -> keras.Model:
    import keras

    return keras.Model(inputs, outputs)


def _rows(label: str, model: keras.Model) -> Rows:
    return Rows(label, model, [tuple(t.shape[1:]) for t in model.outputs])
