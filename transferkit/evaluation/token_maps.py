"""Grad-CAM for tokens: which patches of a vision transformer spoke for an output. The class token and registers have no
place in the picture, and take no part in its map.

What a head reads of the class token came there by attention, and behind the last attention every token knows of all the
others. So tokens are looked at a third of the way up, and each patch has a gradient of its own: its deviation from the
mean patch times its gradient (HiResCAM, Draelos & Carin 2020, where Grad-CAM takes the mean gradient of all places).
On a small transformer trained on CIFAR-10, hiding the quarter of the patches that this calls hottest cost the answer
1.5 and 2 times as much (class token, mean of patches) as hiding a random quarter; Grad-CAM as it is defined, before the
last block, 1.1 and 1.0 times. Both were measured on 320 pictures that were not learnt from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transferkit import compute
from transferkit.backbones.cut import Parts, calls_of, cut, frontier, operations_of
from transferkit.compute import keras_private

if TYPE_CHECKING:
    import keras

TAPS = "taps"  # of the operation that joins vectors of several depths (features.taps)
LOW = 3  # the part of the attention layers that lies below the tokens that are looked at

Maps = list[npt.NDArray[np.float32]]
# uint8 pictures [n, size, size, 3] and weights [n, t] of the logits → maps [n, rows, columns], one a depth.
Fields = Callable[[npt.NDArray[np.uint8], npt.NDArray[np.float32]], Maps]


@dataclass(frozen=True)
class Patches:
    """Where the patches are among tokens: the first, and the rows and columns that they have in the picture."""

    first: int
    rows: int
    columns: int

    @property
    def count(self) -> int:
        """How many there are."""
        return self.rows * self.columns

    def among(self, tokens: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Those of `tokens` [n, t, c] that are patches [n, count, c]."""
        return tokens[:, self.first : self.first + self.count]


@dataclass(frozen=True)
class _Place:
    """Tokens `tensor` of a network's own graph, and what becomes of them: `above` maps them to the outputs of the
    network with these `numbers` (None: they are the one output)."""

    tensor: Any
    above: keras.Model | None
    patches: Patches
    numbers: tuple[int, ...]


def fields(network: Any, model: keras.Model) -> Fields | None:
    """The maps of a model that stands on a network of tokens. A head that reads several depths may have several maps,
    in the same units.

    Args:
        network: of tokens.
        model: pictures → logits, which calls `network`.

    Returns:
        None where it is no network of tokens, or where the places of its tokens in the picture cannot be known.
    """
    if len(network.outputs[-1].shape) == 4 or not any(map(_attends, operations_of(network))):
        return None
    places = _places(network)
    if not places:
        return None
    position = next(i for i, operation in enumerate(operations_of(model)) if operation is network)
    prepared = cut(model, position).frozen
    if len(network.outputs) == 1:
        return _of_one(model, network, prepared, places[0], cut(model, position + 1))
    return _of_several(model, network, prepared, places)


def patches_of(model: keras.Model) -> dict[int, Patches]:
    """The patches of each tensor of a functional graph that has them, by the tensor's `id`.

    Places are known from where a map, or pixels by rows and columns of patches, is laid out as tokens; from there on
    they are followed through padding, cropping and what is joined to them.
    """
    found: dict[int, Patches] = {}
    for node in calls_of(model):
        if node.is_input:
            continue
        for tensor in node.output_tensors:
            patches = _laid_out(node, tensor, found)
            if patches is not None:
                found[id(tensor)] = patches
    return found


def _laid_out(node: Any, tensor: Any, found: dict[int, Patches]) -> Patches | None:
    """The patches of one result of a call."""
    kind, sources = type(node.operation).__name__, node.input_tensors
    known = next((source for source in sources if id(source) in found), None)
    if known is None:
        return _first_tokens(sources[0].shape, tensor.shape) if kind == "Reshape" else None
    before, operation = found[id(known)], node.operation
    first, same = before.first, tensor.shape[1] == known.shape[1]
    if kind == "Concatenate" and operation.axis % len(tensor.shape) == 1:
        place = next(i for i, source in enumerate(sources) if source is known)
        first += sum(source.shape[1] for source in sources[:place])
    elif kind == "ZeroPadding1D":
        first += operation.padding[0]
    elif kind == "Cropping1D":
        first -= operation.cropping[0]
    elif not same:
        return None
    whole = 0 <= first <= (tensor.shape[1] or 0) - before.count
    return Patches(first, before.rows, before.columns) if whole else None


def _first_tokens(source: tuple[int | None, ...], shape: tuple[int | None, ...]) -> Patches | None:
    """Rows and columns of a map that becomes tokens."""
    if len(source) < 4 or len(shape) != 3 or source[1] is None or source[2] is None:
        return None
    rows, columns = source[1], source[2]
    return Patches(0, rows, columns) if min(rows, columns) > 1 and rows * columns == shape[1] else None


def _attends(operation: Any) -> bool:
    """Whether tokens learn of each other there."""
    return "Attention" in type(operation).__name__


def _places(network: Any) -> list[_Place]:
    """Where the tokens that make the outputs of `network` are looked at; outputs that have no such place are left out.

    All outputs above the last one's place share it; each of those below has one of its own.
    """
    outputs = list(network.outputs)
    top = _place(network, outputs[-1:], (len(outputs) - 1,))
    if top is None:
        return []
    above = _made_of(network, top.tensor)
    upper = tuple(number for number, output in enumerate(outputs) if id(output) in above)
    shared = _place(network, [outputs[number] for number in upper], upper, top.tensor)
    found, rest = ([shared], set(upper)) if shared is not None else ([top], {len(outputs) - 1})
    lower = (_place(network, [output], (n,)) for n, output in enumerate(outputs) if n not in rest)
    return [*found, *(place for place in lower if place is not None)]


