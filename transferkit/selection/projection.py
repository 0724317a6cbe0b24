"""From tapped features to what a candidate learns from: some columns, standardised, and turned into few directions.

Label-free, so that it may be computed once from all pictures that are learnt from, folds or not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from transferkit.features.row_blocks import Table, blocks, mean_and_variance

Floats = npt.NDArray[np.float32]

DIRECTIONS = 384  # principal directions that are kept of wider features
FIT_ROWS = 1200  # pictures from which directions are found


@dataclass(frozen=True)
class Projection:
    """`z = (x[:, start:stop] * scale + offset) @ directions`; `directions` float32 [D, d] or None for none.

    `scale` and `offset` are float32 [D].
    """

    start: int
    stop: int
    scale: Floats
    offset: Floats
    directions: Floats | None

    @property
    def width(self) -> int:
        """Numbers in a projected row."""
        return len(self.scale) if self.directions is None else int(self.directions.shape[1])

    def __call__(self, x: Floats) -> Floats:
        """Features float32 [..., all columns] → [..., width]."""
        z = x[..., self.start : self.stop] * self.scale + self.offset
        if self.directions is not None:  # in one product: of a stack of matrices NumPy multiplies one after the other
            z = (z.reshape(-1, z.shape[-1]) @ self.directions).reshape(*z.shape[:-1], self.width)
        return np.asarray(z, np.float32)


def fit(x: Table, start: int, stop: int, most: int = DIRECTIONS) -> Projection:
    """The projection of some columns of features.

    Columns are standardised (one that hardly moves is not blown up in use); where they are more than `most`, they are
    turned into the principal directions of the pictures, of which the first `most` are kept: distances between
    pictures, which kernels and ridge penalties go by, hardly change, and what is shipped is small.

    Args:
        x: clean features float32 [n, all columns], or [n, V, all columns] with the clean view first.
        start: the first column.
        stop: the one after the last.
        most: directions that are kept.
    """
    if isinstance(x, np.ndarray) and x.ndim == 2:
        x = x[:, None]
    mean, variance = mean_and_variance(x, start, stop)
    deviation = np.sqrt(variance)
    floor = 0.05 * float(np.median(deviation)) + 1e-6
    scale = 1.0 / np.maximum(deviation, floor)
    offset = -mean * scale
    found = Projection(start, stop, scale.astype(np.float32), offset.astype(np.float32), None)
    if stop - start <= most:
        return found
    some = np.arange(0, len(x), max(1, -(-len(x) // FIT_ROWS)))
    sample = np.concatenate([found(rows[:, 0]) for _, rows in blocks(x, some)])
    return replace(found, directions=_principal(sample, most))


def _principal(z: Floats, most: int) -> Floats:
    """Unit directions float32 [D, d] in the order of the variance they explain."""
    from scipy.linalg import eigh

    some = z - z.mean(0)
    n, d = some.shape
    keep = min(most, n - 1, d)
    # The smaller of the two Gram matrices has the same nonzero spectrum.
    gram = some @ some.T if n < d else some.T @ some
    size = len(gram)
    values, vectors = eigh(gram.astype(np.float64), subset_by_index=[size - keep, size - 1])
    order = np.argsort(values)[::-1]
    order = order[values[order] > 1e-9 * max(values.max(), 1e-30)]
    vectors = vectors[:, order]
    if n < d:
        vectors = some.T.astype(np.float64) @ vectors / np.sqrt(values[order])
    return np.ascontiguousarray(vectors, np.float32)
