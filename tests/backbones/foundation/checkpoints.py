"""Checkpoints made of others: with tensors replaced or left out, or in shards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferkit.backbones.foundation.safetensors import SafetensorsFile


def rewritten(path: Path, **changes: Any) -> None:
    """The safetensors file with tensors replaced, or (None) left out."""
    file = SafetensorsFile(path)
    arrays = {name: file.read(name) for name in file.shapes} | {k.replace("__", "."): v for k, v in changes.items()}
    header, data = {}, b""
    for name, array in arrays.items():
        if array is not None:
            stop = len(data) + 4 * array.size
            header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), stop]}
            data += np.ascontiguousarray(array, "<f4").tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def split_up(folder: Path, shards: Sequence[str]) -> dict[str, dict[str, str]]:
    """Put `shards` and the list of them, which is returned, in place of the folder's one file."""
    whole = folder / "model.safetensors"
    names = list(SafetensorsFile(whole).shapes)
    where = {name: shards[i % len(shards)] for i, name in enumerate(names)}
    for shard in shards:
        shutil.copyfile(whole, folder / shard)
        rewritten(folder / shard, **{name.replace(".", "__"): None for name in names if where[name] != shard})
    whole.unlink()
    index = {"weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return index
