"""The weights of a ResNet, EfficientNet or MobileNet from a checkpoint's."""

from __future__ import annotations

from collections.abc import Iterator

from transferkit.backbones.foundation.convnet_layouts import ConvNetLayout
from transferkit.backbones.foundation.convolutional import Attention, ConvNet, Unit
from transferkit.backbones.foundation.weight_rules import Rule, dense, same


def convnet(a: ConvNet, layout: ConvNetLayout) -> Iterator[Rule]:
    """The rules for every weight of a network of convolutions.

    Args:
        a: the network.
        layout: the names of its weights in the checkpoint.
    """
    places = {f"block{i}_": block.place for i, block in enumerate(a.blocks)}
    for name, kind, unit, inputs in a.rows():
        begin = name.partition("_")[0] + "_"
        theirs = layout.block.format(*places[begin]) if begin in places else ""
        yield from _unit(layout, name, theirs, kind, unit, inputs)
    for i, block in enumerate(a.blocks):
        ours, theirs = f"block{i}_", layout.block.format(*block.place)
        if block.attention is not None:
            yield from _attention(layout, ours, theirs, block.attention)
        if block.scaled:
            gamma = ((theirs + layout.scale, (block.filters,)),)
            yield Rule(ours + "scale/kernel", gamma, lambda x: x.reshape(1, 1, -1, 1))


def _attention(layout: ConvNetLayout, ours: str, theirs: str, attention: Attention) -> Iterator[Rule]:
    names = {part: theirs + name for part, name in layout.attention.items()}
    width, filters = attention.heads * attention.width, attention.filters
    yield from _norm(ours + "norm", names["norm"], filters)
    yield from dense(ours + "query", names["query"], filters, width, bias=False)
    for part in ("key", "value"):
        if attention.kernel:
            kernel = ((names[part + "_down"] + ".weight", (filters, 1, attention.kernel, attention.kernel)),)
            yield Rule(f"{ours}{part}_down/kernel", kernel, lambda x: x.transpose(2, 3, 0, 1))
            yield from _norm(f"{ours}{part}_norm", names[part + "_norm"], filters)
        yield from dense(ours + part, names[part], filters, attention.width, bias=False)
    yield from dense(ours + "projection", names["projection"], width, filters, bias=False)


def _unit(layout: ConvNetLayout, ours: str, theirs: str, kind: str, unit: Unit, inputs: int) -> Iterator[Rule]:
    width = unit.filters or inputs
    convolution, batch = layout.pieces[kind][unit.name]
    kernel = ((f"{theirs}{convolution}.weight", (width, inputs if unit.filters else 1, unit.kernel, unit.kernel)),)
    axes = (2, 3, 1, 0) if unit.filters else (2, 3, 0, 1)
    yield Rule(f"{ours}_conv/kernel", kernel, lambda x, axes=axes: x.transpose(axes))
    yield from _norm(f"{ours}_norm", theirs + batch, width)
    if unit.squeeze:
        reduce, excite = layout.squeeze
        yield from dense(f"{ours}_reduce", theirs + reduce, width, unit.squeeze)
        yield from dense(f"{ours}_excite", theirs + excite, unit.squeeze, width)


def _norm(ours: str, theirs: str, width: int) -> Iterator[Rule]:
    """A batch norm."""
    for variable, stored in (
        ("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"), ("moving_variance", "running_var"),
    ):  # fmt: skip
        yield Rule(f"{ours}/{variable}", ((f"{theirs}.{stored}", (width,)),), same)
