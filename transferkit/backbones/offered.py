"""Backbones that plugins offer: built by their code, then held to what their row says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transferkit import plugins
from transferkit.backbones import freeze, portability
from transferkit.backbones.catalog import BackboneRow
from transferkit.errors import BackboneError, ConfigError, TransferKitError, WeightsError

if TYPE_CHECKING:
    import keras


def has_weights(row: BackboneRow) -> bool:
    """Whether the plugin brings pretrained weights."""
    return _record(row).load is not None


def build(row: BackboneRow, size: int) -> keras.Model:
    """A plugin's network.

    Args:
        row: of the plugin.
        size: pixels a side.

    Raises:
        BackboneError: it cannot be built, or is not as said; the plugin is named.
    """
    import keras

    try:
        model = _record(row).build(size)
    except TransferKitError:
        raise
    except Exception as error:  # the plugin's code, or what Keras says of it
        raise BackboneError(str(_broken(row, f"cannot be built for {size} pixels", error))) from error
    if not isinstance(model, keras.Model) or len(getattr(model, "outputs", None) or ()) != 1:
        raise BackboneError(f"{row.plugin} builds a {type(model).__name__}; it must be a functional keras.Model")
    expected = (None, size, size, 3)
    if len(model.inputs) != 1 or tuple(model.inputs[0].shape) != expected:
        shapes = ", ".join(str(tuple(t.shape)) for t in model.inputs)
        raise BackboneError(f"{row.plugin} takes {shapes}; it must take {expected}")
    problem = portability.foreign(model)
    if problem:
        raise BackboneError(f"{row.plugin} {problem}")
    _as_said(row, model)
    return model


def _as_said(row: BackboneRow, model: keras.Model) -> None:
    """`last:N` and the stages are checked by the row before a network is built, so the row has to be right."""
    counted = sum(freeze.is_counted(operation) for operation in model.operations)
    for what, said, found in (
        ("layers with weights", row.layers, counted), ("parameters", row.parameters, model.count_params()),
    ):  # fmt: skip
        if said != found:
            raise BackboneError(f"{row.plugin} says {said} {what}, its network has {found}; tell its author")
    for stage in row.stage_names:
        try:
            freeze.stage_start(model, row, stage)
        except BackboneError as error:
            raise BackboneError(f"{row.plugin}: {error}") from error


def load_pretrained(model: keras.Model, row: BackboneRow) -> None:
    """Put a plugin's weights into its network.

    Args:
        model: what `build` gave.
        row: of the plugin.

    Raises:
        WeightsError: they cannot be loaded; the plugin is named.
    """
    load = _record(row).load
    assert load is not None  # asked for before
    try:
        load(model)
    except TransferKitError:
        raise
    except Exception as error:  # the plugin's code
        raise WeightsError(str(_broken(row, "cannot load its weights", error))) from error


def _record(row: BackboneRow) -> plugins.Backbone:
    assert row.plugin is not None
    found: Any = plugins.load(row.plugin)
    assert isinstance(found, plugins.Backbone)
    return found


def _broken(row: BackboneRow, what: str, error: Exception) -> ConfigError:
    assert row.plugin is not None
    return plugins.broken(row.plugin, what, error)
