"""ResNets, EfficientNets and MobileNets as functional Keras graphs."""

from __future__ import annotations

from typing import Any

from transferkit.backbones.foundation.convolutional import Attention, Block, ConvNet, Unit
from transferkit.backbones.foundation.family_parts import scale


def features(a: ConvNet, pixels: Any) -> Any:
    """The graph of a network of convolutions.

    Args:
        a: the network.
        pixels: scaled, a tensor [b, size, size, 3].

    Returns:
        The last map, a tensor [b, h, w, c].
    """
    import keras

    x = pixels
    for at, unit in enumerate(a.stem):
        x = _unit(a, unit, x, f"stem_{unit.name}" if at else "stem")
    if a.pooled:
        # Zeros around serve: behind a rectifier nothing is smaller.
        x = keras.layers.ZeroPadding2D(1, name="pool_pad")(x)
        x = keras.layers.MaxPooling2D(3, strides=2, name="pool")(x)
    for i, block in enumerate(a.blocks):
        x = _block(a, block, x, f"block{i}_")
    for unit in a.top:
        x = _unit(a, unit, x, f"top_{unit.name}")
    return x


def _block(a: ConvNet, block: Block, x: Any, name: str) -> Any:
    import keras

    y = x if block.attention is None else _attended(a, block.attention, x, name)
    for unit in block.units:
        y = _unit(a, unit, y, name + unit.name)
    if block.scaled:
        y = scale(name + "scale", y)
    if block.skips:
        shortcut = x if block.shortcut is None else _unit(a, block.shortcut, x, name + block.shortcut.name)
        y = keras.layers.Add(name=name + "add")([shortcut, y])
    return _activated(block.activation, y, name + "activation")


def _attended(a: ConvNet, attention: Attention, x: Any, name: str) -> Any:
    import keras

    height, width, _ = x.shape[1:]
    y = keras.layers.BatchNormalization(epsilon=a.epsilon, name=name + "norm")(x)
    query = keras.layers.Dense(attention.heads * attention.width, use_bias=False, name=name + "query")(y)
    parts = []
    for part in ("key", "value"):
        found = _halved(a, attention.kernel, y, name + part) if attention.kernel else y
        found = keras.layers.Dense(attention.width, use_bias=False, name=name + part)(found)
        places = found.shape[1] * found.shape[2]
        parts.append(keras.layers.Reshape((places, 1, attention.width), name=f"{name}{part}_places")(found))
    # All heads share key and value, so a head's query is as good as one more place.
    places = height * width * attention.heads
    query = keras.layers.Reshape((places, 1, attention.width), name=name + "queries")(query)
    y = keras.ops.dot_product_attention(query, *parts)
    y = keras.layers.Reshape((height, width, attention.heads * attention.width), name=name + "attention")(y)
    return keras.layers.Dense(attention.filters, use_bias=False, name=name + "projection")(y)


def _halved(a: ConvNet, kernel: int, x: Any, name: str) -> Any:
    import keras

    x = keras.layers.ZeroPadding2D(kernel // 2, name=name + "_pad")(x)
    x = keras.layers.DepthwiseConv2D(kernel, strides=2, use_bias=False, name=name + "_down")(x)
    return keras.layers.BatchNormalization(epsilon=a.epsilon, name=name + "_norm")(x)


def _unit(a: ConvNet, unit: Unit, x: Any, name: str) -> Any:
    import keras

    stride, padding = unit.stride, "same"
    if unit.averaged:
        if stride > 1:  # "same" leaves what is outside the map out of the mean, as the original does
            x = keras.layers.AveragePooling2D(2, strides=stride, padding="same", name=name + "_mean")(x)
        stride = 1
    if stride > 1 and unit.kernel > 1 and not a.same:
        x = keras.layers.ZeroPadding2D(unit.kernel // 2, name=name + "_pad")(x)
        padding = "valid"
    options = {"strides": stride, "padding": padding, "use_bias": False, "name": name + "_conv"}
    if unit.filters:
        x = keras.layers.Conv2D(unit.filters, unit.kernel, **options)(x)
    else:
        x = keras.layers.DepthwiseConv2D(unit.kernel, **options)(x)
    x = keras.layers.BatchNormalization(epsilon=a.epsilon, name=name + "_norm")(x)
    x = _activated(unit.activation, x, name + "_activation")
    return _excited(unit, x, name) if unit.squeeze else x


def _excited(unit: Unit, x: Any, name: str) -> Any:
    """x, each channel times a factor from the means of all channels."""
    import keras

    y = keras.layers.GlobalAveragePooling2D(keepdims=True, name=name + "_squeeze")(x)
    y = keras.layers.Dense(unit.squeeze, name=name + "_reduce")(y)
    y = _activated(unit.activation, y, name + "_reduced")
    y = keras.layers.Dense(x.shape[-1], activation="sigmoid", name=name + "_excite")(y)
    return keras.layers.Multiply(name=name + "_excited")([x, y])


def _activated(function: str, x: Any, name: str) -> Any:
    import keras

    if function == "relu6":
        return keras.layers.ReLU(max_value=6.0, name=name)(x)
    return keras.layers.Activation(function, name=name)(x) if function else x
