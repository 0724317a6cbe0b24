"""Cut a network in two anywhere in its graph: what never changes, and what is trained. Exact, weights shared.

The frontier between the parts is computed from the graph and may hold several tensors: inside a residual
block it holds the shortcut too, and NASNet cells pass two tensors on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transferkit.compute import keras_private
from transferkit.errors import BackboneError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Parts:
    """`tail(frozen(x)) == model(x)`. Either part is None where nothing is on its side of the cut.

    `frozen` returns one tensor, or a list where the frontier holds several; `tail` takes the same.
    """

    frozen: keras.Model | None
    tail: keras.Model | None


def cut(model: keras.Model, first: int) -> Parts:
    """Cut a model in two before an operation.

    The parts are plain functional models that share the layers of `model`: training the tail changes `model`. A layer
    that is called both below and above the cut stays in both parts.

    Args:
        model: a functional model.
        first: number of the operation in `model.operations` (inputs come before all else).

    Returns:
        With `first` at or below the first operation after the inputs `frozen` is None, at the end `tail` is None.

    Raises:
        BackboneError: a model that is not functional, or a position outside 0…len(model.operations).
    """
    import keras

    frozen_nodes, crossing = _crossing(model, first)
    if not crossing:
        return Parts(None, model)
    outputs = keras.tree.flatten(model.outputs)
    if all(any(tensor is output for tensor in crossing) for output in outputs) and len(crossing) == len(outputs):
        return Parts(model, None)
    below = keras.Model(_unpacked(model.inputs), _unpacked(crossing), name=f"{model.name}_frozen")
    return Parts(below, _tail(model, frozen_nodes, crossing))


def frontier(model: keras.Model, first: int) -> list[Any]:
    """The tensors that cross a cut, without building its parts; none where only inputs do.

    Args:
        model: as for `cut`.
        first: as for `cut`.

    Raises:
        BackboneError: as `cut`.
    """
    return _crossing(model, first)[1]


def operations_of(model: keras.Model) -> list[Any]:
    """The operations of a functional model from input to output. Raises BackboneError for any other model."""
    operations = getattr(model, "operations", None)
    if operations is None:
        raise BackboneError(
            f"'{model.name}' is a {type(model).__name__}; only functional models can be cut. "
            "Wrap it: keras.Model(model.inputs, model.outputs)"
        )
    return list(operations)


def largest(model: keras.Model) -> int:
    """Numbers in the largest activation that a functional model, or one inside it, computes for one row."""
    import keras

    nodes = list(calls_of(model))
    sizes = [math.prod(side or 1 for side in t.shape[1:]) for node in nodes for t in node.output_tensors]
    called = {id(node.operation): node.operation for node in nodes}.values()
    inner = [one for one in called if isinstance(one, keras.Model) and getattr(one, "outputs", None)]
    return max(map(int, sizes + [largest(one) for one in inner]))


def _tail(model: keras.Model, frozen_nodes: list[Any], frontier: list[Any]) -> keras.Model:
    """The model from the frontier on, over layers of `model`."""
    import keras

    name = f"{model.name}_tail"
    below = {id(node) for node in frozen_nodes}
    rest = [node for node in calls_of(model) if id(node) not in below]
    producers = {id(keras_private.node_of(tensor).operation) for tensor in frontier}
    if not any(id(node.operation) in producers for node in rest):
        return keras.Model(_unpacked(frontier), _unpacked(model.outputs), name=name)
    # Keras mistakes the later calls of a layer that also produced a frontier tensor for inputs: call them
    # again.
    inputs = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in frontier]
    known = {id(old): new for old, new in zip(frontier, inputs, strict=True)}
    for node in rest:
        arguments, options = node.arguments.fill_in(known)
        made = keras.tree.flatten(node.operation(*arguments, **options))
        known |= {id(old): new for old, new in zip(node.output_tensors, made, strict=True)}
    return keras.Model(_unpacked(inputs), _unpacked([known[id(t)] for t in model.outputs]), name=name)


def _crossing(model: keras.Model, first: int) -> tuple[list[Any], list[Any]]:
    """The graph's nodes below a cut, and the tensors that cross it; no tensors where nothing but inputs is below."""
    operations = operations_of(model)
    if not 0 <= first <= len(operations):
        raise BackboneError(f"cannot cut '{model.name}' at {first}: it has operations 0 to {len(operations)}")
    frozen, tensors = _frontier(model, {id(operation) for operation in operations[:first]})
    return frozen, tensors if any(not node.is_input for node in frozen) else []


def _frontier(model: keras.Model, below: set[int]) -> tuple[list[Any], list[Any]]:
    """The graph's frozen nodes, and the tensors that cross from them to the rest, in order of computation.

    A node is frozen if its operation is below the cut and all that it reads is: a layer that is called twice
    may be below with one call and above with the other.
    """
    frozen: dict[int, bool] = {}
    nodes = list(calls_of(model))
    for node in nodes:
        frozen[id(node)] = id(node.operation) in below and all(
            frozen[id(keras_private.node_of(tensor))] for tensor in node.input_tensors
        )
    crossing = {id(t) for node in nodes if not frozen[id(node)] for t in node.input_tensors}
    crossing |= {id(t) for t in model.outputs}
    kept = [node for node in nodes if frozen[id(node)]]
    return kept, [t for node in kept for t in node.output_tensors if id(t) in crossing]


def calls_of(model: keras.Model) -> Iterator[Any]:
    """The calls that lead to the outputs of a functional model, each after those it depends on.

    Taken from the tensors' history, because `layer.output` names only a layer's first call.
    """
    done: set[int] = set()
    stack = [(keras_private.node_of(tensor), False) for tensor in reversed(model.outputs)]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            yield node
            continue
        stack.append((node, True))
        stack.extend((keras_private.node_of(tensor), False) for tensor in reversed(node.input_tensors))


def _unpacked(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors
