"""Checkpoints made of others, with tensors replaced or left out, or in shards; and what is made of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferkit.backbones.foundation import model_folder
from transferkit.backbones.foundation.conversion import Conversion
from transferkit.backbones.foundation.safetensors import SafetensorsFile


def rewritten(path: Path, **changes: Any) -> None:
    """The safetensors file with tensors replaced, or (None) left out."""
    file = SafetensorsFile(path)
    arrays = {name: file.read(name) for name in file.shapes} | {k.replace("__", "."): v for k, v in changes.items()}
    written(path, {name: np.asarray(array, "<f4") for name, array in arrays.items() if array is not None})


def written(path: Path, tensors: Mapping[str, np.ndarray]) -> Path:
    """A safetensors file of float32 or float16, with metadata as files of the hub have."""
    header, data = {}, b""
    for name, array in tensors.items():
        kind = {"float32": "F32", "float16": "F16"}[array.dtype.name]
        stop = len(data) + array.nbytes
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), stop]}
        data += array.tobytes()
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def conversion(path: Path, size: int = 32) -> Conversion:
    """The rules for what lies at a path."""
    found = model_folder.describe(str(path))
    return Conversion(found.described.architecture, found.described.layout, found.tensors, size, found.path)


def split_up(place: Path, shards: Sequence[str]) -> dict[str, dict[str, str]]:
    """Put `shards` and the list of them, which is returned, in place of the one file of a folder."""
    whole = place / "model.safetensors"
    names = list(SafetensorsFile(whole).shapes)
    where = {name: shards[i % len(shards)] for i, name in enumerate(names)}
    for shard in shards:
        shutil.copyfile(whole, place / shard)
        rewritten(place / shard, **{name.replace(".", "__"): None for name in names if where[name] != shard})
    whole.unlink()
    index = {"weight_map": where}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    return index