def _made_of(network: Any, tensor: Any) -> set[int]:
    """Ids of all tensors of a graph that `tensor` has a part in."""
    found = {id(tensor)}
    for node in calls_of(network):
        if any(id(source) in found for source in node.input_tensors):
            found |= {id(made) for made in node.output_tensors}
    return found - {id(tensor)}


def _place(network: Any, outputs: list[Any], numbers: tuple[int, ...], wanted: Any = None) -> _Place | None:
    """The tokens that all of `outputs` are made of and nothing else is, before the attention that is a third of the way
    up; `wanted` says which they must be."""
    import keras

    part = keras.Model(network.inputs, outputs)
    operations, patches = operations_of(part), patches_of(part)
    attention = [i for i, operation in enumerate(operations) if _attends(operation)]
    if not attention:  # the tokens of a stem
        known = patches.get(id(outputs[0])) if len(outputs) == 1 and len(outputs[0].shape) == 3 else None
        return None if known is None else _Place(outputs[0], None, known, numbers)
    for first in range(attention[len(attention) // LOW], 0, -1):
        crossing = frontier(part, first)
        if len(crossing) != 1 or id(crossing[0]) not in patches or len(crossing[0].shape) != 3:
            continue
        if wanted is None or crossing[0] is wanted:
            return _Place(crossing[0], cut(part, first).tail, patches[id(crossing[0])], numbers)
    return None


def _of_one(
    model: keras.Model, network: Any, prepared: keras.Model | None, place: _Place, parts: Parts
) -> Fields | None:
    """The fields of a head on the output of `network`."""
    import keras

    if parts.tail is None:
        return None
    x = model.inputs[0] if prepared is None else prepared(model.inputs[0])
    below = compute.forward(keras.Model(model.inputs, keras.Model(network.inputs, place.tensor)(x)))
    tokens = keras.Input(place.tensor.shape[1:])
    gradient = compute.input_gradient(keras.Model(tokens, parts.tail(_outputs(place, tokens)[0])))

    def maps(pictures: npt.NDArray[np.uint8], weights: npt.NDArray[np.float32]) -> Maps:
        found = below([pictures])[0]
        return [_weighed(place.patches, found, gradient(found, weights)[1])]

    return maps


def _of_several(model: keras.Model, network: Any, prepared: keras.Model | None, places: list[_Place]) -> Fields:
    """The fields of a head on vectors of several depths of `network`, joined to one row."""
    import keras

    names = {operation.name: number for number, operation in enumerate(operations_of(model))}
    row = operations_of(model)[names[TAPS]]
    features = next(node.output_tensors for node in calls_of(model) if node.operation is network)
    x = model.inputs[0] if prepared is None else prepared(model.inputs[0])
    inner = keras.Model(network.inputs, [*(place.tensor for place in places), *network.outputs])(x)
    rows = keras.Model(features, row.output)(inner[len(places) :])
    below = compute.forward(keras.Model(model.inputs, [*inner[: len(places)], rows]))
    by_row = compute.input_gradient(cut(model, names["head"]).tail)
    columns = list(_columns(row.input, features))
    parts = [(place, *_part(place, features, columns)) for place in places]

    def maps(pictures: npt.NDArray[np.uint8], weights: npt.NDArray[np.float32]) -> Maps:
        *tokens, vectors = below([pictures])
        slope = by_row(vectors, weights)[1]
        return [
            _weighed(place.patches, found, part(found, np.ascontiguousarray(slope[:, which]))[1])
            for (place, part, which), found in zip(parts, tokens, strict=True)
        ]

    return maps


def _outputs(place: _Place, tokens: Any) -> list[Any]:
    """The network's outputs that are made of `tokens`."""
    found = tokens if place.above is None else place.above(tokens)
    return list(found) if isinstance(found, list | tuple) else [found]


_Column = tuple[Any, tuple[int, int], int]


def _columns(vectors: list[Any], features: list[Any]) -> Iterator[_Column]:
    """Each vector of a row, its columns, and the number of the tensor of `features` that it was made of."""
    numbers, at = {id(feature): number for number, feature in enumerate(features)}, 0
    for vector in vectors:
        source = vector
        while id(source) not in numbers:
            source = keras_private.node_of(source).input_tensors[0]
        yield vector, (at, at + vector.shape[-1]), numbers[id(source)]
        at += vector.shape[-1]


def _part(place: _Place, features: list[Any], columns: list[_Column]) -> tuple[compute.InputGradient, npt.NDArray[Any]]:
    """The gradient of the vectors of a row by the tokens that they are made of, and the columns of these vectors."""
    import keras

    tokens = keras.Input(place.tensor.shape[1:])
    made, where = [], []
    for number, output in zip(place.numbers, _outputs(place, tokens), strict=True):
        for vector, span, source in columns:
            if source == number:
                made.append(keras.Model(features[number], vector)(output))
                where.append(np.arange(*span))
    row = made[0] if len(made) == 1 else keras.layers.Concatenate(dtype="float32")(made)
    return compute.input_gradient(keras.Model(tokens, row)), np.concatenate(where)


def _weighed(patches: Patches, tokens: npt.NDArray[Any], gradient: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """What each patch adds to the output, to first order, beyond an average patch: a map [n, rows, columns]."""
    own = patches.among(tokens)
    heat = ((own - own.mean(axis=1, keepdims=True)) * patches.among(gradient)).sum(axis=2)
    return np.asarray(heat.reshape(-1, patches.rows, patches.columns), np.float32)
