"""Parts of graphs that several families have."""

from __future__ import annotations

from typing import Any


def scale(name: str, x: Any, *, bias: bool = False) -> Any:
    """A factor (and an addend) for each channel, as a layer that Keras has.

    A depthwise convolution of one place: EinsumDense can say it too, but is twelve times slower, and LiteRT's kernels
    refuse it.

    Args:
        name: of the layer.
        x: tokens [b, n, c] or a map [b, h, w, c].
        bias: whether there is an addend.

    Returns:
        A tensor of the shape of `x`.
    """
    import keras

    layer = keras.layers.DepthwiseConv1D if len(x.shape) == 3 else keras.layers.DepthwiseConv2D
    return layer(1, use_bias=bias, depthwise_initializer="ones", name=name)(x)
