"""A checkpoint's tensors as the weights of our graphs: found by name, compared by shape, only then read and turned.

What the checkpoint has and the network has no place for is an error too: it would be another network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from transferkit.backbones.foundation.architecture import Architecture, ConvNeXt, Swin, Transformer
from transferkit.backbones.foundation.checkpoint_files import Tensors
from transferkit.backbones.foundation.convnet_layouts import ConvNetLayout
from transferkit.backbones.foundation.convnet_rules import convnet
from transferkit.backbones.foundation.pooler_rules import pooler
from transferkit.backbones.foundation.positions import resampled
from transferkit.backbones.foundation.swin_rules import swin
from transferkit.backbones.foundation.weight_names import ConvNeXtLayout, Layout, SwinLayout, TransformerLayout
from transferkit.backbones.foundation.weight_rules import (
    Rule,
    Shape,
    convolution,
    dense,
    norm,
    parts,
    projections,
    same,
)
from transferkit.errors import WeightsError
from transferkit.text import shown


class Conversion:
    """The rules from one checkpoint to one architecture at one picture size, checked against the checkpoint."""

    def __init__(self, architecture: Architecture, layout: Layout, tensors: Tensors, size: int, path: Path) -> None:
        """Raises WeightsError for tensors that are missing, left over, or of another shape; reads none."""
        self._tensors, self._path = tensors, path
        self._root = _root(layout, tensors, path)
        try:
            if isinstance(architecture, Transformer):
                assert isinstance(layout, TransformerLayout)
                self._rules = list(_transformer(architecture, layout, self._stored, size))
            elif isinstance(architecture, ConvNeXt):
                assert isinstance(layout, ConvNeXtLayout)
                self._rules = list(_convnext(architecture, layout))
            elif isinstance(architecture, Swin):
                assert isinstance(layout, SwinLayout)
                self._rules = list(swin(architecture, layout, size))
            else:
                assert isinstance(layout, ConvNetLayout)
                self._rules = list(convnet(architecture, layout))
        except WeightsError as error:
            raise WeightsError(f"{path} does not fit its config: {error}") from error
        self._check(layout.unused, layout.unused_ends if isinstance(layout, SwinLayout | ConvNetLayout) else ())

    def values(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each weight's "layer/variable" and its float32 values, one after the other. Raises WeightsError for NaN."""
        for rule in self._rules:
            sources = [
                self._tensors.read(self._root + name).astype(np.float32).reshape(shape) for name, shape in rule.sources
            ]
            value = np.ascontiguousarray(rule.convert(*sources), dtype=np.float32)
            if not np.isfinite(value).all():
                raise WeightsError(f"{self._path}: {shown(rule.sources[0][0])} holds numbers that are not finite")
            yield rule.key, value

    def _stored(self, name: str) -> Shape | None:
        return self._tensors.shapes.get(self._root + name)

    def _check(self, unused: tuple[str, ...], ends: tuple[str, ...]) -> None:
        wanted = {name: shape for rule in self._rules for name, shape in rule.sources}
        for name, shape in wanted.items():
            found = self._stored(name)
            if found is None:
                missing = [other for other in wanted if self._stored(other) is None]
                raise WeightsError(f"{self._path} does not fit its config: it lacks {_some(missing)}")
            if _plain(found) != _plain(shape):
                raise WeightsError(
                    f"{self._path} does not fit its config: {shown(name)} is {_say(found)}, the config asks for "
                    f"{_say(shape)}"
                )
        begin = len(self._root)
        inside = [name[begin:] for name in self._tensors.shapes if name.startswith(self._root)]
        left = [
            name for name in inside if name not in wanted and not name.startswith(unused) and not name.endswith(ends)
        ]
        if left and self._root == "":
            left = [name for name in left if not name.startswith(("classifier.", "text_model.", "logit_"))]
        if left:
            raise WeightsError(
                f"{self._path} holds {len(left)} tensors that its config gives no place: {_some(left)}. It is another "
                "network than the config says"
            )


