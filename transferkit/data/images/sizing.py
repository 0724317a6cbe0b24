"""How an upright RGB picture becomes a square of the wanted size.

Self-contained (NumPy and OpenCV, nothing of this package), because its text goes into the example beside an exported
model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# ImageNet's mean colour: about zero after every backbone's preprocessing.
LETTERBOX = (124, 116, 104)


def fitted(pixels: Any, size: int, resize: str, into: Any = None) -> Any:
    """A picture as a square.

    Args:
        pixels: uint8 [H, W, 3].
        size: of a side, in pixels.
        resize: "stretch", "crop" (the middle) or "letterbox" (all of it, with a margin).
        into: where to lay it, uint8 [size, size, 3], contiguous; None is a new array.

    Returns:
        `into`, uint8 [size, size, 3].
    """
    height, width = pixels.shape[:2]
    if resize == "letterbox":
        return letterboxed(pixels, size, into)
    if resize == "crop":
        left, top, right, bottom = central_square(width, height)
        pixels = pixels[top:bottom, left:right]
    return scaled(pixels, size, size, into)


def central_square(width: int, height: int) -> tuple[int, int, int, int]:
    """Where the largest centred square of a picture lies.

    Args:
        width, height: of the picture, in pixels.

    Returns:
        Left, top, right and bottom, in whole pixels.
    """
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def scaled(pixels: Any, width: int, height: int, into: Any = None) -> Any:
    """A picture at another size, without aliasing.

    Args:
        pixels: uint8 [H, W, 3].
        width, height: wanted, in pixels.
        into: where to lay it, uint8 [height, width, 3], contiguous; None is a new array.

    Returns:
        `into`, uint8 [height, width, 3].
    """
    import cv2

    # Whole pixels are averaged down to less than twice the size; what is left, bilinear does without aliasing.
    across, down = pixels.shape[1] // width, pixels.shape[0] // height
    if across > 1 or down > 1:
        smaller = (pixels.shape[1] // max(1, across), pixels.shape[0] // max(1, down))
        pixels = np.asarray(cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    into = np.empty((height, width, 3), np.uint8) if into is None else into
    if pixels.shape[:2] == (height, width):
        into[...] = pixels
        return into
    return np.asarray(cv2.resize(pixels, (width, height), dst=into, interpolation=cv2.INTER_LINEAR), np.uint8)


def letterboxed(pixels: Any, size: int, into: Any = None) -> Any:
    """The whole picture, its long side scaled, in the middle of a square of the fill colour.

    Args:
        pixels: uint8 [H, W, 3].
        size: of a side, in pixels.
        into: where to lay it, uint8 [size, size, 3]; None is a new array.

    Returns:
        `into`, uint8 [size, size, 3].
    """
    canvas = np.empty((size, size, 3), np.uint8) if into is None else into
    canvas[...] = LETTERBOX
    scale = size / max(pixels.shape[:2])
    across, down = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    left, top = (size - across) // 2, (size - down) // 2
    canvas[top : top + down, left : left + across] = scaled(pixels, across, down)
    return canvas
