"""An OpenVINO model whose channels come to the front behind its preprocessing, where its runtime need not move them.

TensorFlow's pictures have their channels last, as the convolutions of OpenVINO's CPU runtime want them, while its
models have them in front. Its reader puts the transposition at the very input. There all pixels are moved: to the
front, and, as floats, back again, a fifth of a small network's time. Directly before the convolution it is a change of
names. Each number stays what it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ELEMENTWISE = ("Convert", "Multiply", "Add", "Subtract", "Divide")
SCALING = ("Multiply", "Divide")  # right before a convolution these become part of its weights, as they always did
BEHIND = ("Convolution", "Pad")  # what takes channels in either order: padding becomes part of the convolution
TO_THE_FRONT = [0, 3, 1, 2]


def transpose_late(model: Any, opset: Any) -> bool:
    """Move the transposition of the pictures behind what is computed of each number by itself.

    Args:
        model: of one input [n, height, width, 3], as OpenVINO read it; it is changed.
        opset: OpenVINO's operations.

    Returns:
        Whether it was moved: not where anything else than the above lies between the input and the first convolution.
    """
    (pictures,) = model.get_parameters()
    first = _only_reader(pictures)
    if first is None or first.get_node().get_type_name() != "Transpose" or _order(first.get_node()) != TO_THE_FRONT:
        return False
    chain, then = _elementwise(first.get_node())
    if then is None or then.get_index() != 0 or then.get_node().get_type_name() not in BEHIND:
        return False
    while chain and chain[-1].get_node().get_type_name() in SCALING:
        then = chain.pop()
    if not chain:
        return False
    for port in chain:
        _turn_constants(port, opset)
    chain[0].replace_source_output(pictures.output(0))
    last = chain[-1].get_node().output(0)
    then.replace_source_output(opset.transpose(last, np.array(TO_THE_FRONT, np.int64)).output(0))
    model.validate_nodes_and_infer_types()
    return True


def _only_reader(node: Any) -> Any:
    """The input that reads what a node gives; None where there is not exactly one."""
    readers = list(node.output(0).get_target_inputs())
    return readers[0] if len(readers) == 1 else None


def _constant(port: Any) -> Any:
    """The numbers that an input reads, where they are constant; else None."""
    source = port.get_source_output().get_node()
    return np.array(source.data) if source.get_type_name() == "Constant" else None


def _order(transpose: Any) -> list[int] | None:
    found = _constant(transpose.input(1))
    return None if found is None else found.tolist()


def _elementwise(node: Any) -> tuple[list[Any], Any]:
    """The inputs of the operations behind a node that compute each number by itself, and what reads the last."""
    chain: list[Any] = []
    reader = _only_reader(node)
    while reader is not None and reader.get_node().get_type_name() in ELEMENTWISE:
        if any(_constant(port) is None for port in _others(reader)):
            return chain, None
        chain.append(reader)
        reader = _only_reader(reader.get_node())
    return chain, reader


def _others(reader: Any) -> list[Any]:
    return [port for port in reader.get_node().inputs() if port.get_index() != reader.get_index()]


def _turn_constants(reader: Any, opset: Any) -> None:
    """What is added to the pictures, or multiplied with them, has its channels last too."""
    for port in _others(reader):
        numbers = _constant(port)
        whole = numbers.reshape((1,) * (4 - numbers.ndim) + numbers.shape)
        port.replace_source_output(opset.constant(np.moveaxis(whole, 1, 3).copy()).output(0))