def _root(layout: Layout, tensors: Tensors, path: Path) -> str:
    """What comes before the names of the table: `vit.`, `vision_model.`… where the network is part of a larger one."""
    first = layout.patch if isinstance(layout, TransformerLayout) else layout.stem_conv
    end = f"{first}.weight"
    if isinstance(layout, ConvNetLayout) and end in tensors.shapes:
        return ""  # a ResNet's blocks have a conv1, too
    roots = [name[: -len(end)] for name in tensors.shapes if name == end or name.endswith("." + end)]
    if len(roots) != 1:
        raise WeightsError(
            f"{path} does not fit its config: {'no tensor' if not roots else 'more than one tensor'} is called {end}"
        )
    return roots[0]


def _transformer(
    a: Transformer, layout: TransformerLayout, stored: Callable[[str], Shape | None], size: int
) -> Iterator[Rule]:
    yield _patches(a, layout, stored)
    yield _embedding(a, layout, stored, size)
    if a.norm_first:
        yield from norm("embedding_norm", layout.embedding_norm, a.width)
    for i in range(a.depth):
        yield from _block(a, layout, i)
    yield from norm("norm", layout.norm, a.width)
    if a.pooler:
        assert layout.pooler is not None
        yield from pooler(a, layout.pooler)


def _block(a: Transformer, layout: TransformerLayout, number: int) -> Iterator[Rule]:
    ours, theirs, pieces = f"block{number}_", layout.block.format(number), layout.pieces
    w, h = a.width, a.hidden
    yield from norm(ours + "norm1", theirs + pieces["norm1"], w)
    yield from projections((ours, theirs), pieces, layout.qkv, w, a.biases)
    yield from dense(ours + "projection", theirs + pieces["projection"], w, w)
    yield from norm(ours + "norm2", theirs + pieces["norm2"], w)
    if a.gated and layout.packed:
        yield from parts([ours + "gate", ours + "expand"], theirs + layout.packed, w, h, (True, True))
    else:
        if a.gated:
            yield from dense(ours + "gate", theirs + pieces["gate"], w, h)
        yield from dense(ours + "expand", theirs + pieces["expand"], w, h)
    yield from dense(ours + "contract", theirs + pieces["contract"], h, w)
    for name in ("scale1", "scale2") if a.layer_scale else ():
        yield Rule(f"{ours}{name}/kernel", ((theirs + pieces[name], (w,)),), lambda x: x.reshape(1, -1, 1))


def _patches(a: Transformer, layout: TransformerLayout, stored: Callable[[str], Shape | None]) -> Rule:
    """The convolution over patches as a product: rows, columns and channels of a patch in one axis."""
    name, p, w = layout.patch + ".weight", a.patch, a.width
    if len(stored(name) or ()) == 2:  # SigLIP 2 for any aspect: a product already
        return Rule("embedding/kernel", ((name, (w, 3 * p * p)),), np.transpose)
    return Rule("embedding/kernel", ((name, (w, 3, p, p)),), lambda x: x.transpose(2, 3, 1, 0).reshape(-1, w))


