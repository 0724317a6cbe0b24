"""Networks of our own whose weights ship inside the package, by their catalog names."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from transferkit.backbones import efficientnet_lite0, mini
from transferkit.backbones.catalog import BackboneRow
from transferkit.backbones.packaged import Packaged

if TYPE_CHECKING:
    import keras

NETWORKS: dict[str, ModuleType] = {"mini": mini, "efficientnet_lite0": efficientnet_lite0}


def build(row: BackboneRow, size: int) -> keras.Model:
    """The bare network of a bundled row with random weights.

    Args:
        row: of the catalog, of kind "bundled".
        size: pixels a side.

    Raises:
        BackboneError: a size that it does not take.
    """
    return getattr(NETWORKS[row.name], row.constructor)(size)


def load_pretrained(model: keras.Model, row: BackboneRow) -> None:
    """Set the packaged weights.

    Args:
        model: what `build` gave.
        row: of the catalog.

    Raises:
        WeightsError: they are missing or damaged.
    """
    NETWORKS[row.name].load_pretrained(model)


def packaged(row: BackboneRow) -> Packaged:
    """The files of its weights."""
    found: Packaged = NETWORKS[row.name].packaged()
    return found
