"""Reads PyTorch's .pth, .pt and .bin files: tensors and dictionaries of them, nothing else. No code in them is run.

A pickle is a program. This reader knows five names (tensor, parameter, storage, dtype, ordered dictionary) and refuses
the file at the first other one, before anything is called. Both of PyTorch's forms are read: the archive (since 1.6)
and the older stream.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from transferkit.errors import WeightsError
from transferkit.text import shown

LONGEST_PICKLE = 64 << 20  # bytes of structure; the data lie beside it
LARGEST_REPEAT = 1 << 20  # numbers of a tensor that has more of them than the file
_DTYPES: dict[str, np.dtype[Any]] = {
    "DoubleStorage": np.dtype("<f8"), "FloatStorage": np.dtype("<f4"), "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16), "LongStorage": np.dtype("<i8"), "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"), "CharStorage": np.dtype("i1"), "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}  # fmt: skip
_MAGIC = 0x1950A86A20F9469CFC6C  # first object of the older form
_ENVELOPES = ("state_dict", "model", "model_state", "teacher", "student", "module")


class _Storage:
    """A block of numbers, by its key in the file; `data` comes later."""

    def __init__(self, dtype: Any, key: str, count: int) -> None:
        self.dtype, self.key, self.count = dtype, key, count
        self.place: tuple[int, int] | None = None  # first byte, bytes


class _Tensor:
    """Where a tensor's numbers lie in a storage; checked to lie inside it."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or any(type(n) is not int or not 0 <= n < 1 << 48 for n in numbers):
            raise pickle.UnpicklingError("a tensor whose shape is no shape")
        last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        if 0 not in shape and last >= storage.count:
            raise pickle.UnpicklingError(f"a tensor that reaches to number {last:,} of {storage.count:,}")
        if math.prod(shape) > max(storage.count, LARGEST_REPEAT):  # by strides of 0, or rows that overlap
            raise pickle.UnpicklingError(f"a tensor of {math.prod(shape):,} numbers made of {storage.count:,}")
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


class _Reader(pickle.Unpickler):
    def __init__(self, handle: IO[bytes]) -> None:
        super().__init__(handle)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        found: Any = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module[:60]}.{name[:60]}, which no tensor needs")
        return found

    def persistent_load(self, pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], np.dtype):
            raise pickle.UnpicklingError("it refers to something that is no storage of numbers")
        key, count = str(pid[2]), pid[4]
        if type(count) is not int or not 0 <= count < 1 << 48 or (len(pid) > 5 and pid[5] is not None):
            raise pickle.UnpicklingError("a storage of unknown length")
        return self.storages.setdefault(key, _Storage(pid[1], key, count))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


class PickleFile:
    """The tensors of one PyTorch file by name. `shapes` is known at once, values are read when asked for."""

    def __init__(self, path: Path) -> None:
        """Read the structure. Raises WeightsError for a file that is damaged or asks for more than tensors."""
        self.path = path
        try:
            content = self._archive() if zipfile.is_zipfile(path) else self._stream()
        except WeightsError:
            raise
        except OSError as error:
            raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
        except Exception as error:  # a pickle from anywhere: it may fail in any way, and its own words say little
            raise WeightsError(
                f"{path} is not loaded: {shown(str(error)[:200]) or type(error).__name__}. Only tensors are read, no "
                "code is run: save the weights alone, torch.save(model.state_dict(), FILE), or as .safetensors"
            ) from error
        self._tensors = _state(content)
        if not self._tensors:
            raise WeightsError(f"{path} holds no dictionary of tensors")
        self.size_bytes = path.stat().st_size
        self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}

    def read(self, name: str) -> np.ndarray:
        """The tensor `name`, in its own dtype. Raises KeyError for a name that is not there."""
        tensor = self._tensors[name]
        storage = tensor.storage
        assert storage.place is not None  # checked when the structure was read
        numbers = np.fromfile(self.path, storage.dtype, storage.count, offset=storage.place[0])
        item = storage.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(
            numbers[tensor.offset :], tensor.shape, [stride * item for stride in tensor.strides]
        )
        return view.copy()

    def _archive(self) -> Any:
        with zipfile.ZipFile(self.path) as archive:
            members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
            if "data.pkl" not in members or members["data.pkl"].file_size > LONGEST_PICKLE:
                raise WeightsError(f"{self.path} is no file of PyTorch tensors: it has no data.pkl, or one too large")
            if "byteorder" in members and archive.read(members["byteorder"])[:8].strip() != b"little":
                raise WeightsError(f"{self.path} was written by a big-endian machine; save it as .safetensors there")
            with archive.open(members["data.pkl"]) as handle:
                reader = _Reader(handle)
                content = reader.load()
            for storage in reader.storages.values():
                member = members.get(f"data/{storage.key}")
                if member is None or member.compress_type != zipfile.ZIP_STORED:
                    raise WeightsError(f"{self.path}: the numbers of storage {shown(storage.key[:40])} are not there")
                storage.place = (_first_byte(self.path, member), member.file_size)
        self._check(reader)
        return content

    def _stream(self) -> Any:
        with open(self.path, "rb") as handle:
            if _Reader(handle).load() != _MAGIC:
                raise WeightsError(f"{self.path} is no file of PyTorch tensors")
            _Reader(handle).load(), _Reader(handle).load()  # the form's version; sizes of C types
            reader = _Reader(handle)
            content = reader.load()
            for key in _Reader(handle).load():
                storage = reader.storages[str(key)]
                count = int.from_bytes(handle.read(8), "little")
                if count != storage.count:
                    raise WeightsError(
                        f"{self.path} is damaged: a storage has {count:,} numbers, not {storage.count:,}"
                    )
                storage.place = (handle.tell(), count * storage.dtype.itemsize)
                handle.seek(storage.place[1], 1)
        self._check(reader)
        return content

    def _check(self, reader: _Reader) -> None:
        """Every storage lies whole in the file."""
        size = self.path.stat().st_size
        for storage in reader.storages.values():
            needed = storage.count * storage.dtype.itemsize
            if storage.place is None or storage.place[1] < needed or storage.place[0] + needed > size:
                raise WeightsError(
                    f"{self.path} is damaged: {needed:,} bytes of storage {shown(storage.key[:40])} are not there"
                )


def _first_byte(path: Path, member: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: behind its own header, whose lengths the directory does not say."""
    with open(path, "rb") as handle:
        handle.seek(member.header_offset)
        header = handle.read(30)
    if len(header) < 30:
        raise zipfile.BadZipFile("a member lies outside the file")
    return member.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")


def _state(content: Any) -> dict[str, _Tensor]:
    """The tensors in `content`, taken out of the envelope (`model`, `state_dict`…) that training scripts put around."""
    for _ in range(3):
        if not isinstance(content, dict):
            return {}
        found = {str(name): value for name, value in content.items() if isinstance(value, _Tensor)}
        if found:
            return found
        content = next((content[name] for name in _ENVELOPES if isinstance(content.get(name), dict)), None)
    return {}
