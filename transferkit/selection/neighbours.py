"""The labels of similar pictures: no training at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from transferkit.features.row_blocks import Table, held
from transferkit.selection.fitted import Fitted, Floats, Neighbours, unit
from transferkit.selection.learner import Folds, Path, Setting, refitted


@dataclass(frozen=True)
class NearestNeighbours:
    """The labels of similar pictures, weighted by how similar they are: softly what k nearest neighbours vote. Every
    picture is held in memory, and shipped."""

    name: str = "neighbours"
    simplicity: int = 3
    gives_logits: bool = False
    sharpnesses: tuple[float, ...] = (10.0, 25.0, 60.0)

    def path(self, z: Table, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        """See `Learner`."""
        settings = [{"sharpness": sharpness} for sharpness in self.sharpnesses]
        outs = refitted(lambda x, t: [self.fit(x, t, s) for s in settings], len(settings), z, y, rounds)
        yield from zip(settings, outs, strict=True)

    def fit(self, z: Table, y: Floats, setting: Setting) -> Fitted:
        """See `Learner`."""
        return Neighbours(unit(held(z)[:, 0]), setting["sharpness"], y.astype(np.float32))
