"""A folder (or one file) as a publisher leaves it, as a backbone: described from its config, built, its weights set.

`describe` opens headers only and never imports Keras, so that size and policy are checked before anything is built.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit.backbones.catalog import BackboneRow
from transferkit.backbones.foundation import (
    families,
    folder_facts,
    graphs,
    kerashub,
    kerashub_families,
    timm,
    torchvision,
)
from transferkit.backbones.foundation.architecture import Architecture, Swin, Transformer
from transferkit.backbones.foundation.checkpoint_files import (
    KERAS,
    SUFFIXES,
    Nothing,
    Tensors,
    open_checkpoint,
    weights_file,
)
from transferkit.backbones.foundation.conversion import Conversion
from transferkit.backbones.foundation.described import UNSTATED, Described
from transferkit.backbones.portability import seeded
from transferkit.backbones.scaling import spelled
from transferkit.errors import BackboneError, TransferKitError
from transferkit.record import JsonObject

if TYPE_CHECKING:
    import keras

DEFAULT_SIZE = 224  # pixels: DINOv2's own 518 would cost five times as many tokens
WINDOWED_SIZE = 256  # pixels: Swin V2's own windows fill the map; at 224 some would stand half empty
_FREE = ("apache-2.0", "mit", "bsd", "cc-by-4.0", "cc0")  # licences, as they begin


@dataclass(frozen=True)
class Published:
    """An opened checkpoint: what it is (`described`), its catalog row, and its `tensors`, which are not read yet.

    `resampling` and `crop` say how its publisher brings pictures to size: facts to show, our decoder has its own ways.
    """

    path: Path
    described: Described
    row: BackboneRow
    tensors: Tensors
    resampling: str = ""
    crop: float | None = None

    @property
    def terms(self) -> str:
        """What is to be said before use of weights whose licence asks for more than to be named; empty for others."""
        name, licence = self.row.name, self.row.licence
        if licence == UNSTATED:
            return f"the licence of the weights of {name} is not stated with them"
        return "" if licence.lower().startswith(_FREE) else f"the weights of {name} are under: {licence}"

    def facts(self) -> JsonObject:
        """What `backbones show` adds to the row: tokens at the default size, the publisher's preprocessing."""
        net, size = self.described.architecture, self.row.size
        facts: JsonObject = {"family": self.described.family, "made_for": self.described.native}
        if isinstance(net, Transformer):
            facts |= {
                "patch": net.patch,
                "tokens": f"{net.tokens(size)} at {size} pixels",
                "class_token": net.has_class,
                "pooler": self.described.pools,
            }
        how = [self.resampling, f"middle {self.crop:.3g}" if self.crop else ""]
        return facts | {"published_resizing": ", ".join(filter(None, how)) or None}


def is_published(backbone: str) -> bool:
    """Whether `backbone` is the path of a folder or of a checkpoint file, rather than a name or a Keras model."""
    return backbone.endswith(SUFFIXES) or (
        ("/" in backbone or "\\" in backbone) and Path(backbone).expanduser().is_dir()
    )


def describe(backbone: str, *, bare: bool = False) -> Published:
    """What lies at a path.

    Args:
        backbone: a folder as published, or a checkpoint file.
        bare: whether its weights may be absent.

    Raises:
        BackboneError, WeightsError: no network that is read; the path is named.
    """
    path = Path(backbone).expanduser()
    folder = path if path.is_dir() else path.parent
    file = weights_file(path) if path.is_dir() else path
    if file is None and not bare:
        raise BackboneError(
            f"{path} is a folder without weights: it must hold config.json and model.safetensors (or its shards, or "
            "pytorch_model.bin), as a download from the hub does, or KerasHub's model.weights.h5"
        )
    with _naming(path):
        config = folder_facts.settings_in(folder / "config.json")
    tensors = _tensors(path, file, config)
    with _naming(path):
        tensors = torchvision.renamed(tensors) if config is None else tensors
        described = _described(config, tensors)
        described, resampling, crop = folder_facts.preprocessing(folder, config, described)
    card = folder_facts.licence(folder)
    if card and described.licence.lower().startswith((*_FREE, UNSTATED)):  # of two the stricter is said
        described = replace(described, licence=card)
    return Published(file or path, described, _row(path, described), tensors, resampling, crop)


def is_told_by_config(folder: Path) -> bool:
    """Whether `config.json` alone, without tensors, says what network it is. Raises BackboneError for one not read."""
    with _naming(folder):
        config = folder_facts.settings_in(folder / "config.json")
        if config is None:
            return False
        if "architecture" in config:
            timm.require_read(config)
            return False
        _by_config(config)
    return True


