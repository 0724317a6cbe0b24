"""Swin as a functional Keras graph: attention inside windows of the map, every second block with the windows shifted.

The position bias of a window is a table that Keras' own Embedding layer looks up: a weight, as in the original.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transferkit.backbones.foundation.architecture import Swin

FORBIDDEN = -100.0  # added to the score of two places that only the shift brought into one window


def features(a: Swin, pixels: Any) -> Any:
    """Scaled pixels (batch, size, size, 3) to the last map, normed: (batch, side, side, width)."""
    import keras

    x = keras.layers.Conv2D(a.width, a.patch, strides=a.patch, name="stem_conv")(pixels)
    x = keras.layers.LayerNormalization(epsilon=a.epsilon, name="stem_norm")(x)
    for i, (stage, at) in enumerate(a.places):
        if stage and not at:
            x = _merged(a, x, f"block{i}_")
        x = _block(a, x, f"block{i}_", a.heads[stage], shifted=at % 2 == 1)
    return keras.layers.LayerNormalization(epsilon=a.epsilon, name="norm")(x)


def _block(a: Swin, x: Any, block: str, heads: int, *, shifted: bool) -> Any:
    import keras

    _, side, _, width = x.shape
    window, padded = a.window, -(-side // a.window) * a.window
    shift = window // 2 if shifted and side > window else 0
    y = keras.layers.LayerNormalization(epsilon=a.epsilon, name=block + "norm1")(x)
    if padded > side:  # zeros below and at the right, which take part as they do in the original
        y = keras.layers.ZeroPadding2D(((0, padded - side), (0, padded - side)), name=block + "pad")(y)
    y = _rolled(y, shift, block + "shift")
    y = _attention(a, _windows(y, window, block), block, heads, (padded, shift))
    y = _rolled(_map(y, padded, window, block), padded - shift if shift else 0, block + "unshift")
    if padded > side:
        y = keras.layers.Cropping2D(((0, padded - side), (0, padded - side)), name=block + "crop")(y)
    x = keras.layers.Add(name=block + "add1")([x, y])
    y = keras.layers.LayerNormalization(epsilon=a.epsilon, name=block + "norm2")(x)
    y = keras.layers.Dense(a.ratio * width, activation="gelu", name=block + "expand")(y)
    y = keras.layers.Dense(width, name=block + "contract")(y)
    return keras.layers.Add(name=block + "add2")([x, y])


def _attention(a: Swin, x: Any, block: str, heads: int, shift: tuple[int, int]) -> Any:
    """Attention in each window of x (batch, windows, places, width)."""
    import keras

    _, windows, places, width = x.shape
    parts = []
    for name in ("query", "key", "value"):
        part = keras.layers.Dense(width, name=block + name)(x)
        shape = (windows, places, heads, width // heads)
        parts.append(keras.layers.Reshape(shape, name=f"{block}{name}_heads")(part))
    query, key, value = parts
    scores = keras.ops.einsum("bnthd,bnshd->bnhts", query, key)
    scores = keras.ops.multiply(scores, (width // heads) ** -0.5)
    scores = keras.layers.Add(name=block + "biased")([scores, _bias(a, scores, block, heads)])
    if shift[1]:
        scores = keras.layers.Add(name=block + "masked")([scores, _mask(a, x, *shift)])
    weights = keras.layers.Softmax(name=block + "softmax")(scores)
    y = keras.ops.einsum("bnhts,bnshd->bnthd", weights, value)
    y = keras.layers.Reshape((windows, places, width), name=block + "attention")(y)
    return keras.layers.Dense(width, name=block + "projection")(y)


def _bias(a: Swin, scores: Any, block: str, heads: int) -> Any:
    """The bias (batch, 1, heads, places, places) of how far two places of a window are apart."""
    import keras

    places = a.window**2
    rows, columns = np.divmod(np.arange(places), a.window)
    apart = [axis[:, None] - axis[None, :] + a.window - 1 for axis in (rows, columns)]
    index = (apart[0] * (2 * a.window - 1) + apart[1]).astype(np.int32)
    # A constant has to hang on something that has the batch's length.
    nothing = keras.ops.zeros_like(scores[:, 0, 0], dtype="int32")
    found = keras.layers.Embedding((2 * a.window - 1) ** 2, heads, name=block + "positions")(
        keras.ops.add(nothing, index)
    )
    found = keras.layers.Permute((3, 1, 2), name=block + "positions_first")(found)
    return keras.layers.Reshape((1, heads, places, places), name=block + "bias")(found)


def _mask(a: Swin, x: Any, side: int, shift: int) -> Any:
    """FORBIDDEN (batch, windows, 1, places, places) where two places come from opposite edges of the map."""
    import keras

    axis = np.arange(side)
    region = (axis >= side - a.window).astype(np.float32) + (axis >= side - shift)
    regions = region[:, None] * 3 + region[None, :]
    n = side // a.window
    regions = regions.reshape(n, a.window, n, a.window).transpose(0, 2, 1, 3).reshape(n * n, a.window**2)
    of_place = keras.ops.add(keras.ops.zeros_like(x[:, :, :, 0]), regions.astype(np.float32))
    other = keras.ops.not_equal(keras.ops.expand_dims(of_place, 3), keras.ops.expand_dims(of_place, 2))
    return keras.ops.expand_dims(keras.ops.multiply(keras.ops.cast(other, "float32"), FORBIDDEN), 2)


def _windows(x: Any, window: int, block: str) -> Any:
    """A map (batch, side, side, width) as (batch, windows, places, width)."""
    import keras

    _, side, _, width = x.shape
    n = side // window
    x = keras.layers.Reshape((n, window, n, window * width), name=block + "rows")(x)
    x = keras.layers.Permute((1, 3, 2, 4), name=block + "grid")(x)
    return keras.layers.Reshape((n * n, window * window, width), name=block + "windows")(x)


def _map(x: Any, side: int, window: int, block: str) -> Any:
    """The other way round."""
    import keras

    n, width = side // window, x.shape[-1]
    x = keras.layers.Reshape((n, n, window, window * width), name=block + "grid_back")(x)
    x = keras.layers.Permute((1, 3, 2, 4), name=block + "rows_back")(x)
    return keras.layers.Reshape((side, side, width), name=block + "map")(x)


def _rolled(x: Any, shift: int, name: str) -> Any:
    """A map rolled up and to the left by `shift`, by cutting and joining: LiteRT has no roll."""
    import keras

    side = x.shape[1]
    for axis, letter in ((1, "rows"), (2, "columns")) if shift else ():
        cuts = []
        for part, (before, after) in (("end", (shift, 0)), ("begin", (0, side - shift))):
            crop = ((before, after), (0, 0)) if axis == 1 else ((0, 0), (before, after))
            cuts.append(keras.layers.Cropping2D(crop, name=f"{name}_{letter}_{part}")(x))
        x = keras.layers.Concatenate(axis=axis, name=f"{name}_{letter}")(cuts)
    return x


def _merged(a: Swin, x: Any, block: str) -> Any:
    """Two by two neighbours become one place of twice the width."""
    import keras

    _, side, _, width = x.shape
    x = keras.layers.Reshape((side // 2, 2, side // 2, 2, width), name=block + "merge_pairs")(x)
    x = keras.layers.Permute((1, 3, 4, 2, 5), name=block + "merge_grid")(x)
    x = keras.layers.Reshape((side // 2, side // 2, 4 * width), name=block + "merge_rows")(x)
    x = keras.layers.LayerNormalization(epsilon=a.epsilon, name=block + "merge_norm")(x)
    return keras.layers.Dense(2 * width, use_bias=False, name=block + "merge")(x)
