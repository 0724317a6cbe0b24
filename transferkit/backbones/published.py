"""What publishers leave (a folder, a checkpoint, a network of the hub), by the name given: found, fetched, checked."""

from __future__ import annotations

from collections.abc import Callable

from transferkit.backbones import freeze
from transferkit.backbones.foundation import folder, hub
from transferkit.errors import BackboneError, WeightsError


def is_published(backbone: str) -> bool:
    """Whether `backbone` names files as a publisher leaves them: a folder, a checkpoint, or a network of the hub."""
    return hub.is_name(backbone) or folder.is_published(backbone)


def opened(
    backbone: str, offline: bool = False, reporter: Callable[[str], None] | None = None, weights: bool = True
) -> folder.Published:
    """The network, described; one of the hub is fetched where it is not here. Raises BackboneError or WeightsError.

    Without `weights` those of the hub stay there: the config says what network it is.
    """
    if not hub.is_name(backbone):
        return folder.describe(backbone, bare=not weights)
    try:
        place = hub.fetch(backbone, offline=offline, reporter=reporter, weights=weights)
        return folder.describe(str(place), bare=not weights)
    except BackboneError:
        if weights:
            raise
        return opened(backbone, offline, reporter)  # timm's configs say too little: the tensors' shapes are needed


def to_be_fetched(backbone: str) -> str | None:
    """What has to be downloaded before the network can be used; None where nothing has."""
    absent = hub.is_name(backbone) and hub.local(backbone) is None
    return f"{backbone} of the hub" if absent else None


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
