"""Vectors from several depths of a network at once: what lower layers know costs nothing more, and is often missed.

Linear probes of all depths together beat the last layer alone on most tasks far from ImageNet (Head2Toe: Evci et al.
2022). Taps are where the network's stages end, which the catalog's rows name and a file's graph shows, and where its
inverted residual blocks do (`blocks`), with the wide maps inside those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from transferkit.backbones import freeze
from transferkit.backbones.build import LoadedBackbone
from transferkit.backbones.cut import calls_of, frontier
from transferkit.compute.types import flat
from transferkit.features.blocks import InvertedResidual, inverted_residuals
from transferkit.heads import has_class_token

if TYPE_CHECKING:
    import keras

MOST = 16  # taps; of more stages the uppermost are taken
MOST_BLOCKS = 32  # taps where each block is one; in deeper networks only stages are
SMALL = 8  # pixels to a position of an expanded map that is tapped: larger maps take long to pool, and bring no more
WIDEST = 8192  # numbers in a row: wider ones are kept in 16 bits (features.store), and gain little
Ends = dict[str, tuple[Any, ...]]  # a stage or block → the tensors that it gives


@dataclass(frozen=True)
class Tap:
    """Columns `start:stop` of a tapped row: the `statistic` ("mean" or "std" over positions, or "cls", the class token)
    of what stage or block `stage` gives."""

    stage: str
    statistic: str
    start: int
    stop: int


@dataclass(frozen=True)
class Taps:
    """Where vectors are taken. `tensors` are those of `backbone.model`'s own graph, a few a stage; `deviations` says of
    each stage whether it gives those beside means.

    `patches` is 0 but for a network with a class token: then of its tokens the last `patches` are patches, and each
    stage gives their mean and the class token; registers are left out.
    """

    names: tuple[str, ...]
    tensors: tuple[tuple[Any, ...], ...]
    deviations: tuple[bool, ...]
    patches: int = 0

    def columns(self) -> list[Tap]:
        """Where each vector lies in a row, from the lowest stage to the last."""
        found, at = [], 0
        for name, tensors, deviations in zip(self.names, self.tensors, self.deviations, strict=True):
            width = sum(int(t.shape[-1]) for t in tensors)
            for statistic in self._statistics(tensors, deviations):
                found.append(Tap(name, statistic, at, at + width))
                at += width
        return found

    def _statistics(self, tensors: tuple[Any, ...], deviations: bool) -> tuple[str, ...]:
        if self.patches and all(len(t.shape) == 3 for t in tensors):
            return "cls", "mean"  # as --pooling cls+mean has them
        spatial = any(len(t.shape) > 2 for t in tensors)
        return ("mean", "std") if deviations and spatial else ("mean",)

    def sets(self) -> dict[str, tuple[int, int]]:
        """Sets of features to choose from, as ranges of columns: the last stage's mean (and class token), the upper
        third, all."""
        columns = self.columns()
        last = next(tap for tap in columns if tap.stage == self.names[-1])
        upper = self.names[-max(1, len(self.names) // 3)]
        top = next(tap for tap in columns if tap.stage == upper)
        end = columns[-1].stop if self.patches else last.stop
        return {"last": (last.start, end), "top": (top.start, columns[-1].stop), "all": (0, columns[-1].stop)}


def taps(backbone: LoadedBackbone) -> Taps:
    """The taps of a network: the ends of its stages and of its inverted residual blocks, and its output; and what those
    blocks expand, from the lowest up, while there is room."""
    model = backbone.model
    stages, blocks, output = _stages(backbone), inverted_residuals(model), tuple(model.outputs)
    names = backbone.row.stage_names
    last = names[-1] if names else "output"
    tokens = tuple(model.output_shape[1:])
    patches = tokens[0] - 1 if has_class_token(tokens) else 0

    def made(ends: Ends) -> Taps:
        # The output of inverted residuals is several times as wide as what it is computed from: deviations of all of it
        # would outweigh whatever lower depths say.
        deviations = (*(True for _ in ends), not blocks)
        return Taps((*ends, last), (*ends.values(), output), deviations, patches)

    # Each layer of a file counts as a stage: the uppermost of these know less than all of its blocks.
    ends = [(block.name, block.end) for block in blocks]
    finer = _joined(model, {} if backbone.row.kind == "file" else stages, ends)
    if blocks and _room(made(finer)):
        for block in blocks:
            if _small(block, backbone.size) and _room(made(wider := _joined(model, finer, [_expanded(block)]))):
                finer = wider
        return made(finer)
    found = made(dict(list(stages.items())[1 - MOST :]))
    return found if _fits(found) else _narrower(found)


def _stages(backbone: LoadedBackbone) -> Ends:
    """What each stage but the last gives, from the lowest on."""
    model, row = backbone.model, backbone.row
    found: Ends = {}
    for name, after in zip(row.stage_names, row.stage_names[1:], strict=False):
        crossing = frontier(model, freeze.stage_start(model, row, after))
        usable = tuple(t for t in crossing if len(t.shape) in (2, 3, 4) and "float" in str(t.dtype))
        if usable and not any(_same(usable, known) for known in found.values()):
            found[name] = usable
    return found


def _small(block: InvertedResidual, size: int) -> bool:
    return block.expanded.shape[1] is not None and int(block.expanded.shape[1]) <= -(-size // SMALL)


def _expanded(block: InvertedResidual) -> tuple[str, Any]:
    return f"{block.name}_expanded", block.expanded


def _room(found: Taps) -> bool:
    return len(found.names) <= MOST_BLOCKS and _fits(found)


def _joined(model: keras.Model, known: Ends, more: Sequence[tuple[str, Any]]) -> Ends:
    """What is known and more, in the order in which it is computed."""
    found = dict(known)
    for name, tensor in more:
        if name not in found and not any(_same((tensor,), known) for known in found.values()):
            found[name] = (tensor,)
    order = {id(t): place for place, node in enumerate(calls_of(model)) for t in node.output_tensors}
    return dict(sorted(found.items(), key=lambda end: max(order[id(t)] for t in end[1])))


def _same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


def _fits(found: Taps) -> bool:
    return found.columns()[-1].stop <= WIDEST


def _narrower(found: Taps) -> Taps:
    """Without deviations; then without the lowest stages, until a row is no wider than `WIDEST`."""
    found = replace(found, deviations=(False,) * len(found.names))
    while len(found.names) > 1 and not _fits(found):
        found = replace(found, names=found.names[1:], tensors=found.tensors[1:], deviations=found.deviations[1:])
    return found


def tapped(backbone: LoadedBackbone, found: Taps, inputs: Any, columns: tuple[int, int] | None = None) -> Any:
    """The tensor of tapped rows on `inputs`.

    Args:
        backbone: the network.
        found: where it is tapped.
        inputs: pictures [n, size, size, 3] as the network's preprocessing takes them.
        columns: limits the rows to a range that begins and ends where taps do: what is not used is then not computed.

    Returns:
        float32 [n, D].
    """
    return _tapped(backbone, found, inputs, columns)[-1]


def _tapped(
    backbone: LoadedBackbone, found: Taps, inputs: Any, columns: tuple[int, int] | None, also: Sequence[Any] = ()
) -> list[Any]:
    """`also`, tensors of the network's own graph, as they come of `inputs`; and last the tapped rows."""
    import keras

    x = backbone.prepared(inputs)
    wanted = [tap for tap in found.columns() if columns is None or columns[0] <= tap.start < columns[1]]
    stages = [name for name in found.names if any(tap.stage == name for tap in wanted)]
    tensors = [*also, *(t for name in stages for t in found.tensors[found.names.index(name)])]
    model = backbone.model
    if len(tensors) == 1 and tensors[0] is model.outputs[0]:
        given = [model(x)]
    else:
        given = list(flat(keras.Model(model.inputs, tensors, name=f"{model.name}_taps")(x)))
    beside = [given.pop(0) for _ in also]
    by_stage: dict[str, list[Any]] = {}
    for name in stages:
        by_stage[name] = [given.pop(0) for _ in found.tensors[found.names.index(name)]]
    vectors = [_statistic(t, tap.statistic, f"{tap.stage}_{tap.statistic}_{i}", found.patches)
               for tap in wanted for i, t in enumerate(by_stage[tap.stage])]  # fmt: skip
    row = vectors[0] if len(vectors) == 1 else keras.layers.Concatenate(dtype="float32", name="taps")(vectors)
    return [*beside, row]


