"""The labels of similar pictures: no training at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from transferkit.features.row_blocks import Table, blocks
from transferkit.selection.fitted import Fitted, Floats, Neighbours, unit
from transferkit.selection.learner import Folds, Path, Setting, refitted

VOTERS = 10_000  # of more pictures as many drawn at random: all compared with all would take hours of a million


@dataclass(frozen=True)
class NearestNeighbours:
    """The labels of similar pictures, weighted by how similar they are: softly what k nearest neighbours vote. Those
    who vote are held in memory, and shipped."""

    name: str = "neighbours"
    simplicity: int = 3
    gives_logits: bool = False
    sharpnesses: tuple[float, ...] = (10.0, 25.0, 60.0)

    def path(self, z: Table, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        """See `Learner`."""
        settings = [{"sharpness": sharpness} for sharpness in self.sharpnesses]
        outs = refitted(lambda x, t: self._fitted(x, t, settings), len(settings), z, y, rounds)
        yield from zip(settings, outs, strict=True)

    def fit(self, z: Table, y: Floats, setting: Setting) -> Fitted:
        """See `Learner`."""
        return self._fitted(z, y, [setting])[0]

    def quick(self) -> Self:
        """See `Learner`."""
        return self

    def narrowed(self, best: Setting) -> Self:
        """See `Learner`. Among more who vote there are nearer ones."""
        sharper = [sharpness for sharpness in self.sharpnesses if sharpness > best["sharpness"]][:1]
        return replace(self, sharpnesses=(best["sharpness"], *sharper))

    @staticmethod
    def _fitted(z: Table, y: Floats, settings: Sequence[Setting]) -> list[Neighbours]:
        """One for each setting, of the same pictures."""
        voters = np.sort(np.random.default_rng(0).permutation(len(z))[:VOTERS])
        clean = np.concatenate([rows[:, 0].copy() for _, rows in blocks(z, voters)])
        keys, values = unit(clean), y[voters].astype(np.float32)
        return [Neighbours(keys, setting["sharpness"], values) for setting in settings]
