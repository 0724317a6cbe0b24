"""`efficientnet_lite0`, the bundled backbone for photographs: EfficientNet-Lite0, its ImageNet weights in the package.

Made by `scripts/convert_efficientnet_lite0.py` from published weights (NOTICE says whose they are). Keras is imported
only when a network is built.

Source: Tan & Le 2019 (arXiv:1905.11946) in Google's "Lite" form: ReLU6 for swish, no squeeze-and-excitation.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit.backbones.packaged import Packaged
from transferkit.errors import BackboneError

if TYPE_CHECKING:
    import keras

SMALLEST_SIZE = 32
DEFAULT_SIZE = 224
WEIGHTS_FILE = Path(__file__).with_name("efficientnet_lite0.npz")
RECORD_FILE = Path(__file__).with_name("efficientnet_lite0.json")
# kernel, repeats, filters, expansion, strides of the first
BLOCKS = (
    (3, 1, 16, 1, 1), (3, 2, 24, 6, 2), (5, 2, 40, 6, 2), (3, 3, 80, 6, 2), (5, 3, 112, 6, 1), (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)  # fmt: skip
STEM, TOP = 32, 1280


def build_efficientnet_lite0(size: int = DEFAULT_SIZE) -> keras.Model:
    """The bare network with random weights: a functional `keras.Model` of Keras' own layers.

    Input: float32, (batch, size, size, 3), `(x / 255 - mean) / std` with ImageNet's mean and deviation, `size` of 32
    or more. Output: float, (batch, ceil(size/32), ceil(size/32), 1280), 0 to 6. Layers are named as those of
    `keras.applications.EfficientNetB0`. Raises BackboneError for a size below 32.
    """
    if size < SMALLEST_SIZE:
        raise BackboneError(
            f"efficientnet_lite0 takes pictures of {SMALLEST_SIZE} pixels or more, not {size}; "
            f"its weights are made for {DEFAULT_SIZE}"
        )
    import keras

    pixels = keras.Input((size, size, 3), name="pixels")
    x = _relu6(_norm(_convolution(pixels, STEM, "stem_conv", kernel=3, strides=2), "stem_bn"), "stem_activation")
    for number, (kernel, repeats, filters, expansion, strides) in enumerate(BLOCKS, 1):
        for repeat in range(repeats):
            name = f"block{number}{chr(ord('a') + repeat)}_"
            x = _block(x, name, kernel, filters, expansion, strides if repeat == 0 else 1)
    x = _relu6(_norm(_convolution(x, TOP, "top_conv"), "top_bn"), "top_activation")
    return keras.Model(pixels, x, name="efficientnet_lite0")


def load_pretrained(model: keras.Model) -> None:
    """Set the packaged ImageNet weights on a network of `build_efficientnet_lite0`, of any size.

    Large kernels are kept as float16, the others and BatchNorm's vectors as float32. Raises WeightsError where the file
    is missing, does not match its recorded SHA-256, or does not fit; the model is not changed then.
    """
    packaged().load(model)


def packaged() -> Packaged:
    """The files of the weights."""
    return Packaged(WEIGHTS_FILE, RECORD_FILE, "scripts/convert_efficientnet_lite0.py")


def torch_name(layer: str, variable: str) -> str:
    """What PyTorch's form of the network calls a variable: `block2b_expand_bn`, `gamma` → `_blocks.2._bn0.weight`.

    Args:
        layer: the name of a layer of ours.
        variable: the name of one of its variables.
    """
    kind = {
        "kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }[variable]  # fmt: skip
    outer = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
    if layer in outer:
        return f"{outer[layer]}.{kind}"
    block, _, part = layer.partition("_")
    index = sum(repeats for _, repeats, *_ in BLOCKS[: int(block[5]) - 1]) + ord(block[6]) - ord("a")
    inner = {
        "expand_conv": "_expand_conv", "expand_bn": "_bn0", "dwconv": "_depthwise_conv", "bn": "_bn1",
        "project_conv": "_project_conv", "project_bn": "_bn2",
    }  # fmt: skip
    return f"_blocks.{index}.{inner[part]}.{kind}"


def _block(x: Any, name: str, kernel: int, filters: int, expansion: int, strides: int) -> Any:
    """Inverted residual: expand, filter each channel, project; plus the input where shapes allow."""
    import keras

    inputs, channels = x, x.shape[-1]
    if expansion != 1:
        x = _convolution(x, channels * expansion, name + "expand_conv")
        x = _relu6(_norm(x, name + "expand_bn"), name + "expand_activation")
    x = keras.layers.DepthwiseConv2D(
        kernel, strides=strides, padding="same", use_bias=False, depthwise_initializer=_fan_out(),
        name=name + "dwconv",
    )(x)  # fmt: skip
    x = _relu6(_norm(x, name + "bn"), name + "activation")
    x = _norm(_convolution(x, filters, name + "project_conv"), name + "project_bn")
    if strides == 1 and channels == filters:
        x = keras.layers.Add(name=name + "add")([x, inputs])
    return x


def _convolution(x: Any, filters: int, name: str, *, kernel: int = 1, strides: int = 1) -> Any:
    import keras

    return keras.layers.Conv2D(
        filters, kernel, strides=strides, padding="same", use_bias=False, kernel_initializer=_fan_out(), name=name
    )(x)


def _norm(x: Any, name: str) -> Any:
    import keras

    return keras.layers.BatchNormalization(epsilon=1e-3, name=name)(x)


def _relu6(x: Any, name: str) -> Any:
    import keras

    return keras.layers.ReLU(max_value=6.0, name=name)(x)


def _fan_out() -> Any:
    """As in the paper's code and in Keras' EfficientNet."""
    import keras

    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")
