"""The winner as a few of Keras' own layers, so that what is shipped is one plain graph like any other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit.selection.fitted import Affine, Fitted, Floats, Kernel, Neighbours, Rows
from transferkit.selection.projection import Projection

if TYPE_CHECKING:
    import keras

HALF = 0.5  # about what a similarity is


def body(projection: Projection, fitted: Fitted, scale: float = 1.0, shift: float = 0.0) -> keras.Model:
    """Model from the selected columns to logits, equal to `fitted(projection(x))` up to float32's rounding.

    Args:
        projection: what is done to the columns.
        fitted: the classifier.
        scale: logits are `(outputs - shift) * scale`.
        shift: see there.

    Returns:
        float32 [n, D], the columns of `projection` → float32 [n, C].
    """
    import keras

    inputs = keras.Input((projection.stop - projection.start,), name="features")
    if isinstance(fitted, Affine):
        logits = _affine(inputs, projection, fitted, scale, shift)
    else:
        z = _projected(inputs, projection)
        if isinstance(fitted, Kernel):
            fitted = _whole_blocks(fitted)
            weights, bias = fitted.weights.astype(np.float64), fitted.bias.astype(np.float64)
            logits = _sum(_kernel(z, fitted), weights * scale, (bias - shift) * scale)
        else:
            values = fitted.values.astype(np.float64)
            logits = _dense(_votes(z, fitted), values * scale, np.full(values.shape[1], -shift * scale), "logits")
    return keras.Model(inputs, logits, name="head")


def trainable(projection: Projection, fitted: Affine, scale: float = 1.0, shift: float = 0.0) -> keras.Model:
    """What `body` gives of a linear classifier, in a form that training goes on from: features are standardised first,
    so that one learning rate fits every network.

    Args:
        projection: what is done to the columns.
        fitted: a linear classifier.
        scale: logits are `(outputs - shift) * scale`.
        shift: see there.

    Returns:
        float32 [n, D] → float32 [n, C].
    """
    import keras

    inputs = keras.Input((projection.stop - projection.start,), name="features")
    scales, offsets = projection.scale.astype(np.float64), projection.offset.astype(np.float64)
    x = keras.layers.Rescaling(scales.tolist(), offsets.tolist(), dtype="float32", name="normalize")(inputs)
    weights = fitted.weights if projection.directions is None else projection.directions @ fitted.weights
    logits = _dense(x, weights * scale, (fitted.bias - np.float32(shift)) * np.float32(scale), "logits")
    return keras.Model(inputs, logits, name="head")


def _affine(x: Any, projection: Projection, fitted: Affine, scale: float, shift: float) -> Any:
    """Standardising, turning and weighing are one product."""
    weights = fitted.weights.astype(np.float64)
    if projection.directions is not None:
        weights = projection.directions.astype(np.float64) @ weights
    kernel = projection.scale[:, None].astype(np.float64) * weights
    bias = projection.offset.astype(np.float64) @ weights + fitted.bias
    return _dense(x, kernel * scale, (bias - shift) * scale, "logits")


def _projected(x: Any, projection: Projection) -> Any:
    scale, offset = projection.scale.astype(np.float64), projection.offset.astype(np.float64)
    if projection.directions is None:
        import keras

        layer = keras.layers.Rescaling(scale.tolist(), offset.tolist(), dtype="float32", name="normalize")
        return layer(x)
    turn = projection.directions.astype(np.float64)
    return _dense(x, scale[:, None] * turn, offset @ turn, "directions")


def _kernel(z: Any, fitted: Kernel) -> Any:
    """`exp(2γ z·s - γ|s|² - γ|z|²)`."""
    import keras

    gamma, supports = fitted.gamma, fitted.supports.astype(np.float64)
    products = _dense(z, 2 * gamma * supports.T, -gamma * (supports**2).sum(1), "supports")
    square = keras.layers.Dot(axes=1, dtype="float32", name="square")([z, z])
    square = keras.layers.Rescaling(-gamma, dtype="float32", name="minus_square")(square)
    exponent = keras.layers.Add(dtype="float32", name="minus_distance")([products, square])
    return keras.layers.Activation("exponential", dtype="float32", name="similarity")(exponent)


def _sum(similar: Any, weights: Floats, bias: Floats) -> Any:
    """`similar @ weights + bias`, in float32, of thousands of large terms that nearly cancel.

    Summed one after the other they lose four digits, which is some thousandths of a logit. Half is taken off each
    similarity, which lies between 0 and 1, and put into the bias; and a sum of sums rounds less than one long sum. Both
    together make it about ten times as exact.
    """
    import keras

    outputs, width = weights.shape[1], _block(len(weights))
    blocks = len(weights) // width
    bias = bias + HALF * weights.sum(0)
    x = keras.layers.Rescaling(1.0, -HALF, dtype="float32", name="centred")(similar)
    x = keras.layers.Reshape((blocks, width), dtype="float32", name="blocks")(x)
    layer = keras.layers.EinsumDense("abc,bcd->abd", (blocks, outputs), bias_axes="d", dtype="float32", name="sums")
    x = layer(x)
    kernel = (weights * blocks).reshape(blocks, width, outputs)
    layer.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return keras.layers.GlobalAveragePooling1D(dtype="float32", name="logits")(x)


def _whole_blocks(fitted: Kernel) -> Kernel:
    """With supports without weight up to a whole number of blocks."""
    missing = ((0, -len(fitted.supports) % _block(len(fitted.supports))), (0, 0))
    return replace(fitted, supports=np.pad(fitted.supports, missing), weights=np.pad(fitted.weights, missing))


def _block(count: int) -> int:
    """How many of `count` terms are summed together: as many as there are then sums."""
    return math.isqrt(count - 1) + 1


def _votes(z: Any, fitted: Neighbours) -> Any:
    import keras

    z = keras.layers.UnitNormalization(dtype="float32", name="direction")(z)
    keys = fitted.keys.astype(np.float64).T * fitted.sharpness
    return keras.layers.Softmax(dtype="float32", name="similarity")(_dense(z, keys, None, "keys"))


def _dense(x: Any, kernel: Floats | Rows, bias: Floats | Rows | None, name: str) -> Any:
    import keras

    layer = keras.layers.Dense(kernel.shape[1], use_bias=bias is not None, dtype="float32", name=name)
    result = layer(x)
    values = [np.asarray(kernel, np.float32)]
    layer.set_weights(values if bias is None else [*values, np.asarray(bias, np.float32)])
    return result
