"""The labels of similar pictures: no training at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from transferkit.selection.fitted import Fitted, Floats, Neighbours, Rows, unit
from transferkit.selection.learner import Folds, Setting


@dataclass(frozen=True)
class NearestNeighbours:
    """The labels of similar pictures, weighted by how similar they are: softly what k nearest neighbours vote."""

    exclusive: bool = True
    name: str = "neighbours"
    simplicity: int = 3
    gives_logits: bool = False
    sharpnesses: tuple[float, ...] = (10.0, 25.0, 60.0)

    def path(self, z: Rows, y: Floats, folds: Folds) -> Iterator[tuple[Setting, Floats]]:
        """See `Learner`."""
        for sharpness in self.sharpnesses:
            out = np.empty_like(y)
            for fold in folds:
                rest = np.setdiff1d(np.arange(len(z)), fold)
                fitted = self.fit(z[rest], y[rest], {"sharpness": sharpness})
                out[fold] = fitted(z[fold, 0])
            yield {"sharpness": sharpness}, out

    def fit(self, z: Rows, y: Floats, setting: Setting) -> Fitted:
        """See `Learner`."""
        return Neighbours(unit(z[:, 0]), setting["sharpness"], y.astype(np.float32))
