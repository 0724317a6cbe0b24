"""Pixels 0..255 to what a network expects, as Keras' own layers that live in the saved model.

The arithmetic is that of `keras.applications.imagenet_utils.preprocess_input`;
`tests/backbones/test_scaling.py` compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from transferkit.errors import ConfigError

if TYPE_CHECKING:
    import keras

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)

# What the network receives, for pixels x of 0..255.
SCALINGS = {
    "none": "x",
    "unit": "x / 255",
    "tf": "x / 127.5 - 1",
    "tf128": "x / 128 - 1",
    "torch": "(x / 255 - mean) / std, channel by channel",
    "caffe": "x - mean, channel by channel, in the order blue, green, red",
}


# A scaling by another mean and deviation, as published checkpoints say their own: `normalize:M,M,M:S,S,S`.
_NORMALIZE = "normalize"


def spelled(mean: Sequence[float], std: Sequence[float]) -> str:
    """The name of (x / 255 - mean) / std, channel by channel: one of SCALINGS where it is one.

    Args:
        mean: of red, green and blue, of pixels in 0…1.
        std: their deviations likewise.
    """
    known: dict[tuple[tuple[float, ...], ...], str] = {
        (MEAN, STD): "torch",
        ((0.5,) * 3, (0.5,) * 3): "tf",
        ((0.0,) * 3, (1.0,) * 3): "unit",
    }
    numbers = ":".join(",".join(repr(float(value)) for value in values) for values in (mean, std))
    return known.get((tuple(mean), tuple(std)), f"{_NORMALIZE}:{numbers}")


def _moments(scaling: str) -> tuple[list[float], list[float]] | None:
    """Mean and deviation of what `spelled` names; None for anything else."""
    name, *values = scaling.split(":")
    try:
        mean, std = ([float(number) for number in numbers.split(",")] for numbers in values)
    except ValueError:
        return None
    return (mean, std) if name == _NORMALIZE and len(mean) == len(std) == 3 and 0 not in std else None


def require(scaling: str) -> str:
    """`scaling` itself, if it is one. Raises ConfigError."""
    if scaling not in SCALINGS and _moments(scaling) is None:
        known = "; ".join(f"{name}: {meaning}" for name, meaning in SCALINGS.items())
        raise ConfigError(f"unknown scaling '{scaling}'. Known are {known}")
    return scaling


def preprocessing(scaling: str) -> list[keras.Layer]:
    """Layers that turn RGB (batch, height, width, 3), uint8 or float, 0..255, into what `scaling` names,
    float32.

    They compute in float32 under every dtype policy, have no trainable weights, and load in Keras' safe mode.
    Raises ConfigError for an unknown scaling.
    """
    require(scaling)
    if scaling == "caffe":
        return [
            _rescaling("to_float"),
            _rgb_to_bgr(),
            _rescaling("center", offset=[-m for m in _CAFFE_MEAN_BGR]),
        ]
    moments = (MEAN, STD) if scaling == "torch" else _moments(scaling)
    if moments is not None:
        mean, std = moments
        return [_rescaling("scale", [1.0 / (255.0 * s) for s in std], [-m / s for m, s in zip(mean, std, strict=True)])]
    scale_offset = {
        "none": (1.0, 0.0),
        "unit": (1 / 255, 0.0),
        "tf": (1 / 127.5, -1.0),
        "tf128": (1 / 128, -1.0),
    }
    return [_rescaling("scale", *scale_offset[scaling])]


def _rescaling(name: str, scale: float | list[float] = 1.0, offset: float | list[float] = 0.0) -> keras.Layer:
    import keras

    # dtype: under a mixed policy the subtraction would otherwise lose the low bits of every pixel.
    return keras.layers.Rescaling(scale, offset, dtype="float32", name=name)


def _rgb_to_bgr() -> keras.Layer:
    """Reverse the channels by a 1×1 convolution: a Lambda would not load in safe mode.

    It works on raw pixels, before the mean is subtracted: whole numbers up to 255 stay exact even where the
    hardware multiplies in bfloat16 or TF32.
    """
    import keras
    import numpy as np

    layer = keras.layers.Conv2D(
        3, 1, use_bias=False, kernel_initializer="zeros", trainable=False, dtype="float32", name="rgb_to_bgr"
    )
    layer.build((None, None, None, 3))
    layer.set_weights([np.eye(3, dtype="float32")[::-1].reshape(1, 1, 3, 3)])
    return layer
