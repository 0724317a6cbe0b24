"""What a classifier is chosen by and fitted on: vectors from several depths of the frozen network, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit.backbones.build import LoadedBackbone
from transferkit.data.samples import Samples
from transferkit.features.frozen import Frozen
from transferkit.features.precision import Precision
from transferkit.features.row_kinds import Rows
from transferkit.features.row_sources import Source
from transferkit.features.taps import Taps, tapped
from transferkit.training import planning
from transferkit.training.problem import Trained
from transferkit.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

MOST_BYTES = 2 << 30  # of tapped rows in memory; beyond that, only the clean pictures are learnt from


@dataclass(frozen=True, kw_only=True)
class TappedRows:
    """Rows `x` float32 [n, V, D] and targets `y` float64 [n, C] of the pictures at `pictures`, those of training and
    validation in order; view 0 is the clean picture. `source` gives the rows `kind` of any of their views."""

    backbone: LoadedBackbone
    taps: Taps
    kind: Rows
    source: Source
    pictures: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @property
    def columns(self) -> tuple[int, int]:
        """All of them, as a range."""
        return 0, self.x.shape[2]

    def places(self, pictures: np.ndarray) -> np.ndarray:
        """Where these pictures are in `x`."""
        return np.searchsorted(self.pictures, pictures)

    def network(self, body: keras.Model, columns: tuple[int, int]) -> keras.Model:
        """uint8 pictures → logits, by a `body` on the range `columns`."""
        import keras

        size = self.backbone.size
        inputs = keras.Input((size, size, 3), dtype="uint8", name="picture")
        return keras.Model(inputs, body(self.vectors(inputs, columns)), name="transferkit")

    def vectors(self, inputs: Any, columns: tuple[int, int]) -> Any:
        """The range `columns` of rows of the pictures `inputs`, a tensor of uint8."""
        return tapped(self.backbone, self.taps, inputs, columns)


def tapped_rows(work: Recipe, precision: Precision | None = None) -> TappedRows:
    """Those of a run; `precision` is that of the features, None chooses it.

    Args:
        work: the recipe.
        precision: of the features; None chooses it.
    """
    problem = work.problem
    taps, kind = work.frozen.tapped()
    pictures = np.union1d(problem.train, problem.val)
    wanted = {int(i): range(work.settings.choice_views + 1) for i in pictures}
    wanted |= {int(i): range(work.views.count + 1) for i in problem.train}
    if precision is None:
        work.frozen.choose_precision(kind, problem.samples, wanted)
    else:
        work.frozen.precision = precision
    work.frozen.prepare(planning.kinds(work.frozen, work.settings, kind), problem.samples, wanted)
    source = work.frozen.source(kind, problem.samples, wanted)
    return TappedRows(
        backbone=work.backbone, taps=taps, kind=kind, source=source, pictures=pictures,
        x=_read(source, kind, pictures, work.settings.choice_views + 1),
        y=problem.targets[pictures].astype(np.float64),
    )  # fmt: skip


def clean_rows(frozen: Frozen, kind: Rows, samples: Samples, pictures: np.ndarray) -> np.ndarray:
    """Tapped rows float32 [n, D] of the clean pictures alone, by one pass or from the store.

    Args:
        frozen: the network.
        kind: of the rows.
        samples: the pictures, of which those at `pictures`, int [n], are read.
        pictures: see there.
    """
    wanted = {int(i): range(1) for i in pictures}
    frozen.prepare([kind], samples, wanted)
    return _read(frozen.source(kind, samples, wanted), kind, pictures, 1)[:, 0]


def _read(source: Source, kind: Rows, pictures: np.ndarray, views: int) -> np.ndarray:
    if 4 * kind.width * views * len(pictures) > MOST_BYTES:
        views = 1
    blocks = np.array_split(pictures, max(1, -(-len(pictures) // 512)))
    found = np.empty((len(pictures), views, kind.width), np.float32)
    at = 0
    for block in blocks:
        for view in range(views):
            found[at : at + len(block), view] = source.take(block, np.full(len(block), view, np.int64))[0]
        at += len(block)
    return found


def narrowed(x: np.ndarray, trained: Trained, place: str) -> np.ndarray:
    """The columns of tapped rows that `place` ("last" layer, "head") names; all where rows are of one place only.

    Args:
        x: tapped rows [n, D].
        trained: what training came to, with the places of columns.
        place: "last" layer, or "head".
    """
    if not trained.places:
        return x
    start, stop = trained.places[place]
    return x[:, start:stop]
