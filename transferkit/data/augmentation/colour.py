"""Brightness, contrast, saturation and hue as one linear map of RGB, applied by one call."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from transferkit.data.samples import Pixels

Matrix = tuple[tuple[float, ...], ...]  # 3 × 4
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
# RGB → YIQ and back (FCC 1953, rounded): hue turns the plane of I and Q.
_YIQ = (_LUMA, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))
_RGB = ((1.0, 0.9563, 0.6210), (1.0, -0.2721, -0.6474), (1.0, -1.1070, 1.7046))


def colour_matrix(brightness: float, contrast: float, saturation: float, hue: float, mean: Sequence[int]) -> Matrix:
    """The linear map of RGB (0–255) that turns hue, then scales saturation, contrast and brightness.

    Args:
        brightness: factor of all values; 1 changes nothing, nor for the next two.
        contrast: factor of the distance from the picture's mean luminance, so that it does not change brightness.
        saturation: factor of the distance from grey.
        hue: in turns; 0 changes nothing.
        mean: of the picture's R, G and B, 0–255.

    Returns:
        Three rows of three factors and an addend.
    """
    rows = _product(_saturated(saturation), _turned(hue)) if hue else _saturated(saturation)
    pivot = sum(weight * value for weight, value in zip(_LUMA, mean, strict=True))
    scale = contrast * brightness
    offset = brightness * (1 - contrast) * pivot
    return tuple((*(scale * value for value in row), offset) for row in rows)


def recolour(pixels: Pixels, matrix: Matrix) -> Pixels:
    """Apply a linear map of RGB.

    Args:
        pixels: uint8 [H, W, 3].
        matrix: of `colour_matrix`.

    Returns:
        uint8 [H, W, 3], rounded and clipped to 0–255; the same array where nothing changes.
    """
    import cv2

    rows = np.array(matrix, np.float32)
    if np.abs(rows - np.eye(3, 4)).max() < 1e-6:
        return pixels
    return np.asarray(cv2.transform(pixels, rows), np.uint8)


def _saturated(factor: float) -> tuple[tuple[float, ...], ...]:
    return tuple(
        tuple((1 - factor) * weight + (factor if r == c else 0.0) for c, weight in enumerate(_LUMA)) for r in range(3)
    )


def _turned(turns: float) -> tuple[tuple[float, ...], ...]:
    cos, sin = math.cos(2 * math.pi * turns), math.sin(2 * math.pi * turns)
    return _product(_RGB, _product(((1.0, 0.0, 0.0), (0.0, cos, -sin), (0.0, sin, cos)), _YIQ))


def _product(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(sum(row[k] * right[k][c] for k in range(3)) for c in range(3)) for row in left)