def size_problems(row: BackboneRow, architecture: Architecture, size: int | None) -> list[str]:
    """Why pictures of `size` do not fit, with sizes that do.

    Args:
        row: the network.
        architecture: its shape, which says the step between sizes.
        size: pixels a side; None is the network's default.
    """
    step = architecture.step
    if size is None or (size % step == 0 and size >= row.minimum):
        return []
    near = sorted({max(row.minimum, size // step * step), max(row.minimum, -(-size // step) * step)})
    sizes = " or ".join(map(str, near))
    patch = " (its patch)" if isinstance(architecture, Transformer) else ""
    least = f"{row.minimum} or more" if row.minimum > step else ""
    what = " and ".join(filter(None, (f"a multiple of {step} pixels{patch}" if step > 1 else "", least)))
    return [f"'{row.name}' takes pictures whose side is {what}, not {size}; set --image-size {sizes}"]


def build(published: Published, size: int, *, random: bool, seed: int) -> keras.Model:
    """Build a published network.

    Args:
        published: what `describe` gave.
        size: pixels a side.
        random: draw weights instead of reading them.
        seed: of drawn weights.

    Raises:
        WeightsError: the tensors do not fit the config; before anything is built.
    """
    net = published.described.architecture
    conversion = None
    if not random:
        conversion = Conversion(net, published.described.layout, published.tensors, size, published.path)
    with seeded(seed):
        model = graphs.build(net, size, published.row.name)
    if conversion is not None:
        places = {f"{layer.name}/{variable.name}": variable for layer in model.layers for variable in layer.weights}
        for key, value in conversion.values():
            places.pop(key).assign(value)
        assert not places, sorted(places)
    return model


def pooled(published: Published) -> Published:
    """With the pooling that its weights bring as its last stage, so that it gives a vector. Raises BackboneError."""
    described, net = published.described, published.described.architecture
    if not (described.pools and isinstance(net, Transformer)):
        raise BackboneError(no_pooler(published.row.name))
    described = replace(described, architecture=replace(net, pooler=True))
    row = replace(published.row, **_counts(described.architecture, published.row.size))
    return replace(published, described=described, row=row)


def no_pooler(name: str) -> str:
    """That a network cannot be had with a pooler.

    Args:
        name: of the network.
    """
    return (
        f"--pooling pooler takes the pooling that SigLIP's weights bring, and '{name}' brings none; choose mean, "
        "attention (which is learnt) or another"
    )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What is found wrong with a folder's small files is said with its path."""
    try:
        yield
    except TransferKitError as error:
        raise BackboneError(f"{path}: {error}") from error


def _tensors(path: Path, file: Path | None, config: Mapping[str, Any] | None) -> Tensors:
    """The opened checkpoint; none where the network is told by its config alone."""
    if file is None:
        return Nothing()
    if file.name != KERAS:
        return open_checkpoint(file)
    if config is None or not kerashub_families.is_preset(config):
        raise BackboneError(f"{file} needs the config.json of its KerasHub preset beside it")
    with _naming(path):
        named = dict(kerashub_families.sources(config))
    return kerashub.Preset(file, named)


def _described(config: Mapping[str, Any] | None, tensors: Tensors) -> Described:
    if config is None:
        found = torchvision.described(tensors) if isinstance(tensors, torchvision.Renamed) else timm.guessed(tensors)
        if found is None:
            raise BackboneError(
                "there is no config.json beside the weights to say what network they are for; put the one that was "
                "published with them there"
            )
        return found
    if "architecture" in config:
        return timm.described(config, tensors)
    return _by_config(config)


def _by_config(config: Mapping[str, Any]) -> Described:
    return kerashub_families.described(config) if kerashub_families.is_preset(config) else families.described(config)


def _row(path: Path, described: Described) -> BackboneRow:
    net = described.architecture
    step = net.step
    usual = WINDOWED_SIZE if isinstance(net, Swin) else DEFAULT_SIZE
    size = max(net.minimum, min(usual, described.native) // step * step)
    return BackboneRow(
        name=_name(path),
        constructor=described.family,
        size=size,
        minimum=net.minimum,
        scaling=spelled(described.mean, described.std),
        **_counts(net, size),
        kind="published",
        licence=described.licence,
        year=described.year,
        paper=described.paper,
    )


def _counts(net: Architecture, size: int) -> dict[str, Any]:
    """What a row says of the graph: its stages, parameters and layers with weights."""
    shapes = net.shapes(size)
    batch_norms = {key.rpartition("/")[0] for key in shapes if key.endswith("/moving_mean")}  # which no policy counts
    return {
        "stages": net.stages,
        "parameters": sum(map(math.prod, shapes.values())),
        "layers": len({key.rpartition("/")[0] for key in shapes} - batch_norms),
    }


def _name(path: Path) -> str:
    """The folder's name; in the hub's cache, where folders are called by a hash, that of the repository."""
    folder = path.resolve() if path.is_dir() else path
    repository = folder.parent.parent if folder.parent.name == "snapshots" else folder.parent
    name = repository.name.split("--")[-1] if "--" in repository.name else folder.name
    name = name.removesuffix(folder.suffix) if folder.suffix in SUFFIXES else name
    return (
        "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "_" for letter in name)
        or "network"
    )
