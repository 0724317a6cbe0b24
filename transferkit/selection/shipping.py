"""The winner as a few of Keras' own layers, so that what is shipped is one plain graph like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit.selection.fitted import Affine, Fitted, Floats, Kernel, Neighbours, Rows
from transferkit.selection.projection import Projection

if TYPE_CHECKING:
    import keras


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
        last = fitted.weights if isinstance(fitted, Kernel) else fitted.values
        bias = fitted.bias if isinstance(fitted, Kernel) else np.zeros(last.shape[1], np.float32)
        similar = _kernel(z, fitted) if isinstance(fitted, Kernel) else _votes(z, fitted)
        logits = _dense(similar, last * np.float32(scale), (bias - np.float32(shift)) * np.float32(scale), "logits")
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
