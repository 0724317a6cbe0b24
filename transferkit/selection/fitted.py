"""What fitted classifiers compute: three forms, each of which is a few of Keras' own layers when it is shipped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]

BLOCK = 8192  # rows at a time, where all of them would take too much memory,
VOTES = 1 << 23  # or as many as have so many neighbours in all


@dataclass(frozen=True)
class Affine:
    """`z @ weights + bias`: weights float32 [d, C], bias float32 [C]."""

    weights: Rows
    bias: Rows

    def __call__(self, z: Rows) -> Floats:
        """Outputs [n, C] of projected features float32 [n, d]."""
        return (z @ self.weights + self.bias).astype(np.float64)


@dataclass(frozen=True)
class Kernel:
    """`exp(-gamma |z - supports|²) @ weights + bias`: supports float32 [m, d], weights float32 [m, C], bias [C]."""

    supports: Rows
    gamma: float
    weights: Rows
    bias: Rows

    def __call__(self, z: Rows) -> Floats:
        """Outputs [n, C] of projected features float32 [n, d]."""
        weights = self.weights.astype(np.float64)  # large terms nearly cancel
        parts = [gaussian(z[i : i + BLOCK], self.supports, self.gamma) @ weights for i in range(0, len(z), BLOCK)]
        return np.concatenate(parts) + self.bias


@dataclass(frozen=True)
class Neighbours:
    """Votes of training pictures by their cosine: `softmax(sharpness · unit(z) @ keys.T) @ values`.

    keys float32 [m, d] of length 1, values float32 [m, C].
    """

    keys: Rows
    sharpness: float
    values: Rows

    def __call__(self, z: Rows) -> Floats:
        """Votes [n, C] of projected features float32 [n, d]."""
        step = max(1, min(BLOCK, VOTES // len(self.keys)))
        parts = [self._votes(z[i : i + step]) for i in range(0, len(z), step)]
        return np.concatenate(parts).astype(np.float64)

    def _votes(self, z: Rows) -> Rows:
        return softmax(self.sharpness * (unit(z) @ self.keys.T)) @ self.values


Fitted = Affine | Kernel | Neighbours


def gaussian(a: Rows, b: Rows, gamma: float) -> Rows:
    """`exp(-gamma |a - b|²)` [len(a), len(b)].

    Args:
        a: float32 [n, D].
        b: float32 [m, D].
        gamma: above 0.
    """
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None]
    squares -= 2 * (a @ b.T)
    np.maximum(squares, 0, out=squares)
    squares *= -np.float32(gamma)
    found: Rows = np.exp(squares, out=squares)
    return found


def unit(z: Rows) -> Rows:
    """Rows of length 1."""
    length = np.sqrt((z * z).sum(-1, keepdims=True))
    return np.asarray(z / np.maximum(length, 1e-12), np.float32)


def softmax(logits: Rows) -> Rows:
    """Over the last axis."""
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True), np.float32)
