"""How one weight of ours comes from tensors of theirs, and the rules that every family shares.

PyTorch keeps a dense kernel as (outputs, inputs) and a convolution's as (outputs, inputs, rows, columns); Keras the
other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Rule:
    """How one of our weights comes from theirs: `sources` with the shapes they must have, and what is done to them.

    Extra axes of length 1 in a source do not count: a 1×1 convolution is a dense layer.
    """

    key: str
    sources: tuple[tuple[str, Shape], ...]
    convert: Callable[..., np.ndarray]


def norm(ours: str, theirs: str, width: int) -> Iterator[Rule]:
    """A layer norm's scale and centre.

    Args:
        ours: its name.
        theirs: what the names of its tensors begin with.
        width: number of channels.
    """
    yield Rule(ours + "/gamma", ((theirs + ".weight", (width,)),), same)
    yield Rule(ours + "/beta", ((theirs + ".bias", (width,)),), same)


def dense(ours: str, theirs: str, inputs: int, outputs: int, *, bias: bool = True) -> Iterator[Rule]:
    """A dense layer, whose kernel PyTorch keeps transposed.

    Args:
        ours: its name.
        theirs: what the names of its tensors begin with.
        inputs, outputs: its widths.
        bias: whether it has one.
    """
    yield Rule(ours + "/kernel", ((theirs + ".weight", (outputs, inputs)),), np.transpose)
    if bias:
        yield Rule(ours + "/bias", ((theirs + ".bias", (outputs,)),), same)


def convolution(ours: str, theirs: str, shape: Shape) -> Iterator[Rule]:
    """A convolution with a bias.

    Args:
        ours: its name.
        theirs: what the names of its tensors begin with.
        shape: of their kernel: (outputs, inputs, height, width).
    """
    yield Rule(ours + "/kernel", ((theirs + ".weight", shape),), lambda x: x.transpose(2, 3, 1, 0))
    yield Rule(ours + "/bias", ((theirs + ".bias", shape[:1]),), same)


def parts(ours: list[str], theirs: str, inputs: int, outputs: int, biases: tuple[bool, ...]) -> Iterator[Rule]:
    """Dense layers whose kernels the checkpoint keeps as one, one below the other.

    Args:
        ours: their names, in the order of the tensor.
        theirs: what the names of the tensors begin with.
        inputs, outputs: widths of each layer.
        biases: whether each layer's bias comes from the tensor as well.
    """
    whole = len(ours) * outputs
    for i, (name, bias) in enumerate(zip(ours, biases, strict=True)):
        part = slice(i * outputs, (i + 1) * outputs)
        yield Rule(name + "/kernel", ((theirs + ".weight", (whole, inputs)),), lambda x, part=part: x[part].T)
        if bias:
            yield Rule(name + "/bias", ((theirs + ".bias", (whole,)),), lambda x, part=part: x[part])


def projections(
    block: tuple[str, str], pieces: Mapping[str, str], qkv: str, width: int, biases: tuple[bool, bool, bool]
) -> Iterator[Rule]:
    """Query, key and value. Where only keys have no bias, timm keeps the two others beside the kernels' one tensor.

    Args:
        block: what names of ours and of theirs begin with.
        pieces: our names of a block's layers → theirs.
        qkv: the name of the tensor that holds all three; empty where each has its own.
        width: of tokens.
        biases: whether query, key and value have one.
    """
    ours, theirs = block
    names = ("query", "key", "value")
    if not qkv:
        for name, bias in zip(names, biases, strict=True):
            yield from dense(ours + name, theirs + pieces[name], width, width, bias=bias)
        return
    apart = biases == (True, False, True)
    yield from parts([ours + name for name in names], theirs + qkv, width, width, (False,) * 3 if apart else biases)
    for name in ("query", "value") if apart else ():
        yield Rule(f"{ours}{name}/bias", ((theirs + pieces[name + "_bias"], (width,)),), same)


def same(x: np.ndarray) -> np.ndarray:
    """As it is stored."""
    return x
