"""What publishers leave (a folder, a checkpoint, a network of the hub), by the name given: found, fetched, checked."""

from __future__ import annotations

from collections.abc import Callable

from transferkit.backbones import freeze
from transferkit.backbones.foundation import folder, hub
from transferkit.errors import BackboneError, WeightsError


def is_published(backbone: str) -> bool:
    """Whether `backbone` names files as a publisher leaves them: a folder, a checkpoint, or a network of the hub."""
    return hub.is_name(backbone) or folder.is_published(backbone)


def opened(backbone: str, offline: bool = False, reporter: Callable[[str], None] | None = None) -> folder.Published:
    """The network, described; one of the hub is fetched where it is not here. Raises BackboneError or WeightsError."""
    if hub.is_name(backbone):
        backbone = str(hub.fetch(backbone, offline=offline, reporter=reporter))
    return folder.describe(backbone)


def problems(backbone: str, size: int | None, policy: str, offline: bool) -> list[str]:
    """What keeps size and freeze policy from fitting; never imports Keras.

    Of a network of the hub that is not here only the name is checked: what it is, is known once it is fetched.
    """
    if hub.is_name(backbone):
        named = hub.problems(backbone, offline)
        here = None if named else hub.local(backbone)
        if here is None:
            return named
        backbone = str(here)
    try:
        found = folder.describe(backbone)
    except (BackboneError, WeightsError) as error:
        return [str(error)]
    sizes = folder.size_problems(found.row, found.described.architecture, size)
    return [*sizes, *freeze.problems(found.row, policy)]