def _statistic(x: Any, statistic: str, name: str, patches: int) -> Any:
    """Mean or standard deviation over positions, or the class token, in float32; a vector as it is."""
    import keras

    if len(x.shape) == 2:
        return keras.layers.Activation("linear", dtype="float32", name=name)(x)
    if patches and len(x.shape) == 3:
        prefix = x.shape[1] - patches
        kept = (0, x.shape[1] - 1) if statistic == "cls" else (prefix, 0)
        x = keras.layers.Cropping1D(kept, name=f"{name}_tokens")(x)
        return keras.layers.GlobalAveragePooling1D(dtype="float32", name=name)(x)
    axes = tuple(range(1, len(x.shape) - 1))
    if statistic == "mean":
        pool = keras.layers.GlobalAveragePooling2D if len(axes) == 2 else keras.layers.GlobalAveragePooling1D
        return pool(dtype="float32", name=name)(x)
    x = keras.ops.cast(x, "float32")
    # The floor keeps the root's slope finite where a channel is the same everywhere.
    return keras.ops.sqrt(keras.ops.var(x, axis=axes) + 1e-12)


def last_layer(found: Taps, output: Any) -> Any:
    """The tensor of those columns of tapped rows that are of the last layer.

    Args:
        found: where the network is tapped.
        output: the tensor of its output.

    Returns:
        float32 [n, d].
    """
    import keras

    statistics = ("cls", "mean") if found.patches and len(output.shape) == 3 else ("mean",)
    vectors = [_statistic(output, one, f"last_layer_{one}", found.patches) for one in statistics]
    return vectors[0] if len(vectors) == 1 else keras.layers.Concatenate(dtype="float32")(vectors)


def tapping_model(backbone: LoadedBackbone, found: Taps, also: Sequence[Any] = ()) -> keras.Model:
    """A model from pictures to tapped rows.

    Args:
        backbone: the network.
        found: where it is tapped.
        also: tensors of the network's own graph, which are given before the rows.

    Returns:
        uint8 [n, size, size, 3] → float32 [n, D], or with `also` a list that ends with it.
    """
    import keras

    inputs = keras.Input((backbone.size, backbone.size, 3), dtype="uint8", name="pixels")
    outputs = _tapped(backbone, found, inputs, None, also)
    return keras.Model(inputs, outputs if also else outputs[0])
