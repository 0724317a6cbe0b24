"""Rows of activations in the smallest of three number formats that is near enough: float32, float16 or bfloat16."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HALF_ABOVE = 8192  # rows longer than this are kept in 16 bits a number, where that is near enough
BFLOAT16 = np.uint16  # NumPy has no such type: on disk it is the upper half of a float32, as the bits it consists of


def rounded(rows: np.ndarray) -> np.ndarray:
    """Rows [n, width] as the store gives them back, which depends on nothing but each row itself.

    Long rows keep 16 bits a number: activations carry about three significant digits of meaning, and maps at a cut are
    large. What was computed in bfloat16 stays as it is; all else is rounded to float16, or kept where numbers are too
    large or too small for that.
    Short rows (pooled vectors) are cheap, so they keep all digits.
    """
    rows = np.ascontiguousarray(rows, np.float32)
    if rows.shape[1] <= HALF_ABOVE:
        return rows
    # The first number that says so is soon found.
    exact = np.array([not (row[:64] & 0xFFFF).any() and not (row & 0xFFFF).any() for row in rows.view(np.uint32)])
    if exact.all():
        return rows
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16).astype(np.float32)
    with np.errstate(invalid="ignore"):
        near = np.abs(half - rows).max(1) <= 1e-3 * np.abs(rows).max(1)
    keep = exact | ~near  # infinity and NaN are near to nothing
    half[keep] = rows[keep]
    return half


def packed(rows: np.ndarray) -> np.ndarray:
    """`rounded` rows in the smallest of the three formats that holds all of them."""
    rows = rounded(rows)
    if rows.shape[1] <= HALF_ABOVE:
        return rows
    bits = rows.view(np.uint32)
    # The first row tells nearly always, and is soon looked at.
    if not (bits[:1] & 0xFFFF).any() and not (bits & 0xFFFF).any():
        return (bits >> 16).astype(BFLOAT16)
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16)
    return half if np.array_equal(half, rows) else rows


def as_numbers(rows: np.ndarray) -> np.ndarray:
    """What `packed` gave, as numbers."""
    return (rows.astype(np.uint32) << 16).view(np.float32) if rows.dtype == BFLOAT16 else rows


def width_of(shapes: Sequence[tuple[int, ...]]) -> int:
    """Numbers in a row of tensors of these shapes, without the batch axis."""
    return sum(int(np.prod(shape)) for shape in shapes)


def row_bytes(width: int) -> int:
    """Bytes of a row of `width` numbers."""
    return width * (2 if width > HALF_ABOVE else 4)
