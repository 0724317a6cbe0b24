"""The Keras models that phases train and runs ship: heads on features, tails with heads, the whole from pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute, heads
from transferkit.backbones import freeze
from transferkit.backbones.build import LoadedBackbone
from transferkit.backbones.cut import Parts, operations_of
from transferkit.config import Settings
from transferkit.features.row_kinds import MAP, Rows
from transferkit.training.adapting import Adapted, adapted

if TYPE_CHECKING:
    import keras


def head(
    rows: np.ndarray, label: str, outputs: int, settings: Settings, body: Callable[..., keras.Model] = heads.body
) -> keras.Model:
    """A head that has not been trained.

    Args:
        rows: a sample of features, float32 [n, …], by whose mean and deviation they are standardised where the settings
            say so.
        label: what the features are; MAP means feature maps or tokens, which the head then pools by itself (CutMix
            mixes maps, and attention pooling is trained).
        outputs: width of the logits.
        settings: kind, widths, dropout, penalties, pooling and seed.
        body: gives what stands on vectors, as `heads.body` does.

    Returns:
        Features [b, …] → logits float32 [b, outputs].
    """
    s = settings
    widths = () if s.head == "linear" else s.head_width
    kind = "mlp" if s.head == "auto" else s.head  # of what is chosen from, what is trained by gradients
    shape = heads.HeadSettings(widths, s.dropout, s.l1, s.l2, s.pooling, s.seed, kind)
    if label == MAP and s.pooling == "attention":
        # What is pooled is standardised, not what comes of it, which changes in training.
        places = rows.reshape(-1, rows.shape[-1])
        pool = heads.attention_pool(rows.shape[1:], (places.mean(0), places.std(0)) if s.normalize else None)
        return _pooling_first(pool, body(rows.shape[-1], outputs, shape))
    pool = heads.pool(rows.shape[1:], s.pooling) if label == MAP else None
    vectors = rows if pool is None else compute.forward(pool)([rows])[0]
    moments = (vectors.mean(0), vectors.std(0)) if s.normalize else None
    on_vectors = body(vectors.shape[1], outputs, shape, moments)
    return on_vectors if pool is None else _pooling_first(pool, on_vectors)


def _pooling_first(pool: keras.Model, body: keras.Model) -> keras.Model:
    import keras

    inputs = keras.Input(pool.input_shape[1:], name="feature_map")
    return keras.Model(inputs, body(pool(inputs)), name="head")


def head_on(x: Any, body: keras.Model, pooling: heads.Pooling) -> Any:
    """The logits of `body` on a backbone's output `x`, pooled first unless the body does that itself.

    Args:
        x: a tensor of the backbone's output.
        body: the head.
        pooling: how a feature map becomes a vector.

    Returns:
        A tensor [n, t].
    """
    pool = heads.pool(x.shape[1:], pooling) if len(body.input_shape) == 2 else None
    return body(x if pool is None else pool(x))


def trainee(
    shapes: list[tuple[int, ...]], tail: keras.Model | None, body: keras.Model, pooling: heads.Pooling
) -> keras.Model:
    """Tail and head in one; the layers are shared, not copied.

    Args:
        shapes: of one picture's tensors at the cut.
        tail: from these tensors to the last feature map; None where they are that already.
        body: the head.
        pooling: between the two, where the head does not pool by itself.

    Returns:
        The tensors at the cut → logits [b, t].
    """
    import keras

    inputs = [keras.Input(shape) for shape in shapes]
    x = inputs[0] if len(inputs) == 1 else inputs
    return keras.Model(inputs, head_on(x if tail is None else tail(x), body, pooling))


def tail(
    backbone: LoadedBackbone, first: int, parts: Parts, rows: Rows | None, body: keras.Model, settings: Settings
) -> tuple[keras.Model, Adapted]:
    """What a phase after the head's trains: layers from operation `first` on as `--adapt` says, and the head.

    Args:
        backbone: its layers are unfrozen and frozen accordingly.
        first: the lowest operation that is trained.
        parts: of the cut there.
        rows: what the cut gives; None where nothing is below it, and pixels are the input.
        body: the head.
        settings: how layers are adapted, and the pooling.

    Returns:
        The model that is trained, and what has to be merged afterwards.
    """
    s, network = settings, backbone.model if rows is None else parts.tail
    if network is None:  # a head alone; no policy comes to it
        return trainee(rows.shapes if rows else [], None, body, s.pooling), Adapted(backbone.model, backbone.model)
    found = adapted(backbone.model, first, network, s.adapt, s.batchnorm, s.seed)
    shapes: list[tuple[int, ...]] = [(backbone.size, backbone.size, 3)] if rows is None else rows.shapes
    above = _from_pixels(backbone, found.network) if rows is None else found.network
    return trainee(shapes, above, body, s.pooling), found


def _from_pixels(backbone: LoadedBackbone, network: keras.Model) -> keras.Model:
    """Preprocessing and network: float32 pixels 0…255 to the last feature map."""
    import keras

    inputs = keras.Input((backbone.size, backbone.size, 3), name="pixels")
    return keras.Model(inputs, network(backbone.prepared(inputs)))


def whole(backbone: LoadedBackbone, body: keras.Model, pooling: heads.Pooling) -> keras.Model:
    """What a run ships, but for the output layers.

    Args:
        backbone: the network.
        body: the head.
        pooling: how a feature map becomes a vector.

    Returns:
        uint8 pictures [n, size, size, 3] → logits [n, t].
    """
    import keras

    inputs = keras.Input((backbone.size, backbone.size, 3), dtype="uint8", name="picture")
    x = backbone.model(backbone.prepared(inputs))
    return keras.Model(inputs, head_on(x, body, pooling), name="transferkit")


def depths(backbone: LoadedBackbone) -> dict[str, float]:
    """Layer name → its distance below the top stage, 0…4: in quarters of the network, however many stages it has."""
    model, row = backbone.model, backbone.row
    names = list(row.stage_names)
    starts = [freeze.stage_start(model, row, name) for name in names]
    found = {}
    for index, operation in enumerate(operations_of(model)):
        stage = sum(start <= index for start in starts)
        found[operation.name] = 4 * (len(names) - max(stage, 1)) / max(len(names) - 1, 1)
    return found
