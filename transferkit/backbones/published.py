"""What publishers leave (a folder, a checkpoint, a network of the hub), by the name given: found, fetched, checked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from transferkit.backbones import freeze
from transferkit.backbones.catalog import BackboneRow
from transferkit.backbones.foundation import hub, model_folder
from transferkit.errors import BackboneError, TransferKitError, WeightsError

OWN = ("auto", "file")  # what is asked for where the weights that come with the network are meant


def is_published(backbone: str) -> bool:
    """Whether `backbone` names files as a publisher leaves them: a folder, a checkpoint, or a network of the hub."""
    return hub.is_name(backbone) or model_folder.is_published(backbone)


def opened(
    backbone: str, offline: bool = False, reporter: Callable[[str], None] | None = None, weights: bool = True
) -> model_folder.Published:
    """A published network, described; one of the hub is fetched where it is not here.

    Args:
        backbone: a folder, a checkpoint file or a name of the hub.
        offline: whether the network is forbidden.
        reporter: hears of downloads.
        weights: False: those of the hub stay there, where the config says what network it is.

    Raises:
        BackboneError, WeightsError: it is not there, or is none that is read.
    """
    if not hub.is_name(backbone):
        return model_folder.describe(backbone, bare=not weights)
    if hub.local(backbone) is None:
        # The small files first: weights should not come for a network that is not read, or of which none are wanted.
        place = hub.fetch(backbone, offline=offline, reporter=reporter, weights=False)
        if model_folder.is_told_by_config(place) and not weights:
            return model_folder.describe(str(place), bare=True)
    return model_folder.describe(str(hub.fetch(backbone, offline=offline, reporter=reporter)), bare=not weights)


def here(backbone: str) -> str | None:
    """The path of its files on this machine; None for a network of the hub that is yet to be fetched."""
    if not hub.is_name(backbone):
        return backbone
    place = hub.local(backbone)
    return None if place is None else str(place)


def at_hand() -> list[str]:
    """Names of the hub's networks that we read and whose files are on this machine, those under free licences first."""
    free: list[str] = []
    bound: list[str] = []
    for name in hub.at_hand():
        with suppress(TransferKitError):
            (bound if model_folder.describe(str(here(name))).terms else free).append(name)
    return [*free, *bound]


def is_sound(backbone: str) -> bool:
    """Whether the files of a network of the hub are here, with the hashes that they came with."""
    return hub.is_sound(backbone)


def row(backbone: str) -> BackboneRow | None:
    """The row of a network whose files are here. Raises BackboneError or WeightsError for files that are not read."""
    place = here(backbone)
    return None if place is None else model_folder.describe(place, bare=True).row


def to_be_fetched(backbone: str) -> str | None:
    """What has to be downloaded before the network can be used; None where nothing has."""
    return f"{backbone} of the hub" if here(backbone) is None else None


def weights_bytes(backbone: str) -> int | None:
    """Size of its weights on disk; None where they are not here."""
    place = here(backbone)
    return None if place is None else model_folder.describe(place, bare=True).tensors.size_bytes


def problems(
    backbone: str, size: int | None, policy: str, weights: str, offline: bool, pooler: bool = False
) -> list[str]:
    """What keeps size and freeze policy from fitting; never imports Keras.

    Of a network of the hub that is not here only the name is checked: what it is, is known once it is fetched.

    Args:
        backbone: a folder, a checkpoint file or a name of the hub.
        size: pixels a side; None is the network's default.
        policy: as for `freeze.freeze`.
        weights: as for `build.build`.
        offline: whether the network is forbidden.
        pooler: as for `build.build`.

    Returns:
        Problems, each with its remedy; empty if there is none.
    """
    named = hub.problems(backbone, offline) if hub.is_name(backbone) else []
    place = None if named else here(backbone)
    if place is None:
        return named
    try:
        found = model_folder.describe(place, bare=weights not in OWN)
        found = model_folder.pooled(found) if pooler else found
    except (BackboneError, WeightsError) as error:
        return [str(error)]
    sizes = model_folder.size_problems(found.row, found.described.architecture, size)
    return [*sizes, *freeze.problems(found.row, policy)]
