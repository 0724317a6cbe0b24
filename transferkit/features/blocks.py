"""Where inverted residual blocks end, found in a network's graph, whatever its layers are called.

Blocks of MobileNetV2 and its kin (MobileNetV3, EfficientNet: Sandler et al. 2018) pass on few channels that no
activation follows. Each block adds what those before it lack, so that the last of a stage does not speak for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from transferkit.backbones.cut import calls_of

if TYPE_CHECKING:
    import keras

WITHIN = ("BatchNormalization", "Dropout", "Add")  # what follows a projection inside a block
BEYOND = ("Conv2D", "DepthwiseConv2D", "ZeroPadding2D", "Add")  # what reads a block's end; no activation does


class InvertedResidual(NamedTuple):
    """An inverted residual: the `name` of its last layer, its `end`, and the `expanded` map that is projected to it."""

    name: str
    end: Any
    expanded: Any


def inverted_residuals(model: keras.Model) -> list[InvertedResidual]:
    """The ends of the inverted residual blocks of a functional model, from the input upwards.

    Args:
        model: the network.

    Returns:
        Blocks that end with what a 1×1 convolution to fewer channels projects, normalised perhaps and added to a
        shortcut. There is none where an activation or a pooling follows.
    """
    nodes = list(calls_of(model))
    readers: dict[int, list[Any]] = {}
    for node in nodes:
        for tensor in {id(t): t for t in node.input_tensors}.values():
            readers.setdefault(id(tensor), []).append(node)
    found = []
    for projection in filter(_projects, nodes):
        node = projection
        while len(after := readers.get(id(node.output_tensors[0]), [])) == 1 and _kind(after[0]) in WITHIN:
            node = after[0]
        if after and all(_kind(reader) in BEYOND for reader in after):
            found.append(InvertedResidual(node.operation.name, node.output_tensors[0], projection.input_tensors[0]))
    return found


def _kind(node: Any) -> str:
    return type(node.operation).__name__


def _projects(node: Any) -> bool:
    """Whether a call is a 1×1 convolution to fewer channels without an activation."""
    if _kind(node) != "Conv2D":
        return False
    import keras

    layer, channels = node.operation, node.input_tensors[0].shape[-1]
    linear = layer.activation is keras.activations.linear
    return linear and tuple(layer.kernel_size) == (1, 1) and layer.filters < channels
