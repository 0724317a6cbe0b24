"""KerasHub's preset folders: the tensors of a model.weights.h5 by other names, turned to PyTorch's axes. No Keras.

The file has no names but those of classes, numbered; `kerashub_families` says which of transformers' or torchvision's
names each has there. What has none keeps its own, and so is refused as left over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transferkit.backbones.foundation.kerashub_families import UNUSED, TensorSource
from transferkit.errors import BackboneError, WeightsError
from transferkit.text import shown

Shape = tuple[int, ...]
_RANDOM = "seed_generator/"  # a dropout's
# KerasHub's axes to PyTorch's. Attention has an axis of heads: behind the inputs, or before the outputs.
_TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda x: x,
    "flat": lambda x: x.reshape(-1),
    "into": lambda x: x.reshape(x.shape[0], -1).T,
    "out": lambda x: x.reshape(-1, x.shape[-1]).T,
    "conv": lambda x: x.transpose(3, 2, 0, 1),
}
_LEAST = {"into": 2, "out": 2, "conv": 4}  # axes


class Preset:
    """The tensors of a preset by the names that `described` speaks of. `shapes` and `read` as of any checkpoint."""

    def __init__(self, path: Path, named: Mapping[str, TensorSource]) -> None:
        """Open the file's directory; `named` says where each tensor lies. Raises WeightsError for one damaged."""
        self.path, self.size_bytes = path, path.stat().st_size
        stored = _datasets(path)
        self._sources = {name: source for name, source in named.items() if source.path in stored}
        known = {source.path for source in self._sources.values()}
        left = [name for name in stored if name not in known and not name.startswith(UNUSED) and _RANDOM not in name]
        self._sources |= {name: TensorSource(name, "same") for name in left}
        self.shapes: dict[str, Shape] = {name: _turned(s, stored[s.path]) for name, s in self._sources.items()}

    def read(self, name: str) -> np.ndarray:
        """The tensor `name`. Raises KeyError for a name that is not there."""
        import h5py

        source = self._sources[name]
        with h5py.File(self.path, "r") as file:
            return _TURNS[source.kind](np.asarray(file[source.path]))


def preprocessing(converter: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    """What a KerasHub preset says of pictures, in the words of transformers.

    Args:
        converter: image_converter.json, which is asked first; it multiplies pixels 0…255 by `scale` and adds `offset`.
        preprocessor: preprocessor.json, which may hold the same.

    Returns:
        `image_mean` and `image_std` of pixels 0…1, three numbers each, and `interpolation`; empty where neither says
        it.

    Raises:
        BackboneError: scale and offset are no finite numbers of three channels.
    """
    outer = preprocessor.get("config")
    inner = outer.get("image_converter") if isinstance(outer, dict) else None
    said = (converter or (inner if isinstance(inner, dict) else {})).get("config")
    if not isinstance(said, dict) or said.get("scale") is None:
        return {}
    try:
        scale, offset = (np.broadcast_to(np.asarray(said.get(name) or 0, float), 3) for name in ("scale", "offset"))
    except (TypeError, ValueError, OverflowError) as error:
        raise BackboneError("its image_converter.json says no scale and offset of three channels") from error
    if not (np.isfinite(scale).all() and np.isfinite(offset).all() and (scale > 0).all()):
        raise BackboneError("its image_converter.json says no scale and offset of three channels")
    deviation = 1 / (255 * scale)
    mean = -offset * deviation
    # Rounded to what a float32 tells: the file has the quotient, and 0.229 should come back as 0.229.
    rounded = [[round(float(value), 7) for value in values] for values in (mean, deviation)]
    return {"image_mean": rounded[0], "image_std": rounded[1], "interpolation": said.get("interpolation")}


def _datasets(path: Path) -> dict[str, Shape]:
    """Every tensor of numbers in the file, with its shape. Raises WeightsError."""
    import h5py

    found: dict[str, Shape] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            # A dataset may claim any shape: numbers that were never written take no place.
            written = item.id.get_storage_size() == item.nbytes
            if item.external or item.is_virtual or item.dtype.kind not in "fiu" or not written:
                raise WeightsError(f"{path}: {shown(name[:80])} holds no numbers of its own")
            found[name] = tuple(map(int, item.shape))

    try:
        with h5py.File(path, "r") as file:
            file.visititems(keep)
    except WeightsError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} is no whole .h5 file ({shown(str(error)[:80])}). Fetch it again") from error
    return found


def _turned(source: TensorSource, shape: Shape) -> Shape:
    """The shape after the turn, said without reading anything: a file may claim any."""
    if len(shape) < _LEAST.get(source.kind, 0):
        return shape  # it will not fit
    if source.kind == "flat":
        return (math.prod(shape),)
    if source.kind == "into":
        return (math.prod(shape[1:]), shape[0])
    if source.kind == "out":
        return (shape[-1], math.prod(shape[:-1]))
    return (shape[3], shape[2], *shape[:2]) if source.kind == "conv" else shape
