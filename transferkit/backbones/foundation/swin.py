"""Swin and Swin V2 as functional Keras graphs: attention in windows of the map, shifted in every second block.

The position bias of a window is a table that Keras' own Embedding layer looks up: a weight, as in the original. V2
computes it by a small network; here that has been done (`swin_rules`), and the table is what trains.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transferkit.backbones.foundation.architecture import Swin
from transferkit.backbones.foundation.family_parts import scale

SHORTEST = 1e-7  # of a vector's squared length, so that one of zeros (padding) has a direction; float16 can hold it


def features(a: Swin, pixels: Any) -> Any:
    """The last map, normed.

    Args:
        a: shape of the network.
        pixels: scaled, [n, size, size, 3].

    Returns:
        [n, side, side, width].
    """
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
    window = min(a.window, side) if a.second else a.window
    padded = -(-side // window) * window
    shift = window // 2 if shifted and side > window else 0
    norm1, norm2 = (keras.layers.LayerNormalization(epsilon=a.epsilon, name=f"{block}norm{n}") for n in (1, 2))
    y = _laid_out(a, x if a.second else norm1(x), padded, shift, block)
    y = _attention(a, _windows(y, window, block), block, heads, (padded, window, shift))
    y = _put_back(a, _map(y, padded, window, block), side, shift, block)
    x = keras.layers.Add(name=block + "add1")([x, norm1(y) if a.second else y])
    y = x if a.second else norm2(x)
    y = keras.layers.Dense(a.ratio * width, activation="gelu", name=block + "expand")(y)
    y = keras.layers.Dense(width, name=block + "contract")(y)
    return keras.layers.Add(name=block + "add2")([x, norm2(y) if a.second else y])


def _laid_out(a: Swin, x: Any, padded: int, shift: int, block: str) -> Any:
    """A map whose side windows divide, and shifted."""
    import keras

    missing = ((0, padded - x.shape[1]),) * 2  # zeros below and at the right, which take part as in the original
    if not a.pads_first:
        x = _rolled(x, shift, block + "shift")
    if any(missing[0]):
        x = keras.layers.ZeroPadding2D(missing, name=block + "pad")(x)
    return _rolled(x, shift, block + "shift") if a.pads_first else x


def _put_back(a: Swin, x: Any, side: int, shift: int, block: str) -> Any:
    """The other way round."""
    import keras

    surplus = ((0, x.shape[1] - side),) * 2
    if a.pads_first:
        x = _rolled(x, -shift, block + "unshift")
    if any(surplus[0]):
        x = keras.layers.Cropping2D(surplus, name=block + "crop")(x)
    return x if a.pads_first else _rolled(x, -shift, block + "unshift")


def _attention(a: Swin, x: Any, block: str, heads: int, map_: tuple[int, int, int]) -> Any:
    """Attention in each window of x (batch, windows, places, width); `map_`: its side, the window's, the shift."""
    import keras

    _, windows, places, width = x.shape
    parts = []
    for name in ("query", "key", "value"):
        part = keras.layers.Dense(width, use_bias=not (a.second and name == "key"), name=block + name)(x)
        shape = (windows, places, heads, width // heads)
        parts.append(keras.layers.Reshape(shape, name=f"{block}{name}_heads")(part))
    query, key, value = parts
    if a.second:
        query, key = _sharpened(_direction(query), block), _direction(key)
    scores = keras.ops.einsum("bnthd,bnshd->bnhts", query, key)
    if not a.second:
        scores = keras.ops.multiply(scores, (width // heads) ** -0.5)
    scores = keras.layers.Add(name=block + "biased")([scores, _bias(map_[1], scores, block, heads)])
    if map_[2]:
        scores = keras.layers.Add(name=block + "masked")([scores, keras.ops.multiply(_mask(x, *map_), a.penalty)])
    weights = keras.layers.Softmax(name=block + "softmax")(scores)
    y = keras.ops.einsum("bnhts,bnshd->bnthd", weights, value)
    y = keras.layers.Reshape((windows, places, width), name=block + "attention")(y)
    return keras.layers.Dense(width, name=block + "projection")(y)


def _direction(x: Any) -> Any:
    """Vectors along the last axis, of length 1."""
    import keras

    square = keras.ops.sum(keras.ops.square(x), axis=-1, keepdims=True)
    return keras.ops.multiply(x, keras.ops.rsqrt(keras.ops.maximum(square, SHORTEST)))


def _sharpened(query: Any, block: str) -> Any:
    """Queries (batch, windows, places, heads, head) times their head's factor, which a channel's weight holds."""
    import keras

    _, windows, places, heads, head = query.shape
    x = keras.layers.Reshape((windows * places, heads * head), name=block + "sharpness_rows")(query)
    x = scale(block + "sharpness", x)
    return keras.layers.Reshape((windows, places, heads, head), name=block + "sharpness_heads")(x)


def _bias(window: int, scores: Any, block: str, heads: int) -> Any:
    """The bias (batch, 1, heads, places, places) of how far two places of a window are apart."""
    import keras

    places = window**2
    rows, columns = np.divmod(np.arange(places), window)
    apart = [axis[:, None] - axis[None, :] + window - 1 for axis in (rows, columns)]
    index = (apart[0] * (2 * window - 1) + apart[1]).astype(np.int32)
    # A constant has to hang on something that has the batch's length.
    nothing = keras.ops.zeros_like(scores[:, 0, 0], dtype="int32")
    found = keras.layers.Embedding((2 * window - 1) ** 2, heads, name=block + "positions")(
        keras.ops.add(nothing, index)
    )
    found = keras.layers.Permute((3, 1, 2), name=block + "positions_first")(found)
    return keras.layers.Reshape((1, heads, places, places), name=block + "bias")(found)


def _mask(x: Any, side: int, window: int, shift: int) -> Any:
    """-1 (batch, windows, 1, places, places) where two places come from opposite edges of the map."""
    import keras

    axis = np.arange(side)
    region = (axis >= side - window).astype(np.float32) + (axis >= side - shift)
    regions = region[:, None] * 3 + region[None, :]
    n = side // window
    regions = regions.reshape(n, window, n, window).transpose(0, 2, 1, 3).reshape(n * n, window**2)
    of_place = keras.ops.add(keras.ops.zeros_like(x[:, :, :, 0]), regions.astype(np.float32))
    other = keras.ops.not_equal(keras.ops.expand_dims(of_place, 3), keras.ops.expand_dims(of_place, 2))
    return keras.ops.expand_dims(keras.ops.negative(keras.ops.cast(other, "float32")), 2)


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
    shift %= side
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
    norm = keras.layers.LayerNormalization(epsilon=a.epsilon, name=block + "merge_norm")
    dense = keras.layers.Dense(2 * width, use_bias=False, name=block + "merge")
    return norm(dense(x)) if a.second else dense(norm(x))
