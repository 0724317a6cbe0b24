"""The classifier at the end of a user's own model: found in its graph and taken off, in the forms that Keras' users
build. What looks like one but cannot be told apart from features stays, and is said.

Found: Dense (behind pooling or hidden layers), 1×1 convolutions with Reshape or Flatten, convolution + pooling, each
with softmax or sigmoid as activation, as a layer of its own, behind a temperature, or inside a nested model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit.compute import keras_private

if TYPE_CHECKING:
    import keras

_ANSWERS = ("softmax", "log_softmax", "sparsemax", "sigmoid", "log_sigmoid", "hard_sigmoid")
# Of keras.ops, and layers of their own.
_ANSWERING = {"".join(word.title() for word in name.split("_")): name for name in _ANSWERS}
_LINEAR = (*_ANSWERS, "linear")
_POOLS = (
    "GlobalAveragePooling2D", "GlobalMaxPooling2D", "GlobalAverageMaxPooling2D", "GlobalAveragePooling1D",
    "GlobalMaxPooling1D", "Mean", "Max",
)  # fmt: skip
_BELOW = (*_POOLS, "Dropout", "Flatten")
# Between a classifier and the model's output: layers and operations (keras.ops) that neither add nor mix features.
_PASSING = ("Reshape", "Flatten", "Squeeze", "Dropout", "Identity", "Rescaling", "Divide", "TrueDivide", "Multiply")
_CONVOLUTIONS = ("Conv2D", "Conv1D")
_NORMALISING = ("BatchNormalization", "ReLU", "Dropout")


@dataclass
class Top:
    """The tensor below the classifier and the names of what was above it; `answers` where probabilities stay."""

    tensor: Any
    removed: list[str] = field(default_factory=list)
    answers: bool = False


def without_classifier(model: keras.Model) -> Top:
    """`model`'s output below its classifier; its very output where it has none.

    A classifier goes together with the pooling under it where that leads straight to a feature map or to tokens, for
    pooling is the new head's. A hidden Dense is part of the network.
    """
    output = tensor = model.outputs[0]
    passed: list[str] = []
    answers = pooled = False
    while True:
        operation = keras_private.operation_of(tensor)
        kind = type(operation).__name__
        if _is_network(operation):
            return _nested(operation, tensor, output, passed, answers)
        activation = _activation(operation)
        answers = answers or activation in _ANSWERS
        if _classifies(kind, activation, tensor, output, answers, pooled):
            return _below(_input(tensor), [*passed, operation.name])
        passive = kind in _PASSING or kind in _POOLS or (kind in _NORMALISING and pooled and answers)
        if not (passive or kind in _ANSWERING or kind == "Activation") or _input(tensor) is None:
            return Top(output, answers=answers)
        if kind == "Activation" and activation not in _LINEAR and not pooled:
            return Top(output, answers=answers)
        pooled = pooled or kind in _POOLS
        passed.append(operation.name)
        tensor = _input(tensor)


def _classifies(kind: str, activation: str | None, tensor: Any, output: Any, answers: bool, pooled: bool) -> bool:
    """Whether this layer, from which nothing but shapes and probabilities comes, is the one that classifies."""
    if kind == "Dense":
        return activation in _LINEAR and (len(tensor.shape) == 2 or answers)
    if kind not in _CONVOLUTIONS:
        return False
    # SqueezeNet's has a ReLU between the convolution and the pooling.
    if answers:
        return pooled or activation in _LINEAR
    # A dense layer in other words: one place, made a vector.
    return activation == "linear" and len(output.shape) == 2 and not pooled and math.prod(tensor.shape[1:-1]) == 1


def _nested(network: keras.Model, tensor: Any, output: Any, passed: list[str], answers: bool) -> Top:
    """As above, where the end of the model is a model itself."""
    import keras

    if len(network.outputs) != 1 or len(network.inputs) != 1:
        return Top(output, answers=answers)
    inner = without_classifier(network)
    if not inner.removed:
        return Top(output, answers=answers or inner.answers)
    bare = keras.Model(network.inputs[0], inner.tensor, name=network.name)
    return Top(bare(_input(tensor)), [*passed, *inner.removed])


def _below(tensor: Any, removed: list[str]) -> Top:
    """Without the pooling that leads straight to a feature map or to tokens."""
    below, pools = tensor, []
    while type(keras_private.operation_of(below)).__name__ in _BELOW and _input(below) is not None:
        pools.append(keras_private.operation_of(below).name)
        below = _input(below)
    if pools and len(below.shape) in (3, 4) and _channels_last(below):
        return Top(below, removed + pools)
    return Top(tensor, removed)


def _channels_last(tensor: Any) -> bool:
    """False where the layer that made this map has its channels first."""
    while tensor is not None and len(tensor.shape) == 4:
        operation = keras_private.operation_of(tensor)
        if type(operation).__name__ == "Permute":
            return True
        if hasattr(operation, "data_format"):
            return bool(operation.data_format != "channels_first")
        tensor = _input(tensor, first=True)
    return True


def channels_first(tensor: Any) -> bool:
    """Whether this is a feature map with its channels first."""
    return not _channels_last(tensor)


def looks_like_answers(outputs: np.ndarray) -> bool:
    """Whether rows [n, t] are probabilities by their values: none below 0, and every row sums to 1."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        return False
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3))


def _is_network(operation: Any) -> bool:
    return bool(getattr(operation, "layers", None)) and getattr(operation, "outputs", None) is not None


def _activation(operation: Any) -> str | None:
    kind = type(operation).__name__
    if kind in _ANSWERING:
        return _ANSWERING[kind]
    return getattr(getattr(operation, "activation", None), "__name__", None)


def _input(tensor: Any, first: bool = False) -> Any:
    """What the maker of `tensor` reads; None for an input, and for several tensors unless the `first` is asked for."""
    tensors = keras_private.node_of(tensor).input_tensors
    return tensors[0] if tensors and (first or len(tensors) == 1) else None
