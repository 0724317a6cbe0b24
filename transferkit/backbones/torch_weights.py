"""PyTorch's weights of a network that is built here by other code: each found by its name there and turned over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transferkit.backbones import efficientnet_lite0
from transferkit.backbones.foundation.checkpoint_files import SUFFIXES, open_file
from transferkit.backbones.packaged import variables_of
from transferkit.errors import WeightsError
from transferkit.text import shown

if TYPE_CHECKING:
    import keras

# For each network: (layer, variable) → the tensor's name; and the beginning of the names that no layer needs.
_NAMES: dict[str, tuple[Callable[[str, str], str], str]] = {
    "efficientnet_lite0": (efficientnet_lite0.torch_name, "_fc."),
}
_COUNTERS = ".num_batches_tracked"


def is_torch(path: Path) -> bool:
    """Whether the file is of one of the forms that PyTorch's users keep weights in."""
    return path.name.endswith(SUFFIXES)


def load(path: Path, model: keras.Model) -> None:
    """Set all weights of a network from PyTorch's file, by name.

    Args:
        path: the file.
        model: the network; it is not changed where they do not fit.

    Raises:
        WeightsError: naming the first tensor that is missing, left over or of another shape.
    """
    if model.name not in _NAMES:
        known = ", ".join(_NAMES)
        raise WeightsError(
            f"{path.name} holds PyTorch's weights, which --weights reads for {known}. A published vision transformer, "
            "ConvNeXt, ResNet… goes to --backbone as a whole: its folder, with config.json"
        )
    named, unused = _NAMES[model.name]
    tensors = open_file(path)
    wanted = {named(layer.name, v.name): (layer, v) for layer in model.layers for v, _ in variables_of(layer)}
    missing = next((name for name in wanted if name not in tensors.shapes), None)
    if missing is not None:
        raise WeightsError(f"{path} does not fit '{model.name}': it lacks {missing}")
    left = [n for n in tensors.shapes if n not in wanted and not n.startswith(unused) and not n.endswith(_COUNTERS)]
    if left:
        raise WeightsError(f"{path} does not fit '{model.name}': nothing there is called {shown(left[0][:80])}")
    values = []
    for name, (layer, variable) in wanted.items():
        turned = _axes(layer, len(variable.shape))
        shape = tensors.shapes[name]
        found = tuple(shape[axis] for axis in turned) if len(shape) == len(turned) else shape
        if found != tuple(variable.shape):
            raise WeightsError(f"{path} does not fit '{model.name}': {name} has the shape {list(shape)}")
        values.append((variable, tensors.read(name).astype(np.float32).transpose(turned)))
    for variable, value in values:
        variable.assign(value)


def _axes(layer: keras.Layer, rank: int) -> tuple[int, ...]:
    """Where Keras' axes are in PyTorch's tensor."""
    if rank == 4:  # theirs: outputs, inputs, rows, columns; of a depthwise kernel "inputs" is 1
        return (2, 3, 0, 1) if type(layer).__name__ == "DepthwiseConv2D" else (2, 3, 1, 0)
    return (1, 0) if rank == 2 else tuple(range(rank))
