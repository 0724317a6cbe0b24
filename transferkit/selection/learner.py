"""What every classifier that is fitted in one step can do: be cross-validated over its settings, and be fitted.

All work on rows float32 [n, V, d]: V views of each picture (view 0 is the clean one), and targets float64 [n, C]:
one-hot, 0/1, or standardised numbers. Outputs are what a softmax, a sigmoid or the units of regression are put on.
Rows are in memory or on disk (`row_blocks`), and read a block at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from transferkit.features.row_blocks import Places, Rows, Table, at, blocks, mean_and_variance
from transferkit.features.working_arrays import room
from transferkit.file_windows import release
from transferkit.selection.fitted import Fitted, Floats

Folds = Sequence[npt.NDArray[np.int64]]
Setting = dict[str, float]
Path = tuple[Setting, list[npt.NDArray[np.float64]]]


class Learner(Protocol):
    """One kind of classifier.

    `simplicity`: of two that are as good, the one with the smaller number is preferred. `gives_logits`: its outputs are
    logits; else they are shares of about 0 to 1.
    """

    @property
    def name(self) -> str:
        """One word."""

    @property
    def simplicity(self) -> int:
        """0 for what is smallest and plainest."""

    @property
    def gives_logits(self) -> bool:
        """Whether outputs are logits already."""

    def path(self, z: Table, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        """Each setting with its out-of-fold outputs [n, C] in each round: every picture is answered for by others.

        Args:
            z: projected rows [n, V, d].
            y: targets [n, C].
            rounds: of folds, which are positions that are held out together; in a round each position is in one fold.
        """

    def fit(self, z: Table, y: Floats, setting: Setting) -> Fitted:
        """The classifier learnt from all rows."""

    def quick(self) -> Self:
        """The same as it is compared with others before it is tried on all rows: nearly as good, in less time."""

    def narrowed(self, best: Setting) -> Self:
        """The same with fewer settings, for more pictures than those of which `best` was the best one: without what
        takes time of its own and is unlikely to win. More pictures allow what is less smooth."""


def spread(z: Table) -> float:
    """Mean squared distance of two different pictures (clean views)."""
    return float(2 * mean_and_variance(z)[1].sum()) or 1.0


def refitted(
    fits: Callable[[Table, Floats], Iterable[Fitted]], count: int, z: Table, y: Floats, rounds: Sequence[Folds]
) -> list[list[Floats]]:
    """Out-of-fold outputs by fitting again without each fold.

    Args:
        fits: features and targets → one fitted classifier a setting, in order.
        count: how many settings.
        z: features float32 [n, V, D], the clean view first; others are fitted on, and never answered.
        y: targets [n, C].
        rounds: the folds of each round, as rows that are left out together.

    Returns:
        For each setting, outputs [n, C] in each round.
    """
    outs = [[room(y) for _ in rounds] for _ in range(count)]
    for number, folds in enumerate(rounds):
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(z)), fold)
            answer(list(fits(at(z, rest), y[rest])), z, fold, [out[number] for out in outs])
    return outs


def answer(fitted: Sequence[Callable[[Rows], Floats]], z: Table, fold: Places, outs: Sequence[Floats]) -> None:
    """What classifiers say of the clean pictures of a fold, which is read once.

    Args:
        fitted: clean rows float32 [k, d] → outputs [k, C].
        z: all rows.
        fold: places.
        outs: for each classifier, where its outputs for all rows go.
    """
    for places, rows in blocks(z, fold):
        for out, one in zip(outs, fitted, strict=True):
            out[places] = one(rows[:, 0])
            release(out)
