"""Architectures as functional Keras models of Keras' own layers and operations: nothing of ours is needed to load one.

Every block's first layer begins a stage, so cuts, freezing and taps reach each block. No layer fires under training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit.backbones.foundation import convnets, swin
from transferkit.backbones.foundation.architecture import Architecture, ConvNeXt, Swin, Transformer
from transferkit.backbones.foundation.family_parts import scale
from transferkit.backbones.foundation.positions import rotary

if TYPE_CHECKING:
    import keras


def build(architecture: Architecture, size: int, name: str) -> keras.Model:
    """The network with random weights.

    Args:
        architecture: its shape.
        size: pixels a side, a multiple of `architecture.step`.
        name: of the model.

    Returns:
        float32 [n, size, size, 3], scaled, → features: a transformer's tokens [n, t, width], the class token, if it has
        one, then the patches row by row, or with its pooler a vector [n, width]; the last map [n, h, w, width] of
        others.
    """
    import keras

    pixels = keras.Input((size, size, 3), name="pixels")
    if isinstance(architecture, Transformer):
        outputs = _transformer(architecture, pixels)
    elif isinstance(architecture, ConvNeXt):
        outputs = _convnext(architecture, pixels)
    elif isinstance(architecture, Swin):
        outputs = swin.features(architecture, pixels)
    else:
        outputs = convnets.features(architecture, pixels)
    return keras.Model(pixels, outputs, name=name)


def _transformer(a: Transformer, pixels: Any) -> Any:
    import keras

    side = pixels.shape[1] // a.patch
    tokens, head = a.prefix + side**2, a.width // a.heads
    x = keras.layers.Reshape((side, a.patch, side, a.patch * 3), name="patch_rows")(pixels)
    x = keras.layers.Permute((1, 3, 2, 4), name="patch_grid")(x)
    x = keras.layers.Reshape((side**2, 3 * a.patch**2), name="patches")(x)
    if a.prefix:
        x = keras.layers.ZeroPadding1D((a.prefix, 0), name="prefix")(x)
    # The convolution over patches as a product. A bias for every token holds the positions, and, where the padding
    # gives zeros, the class token and registers: so all of them are weights of one of Keras' own layers.
    x = keras.layers.EinsumDense("btp,pc->btc", (tokens, a.width), bias_axes="tc", name="embedding")(x)
    if a.norm_first:
        x = _norm(a, "embedding_norm")(x)
    turn = _turning(a, side, tokens, head)
    for i in range(a.depth):
        x = _attention(a, x, f"block{i}_", tokens, head, turn)
        x = _feed_forward(a, x, f"block{i}_")
    x = _norm(a, "norm")(x)
    if a.pooler:
        return _pooled(a, x, tokens, head)
    kept = int(a.has_class)
    if a.prefix == kept:
        return x
    patches = keras.layers.Cropping1D((a.prefix, 0), name="patch_tokens")(x)
    if not kept:
        return patches
    first = keras.layers.Cropping1D((0, tokens - 1), name="class_token")(x)
    return keras.layers.Concatenate(axis=1, name="tokens")([first, patches])


def _attention(a: Transformer, x: Any, block: str, tokens: int, head: int, turn: Any) -> Any:
    """x + attention of its norm."""
    import keras

    y = _norm(a, block + "norm1")(x)
    parts = []
    for name, bias in zip(("query", "key", "value"), a.biases, strict=True):
        part = keras.layers.Dense(a.width, use_bias=bias, name=block + name)(y)
        part = keras.layers.Reshape((tokens, a.heads, head), name=f"{block}{name}_heads")(part)
        parts.append(part if turn is None or name == "value" else turn(part, f"{block}{name}_"))
    y = keras.ops.dot_product_attention(*parts)
    y = keras.layers.Reshape((tokens, a.width), name=block + "attention")(y)
    y = keras.layers.Dense(a.width, name=block + "projection")(y)
    if a.layer_scale:
        y = scale(block + "scale1", y)
    return keras.layers.Add(name=block + "add1")([x, y])


def _feed_forward(a: Transformer, x: Any, block: str) -> Any:
    """x + two dense layers on its norm."""
    import keras

    y = _norm(a, block + "norm2")(x)
    if a.gated:
        gate = _activated(keras.layers.Dense(a.hidden, name=block + "gate")(y), a, block)
        y = keras.layers.Multiply(name=block + "gated")([gate, keras.layers.Dense(a.hidden, name=block + "expand")(y)])
    else:
        y = _activated(keras.layers.Dense(a.hidden, name=block + "expand")(y), a, block)
    y = keras.layers.Dense(a.width, name=block + "contract")(y)
    if a.layer_scale:
        y = scale(block + "scale2", y)
    return keras.layers.Add(name=block + "add2")([x, y])


def _pooled(a: Transformer, x: Any, tokens: int, head: int) -> Any:
    """The tokens' vector by attention of one query, which is a weight, and two dense layers on it.

    A constant query needs no keys: with it they are a kernel of one score a head (`conversion`), and their bias adds
    the same to all scores of a head, which the softmax takes out again.
    """
    import keras

    scores = keras.layers.Dense(a.heads, use_bias=False, name="pooler_scores")(x)
    weights = keras.layers.Softmax(axis=1, name="pooler_weights")(scores)
    weights = keras.layers.Reshape((tokens, a.heads, 1), name="pooler_weights_heads")(weights)
    values = keras.layers.Dense(a.width, name="pooler_value")(x)
    values = keras.layers.Reshape((tokens, a.heads, head), name="pooler_value_heads")(values)
    y = keras.ops.sum(keras.layers.Multiply(name="pooler_weighed")([weights, values]), axis=1)
    y = keras.layers.Reshape((a.width,), name="pooler_attention")(y)
    return _feed_forward(a, keras.layers.Dense(a.width, name="pooler_projection")(y), "pooler_")


def _activated(x: Any, a: Transformer, block: str) -> Any:
    import keras

    if a.activation == "gelu_tanh":
        return keras.ops.gelu(x, approximate=True)
    if a.activation == "quick_gelu":  # x · sigmoid(1.702 x)
        gate = keras.ops.sigmoid(keras.ops.multiply(x, 1.702))
        return keras.layers.Multiply(name=block + "activation")([x, gate])
    return keras.layers.Activation(a.activation, name=block + "activation")(x)  # Keras' gelu is the exact one, by erf


def _turning(a: Transformer, side: int, tokens: int, head: int) -> Any:
    """What turns queries and keys by their places; None where positions are not rotary."""
    import keras

    if not a.rotary:
        return None
    cosines, sines = (table.reshape(tokens, 1, head) for table in rotary(side, head, a.rotary, a.prefix))
    # Tables of constants, not weights: nothing may train them.
    by_cosine = keras.layers.Rescaling(_digits(cosines), name="rotary_cosine")
    by_sine = keras.layers.Rescaling(_digits(sines), name="rotary_sine")

    def turn(x: Any, name: str) -> Any:
        first, second = keras.ops.split(x, 2, axis=-1)
        swapped = keras.layers.Concatenate(name=name + "swap")([second, first])
        return keras.layers.Add(name=name + "turn")([by_cosine(x), by_sine(swapped)])

    return turn


def _digits(table: np.ndarray) -> Any:
    """Nested lists whose numbers have as many digits in JSON as float32 tells apart."""
    return np.array([float(str(number)) for number in table.reshape(-1)]).reshape(table.shape).tolist()


def _convnext(a: ConvNeXt, pixels: Any) -> Any:
    import keras

    x = keras.layers.Conv2D(a.widths[0], a.first, strides=a.first, name="stem_conv")(pixels)
    x = _norm(a, "stem_norm")(x)
    for i, (width, down) in enumerate(a.blocks):
        block = f"block{i}_"
        if down:
            x = _norm(a, block + "down_norm")(x)
            x = keras.layers.Conv2D(width, 2, strides=2, name=block + "down_conv")(x)
        y = keras.layers.DepthwiseConv2D(7, padding="same", name=block + "depthwise")(x)
        y = _norm(a, block + "norm")(y)
        y = keras.layers.Dense(4 * width, activation="gelu", name=block + "expand")(y)
        if a.response_norm:
            y = _response_norm(y, block)
        y = keras.layers.Dense(width, name=block + "contract")(y)
        if a.layer_scale:
            y = scale(block + "scale", y)
        x = keras.layers.Add(name=block + "add")([x, y])
    return x


def _response_norm(x: Any, block: str) -> Any:
    """x + scale · x · (energy over the map / mean energy of all channels): Woo et al. 2023, arXiv:2301.00808."""
    import keras

    energy = keras.ops.sqrt(keras.ops.sum(keras.ops.square(x), axis=(1, 2), keepdims=True))
    share = keras.ops.divide(energy, keras.ops.add(keras.ops.mean(energy, axis=-1, keepdims=True), 1e-6))
    y = keras.layers.Multiply(name=block + "share")([x, share])
    y = scale(block + "response", y, bias=True)
    return keras.layers.Add(name=block + "response_add")([x, y])


def _norm(a: Transformer | ConvNeXt, name: str) -> Any:
    import keras

    return keras.layers.LayerNormalization(epsilon=a.epsilon, name=name)
