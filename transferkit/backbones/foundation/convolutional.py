"""ResNets, EfficientNets and MobileNets as plain data: blocks of convolutions, each with its norm. No Keras.

One form serves all three: what differs is how many convolutions a block has and of which kind, what joins its end to
its beginning, and how maps are padded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Function = Literal["", "relu", "relu6", "silu", "gelu"]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Unit:
    """A convolution without bias and its batch norm. Of no `filters` it is depthwise.

    `squeeze` is the width of a squeeze-and-excitation behind it (Hu et al. 2018), 0 for none; `averaged` a mean of two
    by two places before it, which does the halving in its stead.
    """

    name: str
    kernel: int
    filters: int = 0
    stride: int = 1
    activation: Function = ""
    squeeze: int = 0
    averaged: bool = False


@dataclass(frozen=True)
class Attention:
    """Attention of every place of a map of `filters` channels, by `heads` queries of `width` that share key and value.

    Where `kernel`, a depthwise convolution of that side halves the map that keys and values are made of, with its norm.
    """

    filters: int
    heads: int
    width: int
    kernel: int = 0

    def shapes(self, name: str) -> Shapes:
        """Shape of every weight, by "layer/variable"; `name` begins the layers'."""
        found = _batch_norm(name + "norm", self.filters)
        for part in ("key", "value") if self.kernel else ():
            found[f"{name}{part}_down/kernel"] = (self.kernel, self.kernel, self.filters, 1)
            found |= _batch_norm(f"{name}{part}_norm", self.filters)
        found |= {f"{name}{part}/kernel": (self.filters, self.width) for part in ("key", "value")}
        found[name + "query/kernel"] = (self.filters, self.heads * self.width)
        return found | {name + "projection/kernel": (self.heads * self.width, self.filters)}


@dataclass(frozen=True)
class Block:
    """`units` in a row, or `attention`. `kind` is what the publisher's tables of names call it, `place` its stage and
    number there.

    Where `skips`, its input is added to its output: as it is, or through the unit `shortcut`; then comes `activation`.
    Where `scaled`, the output has a factor for each channel before that.
    """

    kind: str
    place: tuple[int, int]
    units: tuple[Unit, ...]
    skips: bool = True
    shortcut: Unit | None = None
    activation: Function = ""
    attention: Attention | None = None
    scaled: bool = False

    @property
    def filters(self) -> int:
        """Channels of its output."""
        return self.units[-1].filters if self.attention is None else self.attention.filters


@dataclass(frozen=True)
class ConvNet:
    """Stem → blocks → top units. `pooled` is a max pooling behind the stem.

    `same` is TensorFlow's padding, which puts the odd row of zeros behind a map; PyTorch's puts as many before it.
    """

    stem: tuple[Unit, ...]
    blocks: tuple[Block, ...]
    top: tuple[Unit, ...] = ()
    pooled: bool = False
    same: bool = False
    epsilon: float = 1e-5
    step: int = 1  # any side will do
    minimum: int = 32  # five halvings

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """Stages as in a catalog row: (name, marker of the first layer)."""
        blocks = ((f"block{i}", f"block{i}_.*") for i in range(len(self.blocks)))
        return (("stem", ""), *blocks, *((("top", "top_.*"),) if self.top else ()))

    def rows(self) -> list[tuple[str, str, Unit, int]]:
        """Every unit in order: the name of its layers, the kind of block (`stem`, `top`), itself, its inputs."""
        found, width = [], 3
        for at, unit in enumerate(self.stem):
            found.append((f"stem_{unit.name}" if at else "stem", "stem", unit, width))
            width = unit.filters or width
        for i, block in enumerate(self.blocks):
            inputs = width
            for unit in block.units:
                found.append((f"block{i}_{unit.name}", block.kind, unit, width))
                width = unit.filters or width
            if block.shortcut is not None:
                found.append((f"block{i}_{block.shortcut.name}", block.kind, block.shortcut, inputs))
        for unit in self.top:
            found.append((f"top_{unit.name}", "top", unit, width))
            width = unit.filters or width
        return found

    def shapes(self, size: int) -> Shapes:
        """Shape of every weight, by "layer/variable"; pictures of any size have the same."""
        found: Shapes = {}
        for name, _, unit, inputs in self.rows():
            width = unit.filters or inputs
            found[f"{name}_conv/kernel"] = (unit.kernel, unit.kernel, inputs, unit.filters or 1)
            found |= _batch_norm(f"{name}_norm", width)
            if unit.squeeze:
                found |= {f"{name}_reduce/kernel": (width, unit.squeeze), f"{name}_reduce/bias": (unit.squeeze,)}
                found |= {f"{name}_excite/kernel": (unit.squeeze, width), f"{name}_excite/bias": (width,)}
        for i, block in enumerate(self.blocks):
            if block.attention is not None:
                found |= block.attention.shapes(f"block{i}_")
            if block.scaled:
                found[f"block{i}_scale/kernel"] = (1, 1, block.filters, 1)
        return found


def _batch_norm(name: str, width: int) -> Shapes:
    return {f"{name}/{variable}": (width,) for variable in ("gamma", "beta", "moving_mean", "moving_variance")}


def residual(kind: str, place: tuple[int, int], widths: tuple[int, int], stride: int, shortcut: str) -> Block:
    """A ResNet's block. The convolution over places has the stride, as in torchvision's form.

    Args:
        kind: "basic" or "bottleneck".
        place: numbers of stage and block in the checkpoint's names.
        widths: filters inside, and at its end.
        stride: 1 or 2.
        shortcut: what the unit of the shortcut is called; empty where the input is added as it is.
    """
    inner, outer = widths
    if kind == "bottleneck":
        units = (Unit("conv1", 1, inner, 1, "relu"), Unit("conv2", 3, inner, stride, "relu"), Unit("conv3", 1, outer))
        return Block(kind, place, units, shortcut=_shortcut(shortcut, outer, stride), activation="relu")
    pair = (Unit("conv1", 3, inner, stride, "relu"), Unit("conv2", 3, outer))
    return Block(kind, place, pair, shortcut=_shortcut(shortcut, outer, stride), activation="relu")


def _shortcut(name: str, filters: int, stride: int) -> Unit | None:
    return Unit(name, 1, filters, stride, averaged=name.startswith("mean")) if name else None
