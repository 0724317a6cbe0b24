"""A checkpoint, whatever its form (one file or shards, safetensors or PyTorch), as tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from transferkit.backbones.foundation.pickles import PickleFile
from transferkit.backbones.foundation.safetensors import SafetensorsFile
from transferkit.errors import WeightsError
from transferkit.files import read_json
from transferkit.text import shown

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
KERAS = "model.weights.h5"  # KerasHub's; `kerashub` reads it
WHOLE = ("model.safetensors", "pytorch_model.bin", KERAS)  # as publishers name them, the preferred first
POINTER = b"version https://git-lfs"


class Tensors(Protocol):
    """Tensors by name: what a file of either form is to its readers. `size_bytes` is on disk."""

    shapes: dict[str, tuple[int, ...]]
    size_bytes: int

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor."""


class Nothing:
    """No tensors: of a network that is described by its config and gets random weights."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.size_bytes = 0

    def read(self, name: str) -> np.ndarray:
        """Raises KeyError."""
        raise KeyError(name)


class Shards:
    """Several files as one. `shapes` and `read` as of one file."""

    def __init__(self, index: Path) -> None:
        """Open what `index` lists. Raises WeightsError for a shard that is absent, or lies elsewhere."""
        try:
            listed = read_json(index)["weight_map"]
            where = {str(name): str(file) for name, file in listed.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsError(f"{index} is no list of shards ({shown(str(error)[:80])})") from error
        strange = next((file for file in where.values() if Path(file).name != file), None)
        if strange is not None:
            raise WeightsError(f"{index} names a file outside its folder: {shown(strange[:80])}")
        files: Mapping[str, Tensors] = {file: open_file(index.parent / file) for file in sorted(set(where.values()))}
        missing = next((name for name, file in where.items() if name not in files[file].shapes), None)
        if missing is not None:
            raise WeightsError(f"{index}: {where[missing]} lacks the tensor {shown(missing[:80])}")
        self._files = {name: files[file] for name, file in where.items()}
        self.shapes: dict[str, tuple[int, ...]] = {name: file.shapes[name] for name, file in self._files.items()}
        self.size_bytes = sum(file.size_bytes for file in files.values())

    def read(self, name: str) -> np.ndarray:
        """The tensor `name`, in its own dtype. Raises KeyError for a name that is not there."""
        return self._files[name].read(name)


def open_file(path: Path) -> Tensors:
    """The tensors in one file. Raises WeightsError where it is absent, no checkpoint, or a Git LFS pointer."""
    if not path.is_file():
        raise WeightsError(f"no file {path}")
    with open(path, "rb") as handle:
        pointer = handle.read(len(POINTER)) == POINTER
    if pointer:
        raise WeightsError(
            f"{path} is a Git LFS pointer, not the weights: fetch the file itself (`git lfs pull`, or download it from "
            "the model's page)"
        )
    return SafetensorsFile(path) if path.suffix == ".safetensors" else PickleFile(path)


def weights_file(folder: Path) -> Path | None:
    """The file in `folder` to open: whole, or an index of shards, or the only checkpoint there is; None if none."""
    for name in WHOLE:
        for path in (folder / name, folder / f"{name}.index.json"):
            if path.is_file():
                return path
    others = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES and path.is_file())
    return others[0] if len(others) == 1 else None


def open_checkpoint(path: Path) -> Tensors:
    """The tensors of a file or of the shards that an index lists. Raises WeightsError."""
    return Shards(path) if path.name.endswith(".index.json") else open_file(path)
