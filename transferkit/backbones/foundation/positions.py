"""Where a token lies: position tables resampled to another picture size, and the angles of rotary positions. NumPy.

The resampling is that of `torch.nn.functional.interpolate`, written as a matrix per axis; which of its forms a network
was made with is a fact of the network. `tests/backbones/foundation/test_parity.py` holds it to PyTorch's numbers.
"""

from __future__ import annotations

import math

import numpy as np

from transferkit.backbones.foundation.architecture import Resampling


def resampled(table: np.ndarray, side: int, resampling: Resampling, offset: float = 0.0) -> np.ndarray:
    """A table of positions for another number of patches; itself where the sides are equal.

    Args:
        table: [n, n, width].
        side: patches a side.
        resampling: the publisher's way.
        offset: 0.1 is DINOv2's: its code passes (side + 0.1) / n as the factor, so that every sample lies a little off.

    Returns:
        float32 [side, side, width].
    """
    old = table.shape[0]
    if old == side:
        return table.astype(np.float32)
    if resampling == "bicubic":
        scale = old / (side + offset)
        matrix = _bicubic(old, [scale * (row + 0.5) - 0.5 for row in range(side)])
    elif resampling == "bicubic_corners":  # torchvision's: the first and last place stay where they are
        matrix = _bicubic(old, [row * (old - 1) / max(side - 1, 1) for row in range(side)])
    else:
        matrix = _antialiased(old, side, old / (side + offset), *_FILTERS[resampling])
    made: np.ndarray = np.einsum("ai,ijc,bj->abc", matrix, table.astype(np.float64), matrix, optimize=True)
    return made.astype(np.float32)


def rotary(side: int, head: int, base: float, prefix: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and signed sines of DINOv3's rotary positions.

    A query or key x turns to x * cosines + swap(x) * sines, where swap exchanges the halves of the last axis. Tokens of
    the prefix do not turn: cosine 1, sine 0.

    Args:
        side: patches a side.
        head: width of a head.
        base: of the periods.
        prefix: tokens before those of patches.

    Returns:
        Two float32 [prefix + side², head].
    """
    inverse = (1 / np.float32(base) ** np.arange(0, 1, 4 / head, dtype=np.float32)).astype(np.float32)
    centres = (2 * ((np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)) - 1).astype(np.float32)
    rows, columns = (axis.reshape(-1) for axis in np.meshgrid(centres, centres, indexing="ij"))
    places = np.stack([rows, columns], axis=1)
    angles = (np.float32(2 * math.pi) * places[:, :, None] * inverse).reshape(side * side, -1)
    still = np.zeros((prefix, angles.shape[1]), np.float32)
    angles = np.concatenate([still, angles.astype(np.float32)])
    cosines, sines = np.cos(angles), np.sin(angles)
    return np.concatenate([cosines, cosines], axis=1), np.concatenate([-sines, sines], axis=1)


def _bicubic(old: int, places: list[float]) -> np.ndarray:
    """Four samples around each place, those outside clamped to the edge; cubic of Keys with a = -0.75."""
    matrix = np.zeros((len(places), old))
    for row, place in enumerate(places):
        first = math.floor(place)
        for tap in range(-1, 3):
            matrix[row, min(max(first + tap, 0), old - 1)] += _cubic(place - first - tap, -0.75)
    return matrix


def _antialiased(old: int, new: int, scale: float, reach: float, cubic: bool) -> np.ndarray:
    """Every sample that the widened filter covers, as Pillow resamples; cubic with a = -0.5."""
    matrix, wide = np.zeros((new, old)), max(scale, 1.0)
    for row in range(new):
        centre = scale * (row + 0.5)
        first = max(int(centre - reach * wide + 0.5), 0)
        last = min(int(centre + reach * wide + 0.5), old)
        places = [(column - centre + 0.5) / wide for column in range(first, last)]
        weights = np.array([_cubic(x, -0.5) if cubic else max(0.0, 1 - abs(x)) for x in places])
        matrix[row, first:last] = weights / weights.sum()
    return matrix


_FILTERS = {"bicubic_antialias": (2.0, True), "bilinear_antialias": (1.0, False)}  # reach, whether cubic


def _cubic(x: float, a: float) -> float:
    x = abs(x)
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a if x < 2 else 0.0
