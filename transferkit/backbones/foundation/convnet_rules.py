"""The weights of a ResNet, EfficientNet or MobileNet from a checkpoint's."""

from __future__ import annotations

from collections.abc import Iterator

from transferkit.backbones.foundation.convnet_layouts import ConvNetLayout
from transferkit.backbones.foundation.convolutional import ConvNet, Unit
from transferkit.backbones.foundation.rules import Rule, dense, same


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


def _unit(layout: ConvNetLayout, ours: str, theirs: str, kind: str, unit: Unit, inputs: int) -> Iterator[Rule]:
    width = unit.filters or inputs
    convolution, batch = layout.pieces[kind][unit.name]
    kernel = ((f"{theirs}{convolution}.weight", (width, inputs if unit.filters else 1, unit.kernel, unit.kernel)),)
    axes = (2, 3, 1, 0) if unit.filters else (2, 3, 0, 1)
    yield Rule(f"{ours}_conv/kernel", kernel, lambda x, axes=axes: x.transpose(axes))
    for variable, stored in (
        ("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"), ("moving_variance", "running_var"),
    ):  # fmt: skip
        yield Rule(f"{ours}_norm/{variable}", ((f"{theirs}{batch}.{stored}", (width,)),), same)
    if unit.squeeze:
        reduce, excite = layout.squeeze
        yield from dense(f"{ours}_reduce", theirs + reduce, width, unit.squeeze)
        yield from dense(f"{ours}_excite", theirs + excite, unit.squeeze, width)
