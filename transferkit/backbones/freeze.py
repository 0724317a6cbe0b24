"""Freeze policies: which layers train. `none | all | from:STAGE | last:N | gradual`.

Frozen means frozen, under `fit` too: weights, BatchNorm statistics and Dropout of the frozen part neither
change nor fire. Only `trainable` and the rates of dropout-like layers are ever touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from transferkit.backbones.catalog import BackboneRow, known
from transferkit.backbones.cut import operations_of
from transferkit.compute import keras_private
from transferkit.errors import BackboneError, ConfigError, nearest
from transferkit.text import clipped

if TYPE_CHECKING:
    import keras

POLICIES = "none, all, from:STAGE, last:N (N is 1 or more) or gradual"
BATCHNORM = ("frozen", "train")
# Attributes by which Keras' layers fire under training although they are not trainable.
_RATES = ("rate", "stddev", "drop_path_rate")
_FIRING = re.compile(r".*(Dropout|Dropout[123]D|GaussianNoise|StochasticDepth|DropPath)$")
# The rate a layer was built with, kept while it is frozen.
_original_rates: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
# Rows of networks that are in no catalog: what was read from a published folder.
_published: WeakKeyDictionary[Any, BackboneRow] = WeakKeyDictionary()


@dataclass(frozen=True)
class Policy:
    """A parsed policy: `kind` is none, all, from, last or gradual."""

    kind: str
    stage: str = ""
    count: int = 0

    def __str__(self) -> str:
        detail = {"from": f":{self.stage}", "last": f":{self.count}"}
        return self.kind + detail.get(self.kind, "")


def parse(policy: str) -> Policy:
    """What `policy` spells. Raises ConfigError; whether the stage exists is for `problems` to say."""
    kind, colon, detail = policy.strip().partition(":")
    if kind in ("none", "all", "gradual") and not colon:
        return Policy(kind)
    if kind == "from" and detail:
        return Policy("from", stage=detail)
    if kind == "last" and detail.isascii() and detail.isdigit() and len(detail) < 10 and int(detail) > 0:
        return Policy("last", count=int(detail))
    raise ConfigError(f"unknown freeze policy '{clipped(policy)}'; allowed are {POLICIES}")


def problems(row: BackboneRow, policy: str) -> list[str]:
    """What keeps a policy from fitting a network. Never imports Keras.

    Args:
        row: the network.
        policy: as for `freeze`.

    Returns:
        Problems, each with its remedy; empty if there is none.
    """
    try:
        parsed = parse(policy)
    except ConfigError as error:
        return [str(error)]
    if parsed.kind == "from" and parsed.stage not in row.stage_names:
        hint = nearest(parsed.stage, row.stage_names)
        said = f"'{row.name}' has no stage '{clipped(parsed.stage)}'{hint}"
        return [f"{said}; its stages are {', '.join(row.stage_names)}"]
    if parsed.kind == "last" and parsed.count > row.layers:
        return [f"last:{parsed.count} is too many: '{row.name}' has {row.layers} layers with weights; use `all`"]
    return []


def first_trainable(model: keras.Model, row: BackboneRow, policy: str) -> int:
    """Where what trains begins.

    Args:
        model: the network.
        row: its stages.
        policy: as for `freeze`. For `gradual` the first step counts, the top stage.

    Returns:
        Index in `model.operations`: their number if none is to train, 0 for `all` and for `from:` the lowest stage.

    Raises:
        ConfigError, BackboneError: the policy does not fit.
    """
    found = problems(row, policy)
    if found:
        raise BackboneError(found[0])
    parsed, operations = parse(policy), operations_of(model)
    if parsed.kind == "none":
        return len(operations)
    if parsed.kind == "all":
        return 0
    if parsed.kind == "last":
        return _last(operations, parsed.count)
    stage = parsed.stage if parsed.kind == "from" else row.stage_names[-1]
    return stage_start(model, row, stage)


def stage_start(model: keras.Model, row: BackboneRow, stage: str) -> int:
    """Index in `model.operations` where a stage begins.

    Args:
        model: the network.
        row: its stages.
        stage: one of them.

    Raises:
        BackboneError: the model lacks it.
    """
    marker = dict(row.stages)[stage]
    if not marker:
        return 0
    names = [operation.name for operation in operations_of(model)]
    if marker.startswith(">") and marker[1:] in names:
        return names.index(marker[1:]) + 1
    for index, name in enumerate(names):
        if re.fullmatch(marker, name):
            return index
    raise BackboneError(f"'{model.name}' lacks the layer that begins stage '{stage}' of '{row.name}' ({marker})")


def gradual_steps(row: BackboneRow) -> list[str]:
    """The policies of gradual unfreezing in order, from the top stage down (ULMFiT, Howard & Ruder 2018)."""
    return [f"from:{stage}" for stage in reversed(row.stage_names)]


def top_policy(row: BackboneRow) -> str | None:
    """The policy that trains the top of a network: its uppermost stage, with the one below where it is a mere last
    convolution, or the last two layers of a network whose stages are not known; None where no layer has weights."""
    names = row.stage_names
    if row.kind == "file" or not names:
        return f"last:{min(2, row.layers)}" if row.layers else None
    return f"from:{names[-2] if names[-1] == 'top' and len(names) > 1 else names[-1]}"


def freeze(model: keras.Model, policy: str, batchnorm: str = "frozen", row: BackboneRow | None = None) -> keras.Model:
    """Set what of a network trains, in place. Compile again afterwards: Keras keeps the old choice else.

    Args:
        model: the network.
        policy: "none", "all", "from:STAGE", "last:N" (layers with weights) or "gradual".
        batchnorm: "frozen" keeps all BatchNorm layers on their stored statistics, "train" lets those of the trainable
            part learn.
        row: the network's stages, by default found by the model's name; a model of one's own has its layer names as
            stages.

    Returns:
        `model`.

    Raises:
        ConfigError, BackboneError: policy or batchnorm are not known or do not fit.
    """
    if batchnorm not in BATCHNORM:
        raise ConfigError(f"unknown batchnorm '{batchnorm}'; allowed are {' or '.join(BATCHNORM)}")
    row = row or row_of(model)
    return freeze_at(model, first_trainable(model, row, policy), batchnorm)


def freeze_at(model: keras.Model, first: int, batchnorm: str = "frozen") -> keras.Model:
    """`freeze` with the cut given as an index in `model.operations`.

    Args:
        model: the network.
        first: index of the first operation that trains; their number for none.
        batchnorm: as for `freeze`.

    Returns:
        `model`.
    """
    import keras

    operations = operations_of(model)
    model.trainable = first < len(operations)  # reaches every layer, so it comes before the exceptions
    for index, layer in enumerate(operations):
        if not isinstance(layer, keras.Layer):
            continue  # plain operations such as the sum of a residual block have no state
        layer.trainable = index >= first
        for inner in _leaves([layer]):
            _set_rate(inner, active=index >= first)
    if batchnorm == "frozen":
        for layer in _leaves(operations):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    return model


def remember(model: keras.Model, row: BackboneRow) -> None:
    """Let `known_row` find the row of this very model.

    Args:
        model: built outside the catalog.
        row: what it is.
    """
    _published[model] = row


def known_row(model: keras.Model) -> BackboneRow | None:
    """The row that `remember` was told, else the catalog's of the model's name; None where there is none."""
    return _published.get(model) or known(model.name)


def row_of(model: keras.Model) -> BackboneRow:
    """The row of a network that `build` made, else a row whose stages are the model's layers."""
    row = known_row(model)
    if row is not None and _weighted_count(operations_of(model)) == row.layers:
        return row
    return row_of_file(model)