def _embedding(a: Transformer, layout: TransformerLayout, stored: Callable[[str], Shape | None], size: int) -> Rule:
    """The bias of every token: the class token and registers as they are, of patches the convolution's; positions."""
    tokens = [name for name in layout.tokens if stored(name) is not None]
    sources: list[tuple[str, Shape]] = []
    for name in tokens:
        shape = stored(name) or ()
        sources.append((name, (math.prod(shape) // a.width if a.width else 0, a.width)))
    held = sum(shape[0] for _, shape in sources)
    if held != a.prefix:
        names = ", ".join(layout.tokens[: 1 + (a.prefix > 1)])
        raise WeightsError(
            f"it has {held} of the {a.prefix} tokens before those of the patches" + (f" ({names})" if names else "")
        )
    # CLIP's patches have none: a norm comes right behind them.
    has_bias = not a.norm_first or stored(layout.patch + ".bias") is not None
    sources += [(layout.patch + ".bias", (a.width,))] if has_bias else []
    rows = _rows(stored(layout.positions) if layout.positions else None)
    if layout.positions and not a.grid**2 <= rows <= a.grid**2 + a.prefix:
        raise WeightsError(
            f"{layout.positions} has {rows} rows; for {a.grid}×{a.grid} patches and {a.prefix} tokens before them the "
            f"config asks for {a.grid**2} to {a.grid**2 + a.prefix}"
        )
    sources += [(layout.positions, (rows, a.width))] if rows else []

    def convert(*arrays: np.ndarray) -> np.ndarray:
        prefix = np.concatenate([np.zeros((0, a.width), np.float32), *arrays[: len(tokens)]])
        rest = list(arrays[len(tokens) :])
        bias = rest.pop(0) if has_bias else np.zeros(a.width, np.float32)
        side = size // a.patch
        patches = np.tile(bias, (side * side, 1))
        if rest:
            table, own = rest[0], rows - a.grid**2  # of the prefix, only the first have positions of their own
            prefix = prefix + np.pad(table[:own], ((0, len(prefix) - own), (0, 0)))
            grid = resampled(table[own:].reshape(a.grid, a.grid, a.width), side, a.resampling, a.offset)
            patches = patches + grid.reshape(-1, a.width)
        return np.concatenate([prefix, patches])

    return Rule("embedding/bias", tuple(sources), convert)


def _convnext(a: ConvNeXt, layout: ConvNeXtLayout) -> Iterator[Rule]:
    w, p = a.widths[0], a.first
    yield from convolution("stem_conv", layout.stem_conv, (w, 3, p, p))
    yield from norm("stem_norm", layout.stem_norm, w)
    places = [(stage, at) for stage, depth in enumerate(a.depths) for at in range(depth)]
    for i, ((width, down), (stage, at)) in enumerate(zip(a.blocks, places, strict=True)):
        ours, theirs, pieces = f"block{i}_", layout.block.format(stage, at), layout.pieces
        if down:
            yield from norm(ours + "down_norm", layout.down_norm.format(stage), w)
            yield from convolution(ours + "down_conv", layout.down_conv.format(stage), (width, w, 2, 2))
        w = width
        depthwise = theirs + pieces["depthwise"]
        yield Rule(
            ours + "depthwise/kernel", ((depthwise + ".weight", (w, 1, 7, 7)),), lambda x: x.transpose(2, 3, 0, 1)
        )
        yield Rule(ours + "depthwise/bias", ((depthwise + ".bias", (w,)),), same)
        yield from norm(ours + "norm", theirs + pieces["norm"], w)
        yield from dense(ours + "expand", theirs + pieces["expand"], w, 4 * w)
        if a.response_norm:
            response = theirs + pieces["response"]
            kernel = ((response + ".weight", (4 * w,)),)
            yield Rule(ours + "response/kernel", kernel, lambda x: x.reshape(1, 1, -1, 1))
            yield Rule(ours + "response/bias", ((response + ".bias", (4 * w,)),), same)
        yield from dense(ours + "contract", theirs + pieces["contract"], 4 * w, w)
        if a.layer_scale:
            yield Rule(ours + "scale/kernel", ((theirs + pieces["scale"], (w,)),), lambda x: x.reshape(1, 1, -1, 1))


def _rows(shape: Shape | None) -> int:
    """Positions in a table [1, n, width] or [n, width]."""
    return shape[-2] if shape is not None and len(shape) >= 2 else 0


def _plain(shape: Shape) -> Shape:
    return tuple(side for side in shape if side != 1)


def _say(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "a number"


def _some(names: list[str]) -> str:
    return ", ".join(shown(name[:80]) for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
