"""What a classifier is chosen by and fitted on: vectors from several depths of the frozen network, in one pass.

They are in memory, or where they would take much of it, on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit.backbones.build import LoadedBackbone
from transferkit.data.machine import machine_memory
from transferkit.data.samples import Samples
from transferkit.features import working_arrays
from transferkit.features.frozen import Frozen
from transferkit.features.precision import Precision
from transferkit.features.row_blocks import StoredRows, Table, held, mapped
from transferkit.features.row_kinds import Rows
from transferkit.features.row_sources import Source, Stored, taking_once
from transferkit.features.taps import Taps, tapped
from transferkit.training import planning
from transferkit.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

MOST_BYTES = 2 << 30  # of tapped rows; beyond that, only the clean pictures are learnt from
SHARE = 4  # of the machine's memory: one part of so many is what rows may take where all have to be there
FEW = 3000  # pictures whose rows are there at once, however wide they are
READ = 512  # rows at a time


@dataclass(frozen=True, kw_only=True)
class TappedRows:
    """Rows `x` float32 [n, V, D], in memory or on disk, and targets `y` float64 [n, C] of the pictures at `pictures`,
    those of training and validation in order; view 0 is the clean picture. `source` gives the rows `kind` of any of
    their views."""

    backbone: LoadedBackbone
    taps: Taps
    kind: Rows
    source: Source
    pictures: np.ndarray
    x: Table
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


def clean_rows(frozen: Frozen, kind: Rows, samples: Samples, pictures: np.ndarray) -> Table:
    """Tapped rows float32 [n, 1, D] of the clean pictures alone, by one pass or from the store.

    Args:
        frozen: the network.
        kind: of the rows.
        samples: the pictures, of which those at `pictures`, int [n], are read.
        pictures: see there.
    """
    wanted = {int(i): range(1) for i in pictures}
    frozen.prepare([kind], samples, wanted)
    return _read(frozen.source(kind, samples, wanted), kind, pictures, 1)


def most_in_memory() -> int:
    """Bytes of rows that this machine has memory for, where something needs all of them at once."""
    return machine_memory() // SHARE


def most_held(row_bytes: int) -> int:
    """Bytes of rows up to which they are read into memory once, and not whenever they are asked for.

    Args:
        row_bytes: of a picture with all views.
    """
    return min(most_in_memory(), max(working_arrays.HELD_BYTES, FEW * row_bytes))


def learnt_views(width: int, pictures: int, views: int) -> int:
    """How many views of each picture are learnt from: the clean one alone, where all would be much.

    Args:
        width: numbers of 4 bytes in a row.
        pictures: how many.
        views: of each, the clean one among them.
    """
    return 1 if 4 * width * views * pictures > MOST_BYTES else views


def size_of(width: int, pictures: int, views: int) -> int:
    """Bytes of the rows that are learnt from.

    Args:
        width, pictures, views: as for `learnt_views`.
    """
    return 4 * width * learnt_views(width, pictures, views) * pictures


def few_enough(pictures: np.ndarray, width: int, share: float, seed: int) -> np.ndarray:
    """As many of the pictures as memory has room for, in their order; drawn where that is not all.

    Args:
        pictures: numbers of pictures, int [n].
        width: numbers of 4 bytes in a row of each.
        share: of the memory that rows may take.
        seed: of the draw.
    """
    most = max(1, int(share * most_in_memory()) // (4 * width))
    if len(pictures) <= most:
        return pictures
    return np.sort(np.random.default_rng(seed).permutation(pictures)[:most])


def _read(source: Source, kind: Rows, pictures: np.ndarray, views: int) -> Table:
    views = learnt_views(kind.width, len(pictures), views)
    row = 4 * kind.width * views
    stored = row * len(pictures) > most_held(row)
    take = taking_once(source)

    def read(places: np.ndarray) -> np.ndarray:
        found = np.empty((len(places), views, kind.width), np.float32)
        for start in range(0, len(places), READ):
            some = pictures[places[start : start + READ]]
            for view in range(views):
                found[start : start + READ, view] = take(some, np.full(len(some), view, np.int64))[0]
        return found

    rows = StoredRows(read, (len(pictures), views, kind.width))
    if not stored:
        return held(rows)
    # What is computed each time it is asked for is asked for once.
    return rows if isinstance(source, Stored) else mapped(rows, lambda block: block, kind.width)