def row_of_file(model: keras.Model) -> BackboneRow:
    """The row of a network that is not the catalog's, even where its file has the name of one that is."""
    operations = operations_of(model)
    size = next((n for n in model.input_shape[1:3] if n), 0) if len(model.inputs) == 1 else 0
    names = [operation.name for operation in operations]
    return BackboneRow(
        name=model.name,
        constructor="",
        size=size,
        minimum=1,
        scaling="none",
        stages=(("input", ""), *((name, re.escape(name)) for name in names[1:])),
        parameters=sum(_size(w) for w in model.weights),
        layers=_weighted_count(operations),
        kind="file",
    )


def describe(model: keras.Model) -> dict[str, int]:
    """Numbers of parameters: total, trainable, frozen (moving statistics are always among the frozen)."""
    trainable = sum(_size(weight) for weight in model.trainable_weights)
    total = sum(_size(weight) for weight in model.weights)
    return {"total": total, "trainable": trainable, "frozen": total - trainable}


def is_counted(layer: Any) -> bool:
    """Whether `last:N` counts this operation: it has weights and is no BatchNorm or input scaling."""
    import keras

    fixed = (keras.layers.BatchNormalization, keras.layers.Normalization)
    return isinstance(layer, keras.Layer) and bool(layer.weights) and not isinstance(layer, fixed)


def _weighted_count(operations: Iterable[Any]) -> int:
    return sum(is_counted(operation) for operation in operations)


def _last(operations: list[Any], count: int) -> int:
    weighted = [index for index, operation in enumerate(operations) if is_counted(operation)]
    if count > len(weighted):
        raise BackboneError(f"last:{count} is too many: the network has {len(weighted)} layers with weights")
    return weighted[-count]


def _leaves(layers: Iterable[Any]) -> Iterable[Any]:
    """Every layer inside `layers`, themselves included, through nested models and wrappers."""
    import keras

    for layer in layers:
        if isinstance(layer, keras.Layer):
            yield from keras_private.all_layers(layer)


def _set_rate(layer: Any, *, active: bool) -> None:
    """Switch a dropout-like layer off, or back to its own rate: it fires even where not trainable."""
    if not _FIRING.match(type(layer).__name__):
        return
    name = next((n for n in _RATES if hasattr(layer, n)), None)
    if name is None:
        return
    if active and layer in _original_rates:
        setattr(layer, name, _original_rates.pop(layer))
    elif not active and getattr(layer, name) > 0:
        _original_rates[layer] = getattr(layer, name)
        setattr(layer, name, 0.0)


def _size(weight: Any) -> int:
    size = 1
    for n in weight.shape:
        size *= n
    return size
