"""A name becomes a network: bare, without top, with the weights asked for and its preprocessing beside it.

`check` answers every question about arguments that needs no network, and never imports Keras.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit.backbones import bundled, embedded_scaling, freeze, loading, offered, published, userfile
from transferkit.backbones import weights as store
from transferkit.backbones.catalog import BackboneRow, find
from transferkit.backbones.foundation import model_folder
from transferkit.backbones.portability import seeded
from transferkit.backbones.scaling import SCALINGS, preprocessing, require
from transferkit.errors import BackboneError, WeightsError, raise_problems
from transferkit.storage import is_offline

if TYPE_CHECKING:
    import keras

__all__ = ["SCALINGS", "LoadedBackbone", "build", "check", "preprocessing"]


@dataclass(frozen=True)
class LoadedBackbone:
    """A bare network. `model` takes float32 (batch, size, size, 3), already scaled, and gives its last
    feature map.

    `weights` is "imagenet", "pretrained" (mini), "random", "file" (a backbone file's own) or the path of a
    file; `weights_sha256` hashes the values themselves. `notes` are to be reported.
    """

    model: keras.Model
    row: BackboneRow
    size: int
    scaling: str
    weights: str
    weights_sha256: str
    notes: tuple[str, ...] = ()

    def prepared(self, pixels: Any) -> Any:
        """Pixels, RGB 0..255, as `model` takes them: through layers that become part of a graph they are called in."""
        for layer in preprocessing(self.scaling):
            pixels = layer(pixels)
        return pixels


def check(
    backbone: str, size: int | None = None, policy: str = "none", weights: str = "auto", offline: bool = False,
    pooler: bool = False,
) -> list[str]:  # fmt: skip
    """Every problem with these arguments. Never imports Keras.

    Of a `.keras` file only its path and the weights are checked, and of a network of the hub that is not here only its
    name and the weights: what is inside is known once it is opened.

    Args:
        backbone: as for `build`.
        size: pixels a side; None is the network's default.
        policy: what is to be trained, as for `freeze.freeze`.
        weights: as for `build`.
        offline: whether weights may not be fetched.
        pooler: as for `build`.

    Returns:
        Problems, each with its remedy; empty if there is none.
    """
    found: list[str] = []
    try:
        if published.is_published(backbone):
            found += published.problems(backbone, size, policy, weights, offline, pooler)
            _named(backbone, "file", weights)
        elif userfile.is_file(backbone):
            found += userfile.path_problems(backbone)
            _of_file(backbone, weights)
        else:
            row = find(backbone)
            found += [*_size_problems(row, size), *freeze.problems(row, policy)]
            fetched = _source(row, weights) == "imagenet" and row.weights_file is not None
            if fetched and is_offline(offline) and store.locate(row, size or row.size) is None:
                found.append(store.offline_problem(row, size or row.size))
        if pooler and not published.is_published(backbone):
            found.append(model_folder.no_pooler(backbone))
    except (BackboneError, WeightsError) as error:
        found.append(str(error))
    return found


def build(
    backbone: str,
    weights: str = "auto",
    size: int | None = None,
    seed: int = 0,
    offline: bool = False,
    scaling: str | None = None,
    reporter: Callable[[str], None] | None = None,
    pooler: bool = False,
) -> LoadedBackbone:
    """Build a network without its top.

    Args:
        backbone: a name of the catalog or of a plugin, a published folder or checkpoint, `hf:OWNER/NAME`, or a `.keras`
            file.
        weights: "auto" (the network's own pretrained ones), "imagenet", "random" (initialised from `seed`; the process'
            random state is left alone), "pretrained" (mini), or a file of weights, Keras' or PyTorch's.
        size: pixels a side; None is the network's default.
        seed: of random weights.
        offline: never download weights.
        scaling: overrides what the weights expect (for files: "none", pixels 0…255).
        reporter: hears of downloads.
        pooler: end with the pooling that the network's own weights bring (SigLIP's), and so give a vector.

    Raises:
        BackboneError, WeightsError, ConfigError: what cannot be built; before anything is, wherever the arguments alone
            show it.
    """
    if scaling is not None:
        require(scaling)
    if published.is_published(backbone):
        found = published.opened(backbone, offline, reporter, weights in published.OWN)
        return _from_published(model_folder.pooled(found) if pooler else found, weights, size, seed, scaling)
    if pooler:
        raise BackboneError(model_folder.no_pooler(backbone))
    if userfile.is_file(backbone):
        return _from_file(backbone, weights, size, scaling)
    row = find(backbone)
    raise_problems(BackboneError, _size_problems(row, size))
    size = size or row.size
    source = _source(row, weights)
    # Fetch first: a missing file should not cost the time to build a network.
    path = _weights_path(row, size, source, offline, reporter)
    with seeded(seed):
        model = _construct(row, size, path, trusted=scaling is not None)
    if source == "pretrained" and row.kind == "plugin":
        offered.load_pretrained(model, row)
    elif row.kind == "bundled" and source == row.pretrained:
        bundled.load_pretrained(model, row)
    return LoadedBackbone(model, row, size, scaling or row.scaling, source, loading.weights_sha256(model))


def to_be_fetched(backbone: str, weights: str, size: int | None) -> str | None:
    """The name of the weights file that `build` would have to download. Never imports Keras.

    Args:
        backbone: as for `build`.
        weights: as for `build`.
        size: pixels a side; None is the network's default.

    Returns:
        None where it needs none.
    """
    if published.is_published(backbone):
        return published.to_be_fetched(backbone) if weights in published.OWN else None
    if userfile.is_file(backbone):
        return None
    row = find(backbone)
    if _source(row, weights) != "imagenet" or row.weights_file is None or store.locate(row, size or row.size):
        return None
    return row.file_for(size or row.size)[0]


def _source(row: BackboneRow, asked: str) -> str:
    """What `asked` means for `row`. Raises WeightsError for what it has not."""
    if asked == "auto":
        asked = row.pretrained
    if row.kind == "plugin" and asked == "pretrained" and not offered.has_weights(row):
        raise WeightsError(f"'{row.name}' comes without weights ({row.plugin}); use --weights random, or give a file")
    return _named(row.name, row.pretrained, asked)


def _named(name: str, pretrained: str, asked: str) -> str:
    """What `asked` means for a network whose own weights are called `pretrained`. Raises WeightsError."""
    if asked in ("auto", "random", pretrained):
        return pretrained if asked == "auto" else asked
    if asked == "imagenet":
        raise WeightsError(f"there are no ImageNet weights for '{name}'; its own are called '{pretrained}'")
    if asked == "pretrained":
        raise WeightsError(f"the pretrained weights of '{name}' are called '{pretrained}'")
    path = Path(asked).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"no weights file {asked}; allowed are {pretrained}, random or the path of a "
            f"{', '.join(loading.SUFFIXES)} file"
        )
    return os.fspath(path)


def _of_file(backbone: str, asked: str) -> str:
    """What `asked` means for a Keras file. Raises WeightsError."""
    if asked == "random":
        raise WeightsError(f"{backbone} brings its own weights; leave --weights out or give a file")
    return _named(backbone, "file", asked)


def _weights_path(
    row: BackboneRow, size: int, source: str, offline: bool, reporter: Callable[[str], None] | None
) -> Path | None:
    if source == "random" or (source == row.pretrained and row.kind in ("bundled", "plugin")):
        return None
    if source == "imagenet":
        return store.fetch(row, size, offline=offline, reporter=reporter)
    return Path(source)


def _size_problems(row: BackboneRow, size: int | None) -> list[str]:
    if size is None or size >= row.minimum:
        return []
    return [
        f"'{row.name}' takes pictures of {row.minimum} pixels or more, not {size}; its weights are made for "
        f"{row.size}: set --image-size {row.size}"
    ]


def _construct(row: BackboneRow, size: int, path: Path | None, *, trusted: bool) -> keras.Model:
    """The bare network, with weights from `path` where given; every `layer.output` belongs to its graph."""
    import keras

    if row.kind == "bundled":
        model = bundled.build(row, size)
    elif row.kind == "plugin":
        model = offered.build(row, size)
    else:
        options = dict(row.kwargs)
        if row.embedded == "optional":
            options["include_preprocessing"] = False
        constructor = getattr(keras.applications, row.constructor)
        # weights=None: Keras must never download by itself.
        model = constructor(include_top=False, weights=None, input_shape=(size, size, 3), pooling=None, **options)
    if row.embedded != "always":
        if path is not None:
            loading.load(path, model)
        return keras.Model(model.inputs[0], model.outputs[0], name=row.name)
    bare = embedded_scaling.stripped(model, row.name)
    if path is not None:
        embedded_scaling.load(path, model, bare, trusted=trusted)
    return bare


def _from_published(
    found: model_folder.Published, weights: str, size: int | None, seed: int, scaling: str | None
) -> LoadedBackbone:
    raise_problems(BackboneError, model_folder.size_problems(found.row, found.described.architecture, size))
    size, source = size or found.row.size, _source(found.row, weights)
    model = model_folder.build(found, size, random=source != "file", seed=seed)
    if source not in ("file", "random"):
        loading.load(Path(source), model)
    freeze.remember(model, found.row)
    notes = (found.terms,) if found.terms and source == "file" else ()
    scaling = scaling or found.row.scaling
    return LoadedBackbone(model, found.row, size, scaling, source, loading.weights_sha256(model), notes)


def _from_file(backbone: str, weights: str, size: int | None, scaling: str | None) -> LoadedBackbone:
    model, row, notes = userfile.open_file(backbone)
    fixed = _fixed_side(backbone, model)
    if fixed is not None and size not in (None, fixed):
        raise BackboneError(f"{backbone} takes pictures of {fixed} pixels only, not {size}; set --image-size {fixed}")
    if scaling not in (None, "none") and "float" not in str(model.inputs[0].dtype):
        raise BackboneError(
            f"{backbone} takes {model.inputs[0].dtype} pixels, so it scales them itself: --scaling {scaling} would be "
            "cut to whole numbers; leave it out"
        )
    source = _of_file(backbone, weights)
    if source != "file":
        loading.load(Path(source), model)
    if scaling is None:
        notes = [
            *notes,
            f"{Path(backbone).name}: fed with pixels 0..255; set scaling if it expects anything else",
        ]
    chosen = fixed or size or 224
    return LoadedBackbone(model, row, chosen, scaling or "none", source, loading.weights_sha256(model), tuple(notes))


def _fixed_side(backbone: str, model: keras.Model) -> int | None:
    """The side that a file's network is made for, of whichever axis says so; None where any will do."""
    sides = {side for side in model.input_shape[1:3] if side is not None}
    if len(sides) > 1:
        raise BackboneError(f"{backbone} takes pictures of {model.input_shape[1:3]}; only square ones are supported")
    return sides.pop() if sides else None
