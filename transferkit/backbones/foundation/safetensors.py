"""Reads .safetensors files: the header is checked against the file's length before a byte of data is believed.

The format: eight bytes that say how long the header is, the header as JSON (name → dtype, shape, where the bytes
lie), then the data without gaps. https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from pydantic import JsonValue

from transferkit.errors import WeightsError
from transferkit.record import JsonObject
from transferkit.text import shown

LONGEST_HEADER = 100_000_000  # bytes; what the format's own reader allows
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"), "U32": np.dtype("<u4"), "U16": np.dtype("<u2"), "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}  # fmt: skip


class SafetensorsFile:
    """The tensors of one file by name. `shapes` is known at once, values are read when asked for."""

    def __init__(self, path: Path) -> None:
        """Read and check the header. Raises WeightsError for a file that is damaged or says what cannot be."""
        self.path = path
        try:
            size = self.size_bytes = path.stat().st_size
            with open(path, "rb") as handle:
                first = handle.read(8)
                length = int.from_bytes(first, "little")
                if len(first) < 8 or not 2 <= length <= min(LONGEST_HEADER, size - 8):
                    raise _damaged(path, f"its header would be {length:,} bytes long, the file has {size:,}")
                header = handle.read(length)
        except OSError as error:
            raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
        self._begin = 8 + length
        self._entries = _entries(path, header, size - 8 - length)
        self.shapes: dict[str, tuple[int, ...]] = {name: shape for name, (_, shape, _) in self._entries.items()}

    def read(self, name: str) -> np.ndarray:
        """The tensor `name`, in its own dtype. Raises KeyError for a name that is not there."""
        dtype, shape, start = self._entries[name]
        return np.fromfile(self.path, dtype, math.prod(shape), offset=self._begin + start).reshape(shape)


def _entries(path: Path, header: bytes, available: int) -> dict[str, tuple[Any, tuple[int, ...], int]]:
    """dtype, shape and first byte of each tensor. Raises WeightsError."""
    try:
        content = json.loads(header, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise _damaged(path, "its header lists no tensors")
    content.pop("__metadata__", None)
    entries, spans = {}, []
    for name, entry in content.items():
        dtype, shape, start, stop = _entry(path, name, entry)
        needed = math.prod(shape) * dtype.itemsize
        if stop - start != needed or stop > available:
            raise _damaged(
                path,
                f"{shown(name[:80])} of shape {_short(shape)} needs {needed:,} bytes, its place is bytes {start:,} to "
                f"{stop:,} of {available:,}",
            )
        entries[name] = (dtype, shape, start)
        spans.append((start, stop, name))
    at = 0
    for start, stop, name in sorted(spans):
        if start != at:
            raise _damaged(path, f"{shown(name[:80])} {'overlaps another tensor' if start < at else 'leaves a gap'}")
        at = stop
    if at != available:
        raise _damaged(path, f"its tensors end at byte {at:,}, the data at {available:,}")
    return entries


def _entry(path: Path, name: str, entry: Any) -> tuple[Any, tuple[int, ...], int, int]:
    try:
        dtype, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, start, stop]
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(path, f"what it says of {shown(name[:80])} is not understood") from error
    if any(type(number) is not int or not 0 <= number < 1 << 48 for number in numbers) or start > stop:
        raise _damaged(path, f"{shown(name[:80])} has the shape {_short(shape)} at bytes {_short((start, stop))}")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise WeightsError(
            f"{path}: {shown(name[:80])} is of type {shown(str(dtype)[:20])}; read are {', '.join(_DTYPES)}"
        )
    return _DTYPES[dtype], tuple(shape), start, stop


def _without_doubles(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _short(shape: Any) -> str:
    return shown(str(list(shape))[:60])


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(f"{path} is no whole .safetensors file: {what}. Fetch it again")
