"""The kinds of rows that a backbone gives, each as one network from uint8 pictures: pooled, at a cut, tapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transferkit import heads
from transferkit.backbones.build import LoadedBackbone
from transferkit.backbones.cut import Parts, cut
from transferkit.config import Settings
from transferkit.errors import ConfigError
from transferkit.features.number_formats import width_of
from transferkit.features.store import FeatureSet
from transferkit.features.structure import structure
from transferkit.features.taps import Taps, tapping_model, taps

if TYPE_CHECKING:
    import keras

MAP = "map"  # the label of rows that are the backbone's output itself


@dataclass
class Rows:
    """One kind of row: the pooled features (`label` "pooled:avg") or the activations at a cut ("cut:17")."""

    label: str
    model: keras.Model
    shapes: list[tuple[int, ...]]
    features: FeatureSet | None = None
    tail: keras.Model | None = None  # of a cut: from these rows to the backbone's output
    ends: Sequence[Any] = ()  # of a cut: its tensors in the backbone's own graph
    taps: Taps | None = None  # of tapped rows
    _structure: str = ""

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return width_of(self.shapes)

    def structure(self) -> str:
        """How all that computes these rows is put together, from the pixels on."""
        self._structure = self._structure or structure(self.model)
        return self._structure


def pooled(backbone: LoadedBackbone, settings: Settings) -> Rows:
    """The backbone's output, pooled as the head wants it (a map for `flatten` keeps its numbers, in a row).

    Args:
        backbone: the whole network.
        settings: `pooling`, and `cutmix`, which wants the map itself.

    Raises:
        ConfigError: CutMix, and the output is no map.
    """
    inputs = _pixels(backbone)
    x = backbone.model(backbone.prepared(inputs))
    # CutMix pastes rectangles, so it needs the map itself.
    if settings.cutmix:
        _require_map(backbone, [x.shape])
        return _rows(MAP, _model(inputs, x))
    if settings.pooling == "attention" and len(x.shape) > 2:  # it is trained, so the head does it
        return _rows(MAP, _model(inputs, x))
    pool = heads.pool(x.shape[1:], settings.pooling)
    return _rows(f"pooled:{settings.pooling}", _model(inputs, x if pool is None else pool(x)))


def at(backbone: LoadedBackbone, settings: Settings, first: int) -> tuple[Parts, Rows | None]:
    """The parts of a cut, and its rows.

    Args:
        backbone: the whole network.
        settings: `cutmix`, which wants a map.
        first: number of the first operation above the cut.

    Returns:
        No rows where nothing is frozen: pixels are the input.

    Raises:
        ConfigError: CutMix, and there is no map at the cut.
    """
    parts = cut(backbone.model, first)
    if parts.frozen is None:
        return parts, None
    inputs = _pixels(backbone)
    rows = _rows(f"cut:{first}", _model(inputs, parts.frozen(backbone.prepared(inputs))))
    if settings.cutmix:
        _require_map(backbone, [tensor.shape for tensor in rows.model.outputs])
    rows.tail, rows.ends = parts.tail, tuple(parts.frozen.outputs)
    return parts, rows


def tapped(backbone: LoadedBackbone) -> tuple[Taps, Rows]:
    """Vectors from several depths, in one row of one pass."""
    found = taps(backbone)
    columns = "+".join(f"{tap.stage}.{tap.statistic}" for tap in found.columns())
    rows = _rows(f"taps:{columns}", tapping_model(backbone, found))
    rows.taps = found
    return found, rows


def together(backbone: LoadedBackbone, settings: Settings, kinds: Sequence[Rows]) -> keras.Model:
    """One model with the outputs of all kinds, in order.

    Nothing runs twice: pooled rows grow on the cut's, and tapped ones share their graph.

    Args:
        backbone: what the rows are of.
        settings: `pooling`.
        kinds: one; or those of a cut, and then pooled or tapped ones.
    """
    if len(kinds) == 1:
        return kinds[0].model
    lower, upper = kinds
    if upper.taps is not None:
        return tapping_model(backbone, upper.taps, lower.ends)
    assert lower.tail is not None
    inputs = _pixels(backbone)
    below = lower.model(inputs)
    top = lower.tail(below)
    pool = heads.pool(top.shape[1:], settings.pooling) if upper.label != MAP else None
    outputs = [*(below if isinstance(below, list) else [below]), top if pool is None else pool(top)]
    return _model(inputs, outputs)


def _require_map(backbone: LoadedBackbone, shapes: Sequence[Any]) -> None:
    if not any(len(shape) == 4 and shape[1] * shape[2] > 1 for shape in shapes):
        raise ConfigError(
            f"--cutmix needs a feature map of more than one place, and {backbone.row.name} has none there "
            f"with pictures of {backbone.size} pixels; use --mixup"
        )


def _pixels(backbone: LoadedBackbone) -> Any:
    import keras

    return keras.Input((backbone.size, backbone.size, 3), dtype="uint8", name="pixels")


def _model(inputs: Any, outputs: Any) -> keras.Model:
    import keras

    return keras.Model(inputs, outputs)


def _rows(label: str, model: keras.Model) -> Rows:
    return Rows(label, model, [tuple(t.shape[1:]) for t in model.outputs])
