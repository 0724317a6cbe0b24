"""Arrays of pictures in files (`.npz`, `.npy`, MNIST's IDX, CIFAR's pickles): each row as the bytes of a PNG.

The PNG is made on demand, of stored blocks, so that equal pixels have equal bytes whatever libraries are installed.
Nothing that a file says is run: a pickle is read by an unpickler that knows lists, dictionaries and arrays only.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.data.containers.base import ALLOWANCE, RATIO, Derived, numbered
from transferkit.data.machine import available_memory
from transferkit.errors import DataError
from transferkit.files import ARRAY_DAMAGE
from transferkit.text import shown

NPY, PICKLE, GZIP = b"\x93NUMPY", b"\x80", b"\x1f\x8b"
_IDX = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_STORED = 65_535  # bytes of a block that deflate stores as it is
_SHARE = 0.5  # of the free memory that arrays may take
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels → PNG's type of colour
Array = npt.NDArray[Any]


class Arrays(Derived):
    """Pictures of a file of arrays, `array/row.png`; `arrays` holds all, those of labels too."""

    kind = "file of arrays"

    def __init__(self, name: str, arrays: Mapping[str, Any]) -> None:
        super().__init__(name)
        self.arrays = dict(arrays)

    @cached_property
    def pictures(self) -> dict[str, Array]:
        """The arrays that can be pictures: [n, h, w] or [n, h, w, 1 … 4]."""
        return {key: value for key, value in self.arrays.items() if _is_pictures(value)}

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.name_of(key, row) for key, value in self.pictures.items() for row in range(len(value)))

    def name_of(self, key: str, row: int) -> str:
        """The name of a row; all of one array sort as they are numbered."""
        return f"{key}/{row:0{len(str(len(self.pictures[key]) - 1))}}.png"

    def names(self) -> Collection[str]:
        """Every picture."""
        return self._names

    def has(self, name: str) -> bool:
        """Whether there is a picture of that name."""
        return self._row(name) is not None

    def _row(self, name: str) -> tuple[str, int] | None:
        key, _, file = name.rpartition("/")
        row = numbered(file.removesuffix(".png").lstrip("0") or "0")
        if key not in self.pictures or row is None or row >= len(self.pictures[key]):
            return None
        return (key, row) if self.name_of(key, row) == name else None

    def read(self, name: str) -> bytes:
        """A picture as a PNG."""
        found = self._row(name)
        if found is None:
            raise KeyError(name)
        key, row = found
        return png(np.asarray(self.pictures[key][row]))


def _is_pictures(value: Any) -> bool:
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or not value.size:
        return False
    return value.ndim == 3 or (value.ndim == 4 and value.shape[3] in _COLOURS)


def png(pixels: Array) -> bytes:
    """uint8 [h, w] or [h, w, 1 … 4] as a PNG whose pixels are not compressed."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter: none
    lines[:, 1:] = pixels.reshape(height, -1)
    raw = lines.tobytes()
    blocks = [raw[at : at + _STORED] for at in range(0, len(raw), _STORED)]
    body = b"".join(
        struct.pack("<BHH", at == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for at, block in enumerate(blocks)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    data = b"\x78\x01" + body + struct.pack(">I", zlib.adler32(raw))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def npz(path: Path, content: bytes | None = None) -> dict[str, Array]:
    """The arrays of an `.npz`.

    Args:
        path: of the file, or what its content is called.
        content: its bytes, where it lies inside of a container; None reads the file.

    Returns:
        Arrays by name.

    Raises:
        DataError: it holds objects, is damaged, or would unpack to far more than its size.
    """
    try:
        with zipfile.ZipFile(path if content is None else io.BytesIO(content)) as archive:
            size = path.stat().st_size if content is None else len(content)
            _refuse_large(path, size, sum(member.file_size for member in archive.infolist()))
        with np.load(path if content is None else io.BytesIO(content), allow_pickle=False) as found:
            return {key: found[key] for key in found.files}
    except ValueError as error:
        raise DataError(
            f"{shown(path)} cannot be read ({error}); save plain arrays with numpy.savez(file, x=…, y=…)"
        ) from error
    except ARRAY_DAMAGE as error:
        raise DataError(f"{shown(path)} is no whole .npz file ({error}); make it again") from error


def npy(path: Path, content: bytes | None = None) -> dict[str, Array]:
    """The array of an `.npy`.

    Args:
        path: of the file, or what its content is called.
        content: its bytes, where it lies inside of a container; None maps the file, which stays on the disk.

    Returns:
        One array, by the file's name without its ending.

    Raises:
        DataError: it holds objects, or is damaged.
    """
    try:
        if content is not None:
            return {path.stem: np.load(io.BytesIO(content), allow_pickle=False)}
        return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
    except ARRAY_DAMAGE as error:
        raise DataError(f"{shown(path)} is no .npy file that can be read ({error}); save plain arrays") from error


def is_idx(head: bytes) -> bool:
    """Whether a file begins as MNIST's do: two zeros, the type, the number of dimensions."""
    return len(head) >= 8 and head[:2] == b"\0\0" and head[2] in _IDX and 1 <= head[3] <= 4


def idx(name: str, content: bytes, stem: str) -> dict[str, Array]:
    """The array of an IDX file, as MNIST is kept. Source: LeCun, The MNIST database (the format's description).

    Args:
        name: of the file, printable, for errors.
        content: its bytes, not packed, which begin as IDX does.
        stem: what the array is called.

    Returns:
        One array by `stem`; whole numbers and floats are big-endian, as in the file.

    Raises:
        DataError: it has another size than its head says.
    """
    kind, dimensions = content[2], content[3]
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    start = 4 + 4 * dimensions
    dtype = np.dtype(_IDX[kind])
    wanted = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(content) - start != wanted:
        raise DataError(
            f"{name} is an IDX file of {' × '.join(map(str, shape))} values and needs {wanted:,} bytes for them, but "
            f"has {len(content) - start:,}; fetch it again"
        )
    return {stem: np.frombuffer(content, dtype, offset=start).reshape(shape)}


def cifar(name: str, content: bytes) -> dict[str, Any]:
    """What a batch of CIFAR-10 or CIFAR-100 holds. A pickle is read by a reader that makes arrays and lists alone.

    Args:
        name: of the file, printable, for errors.
        content: its bytes.

    Returns:
        Pictures uint8 [n, 32, 32, 3] as `data`, and its lists (labels, file names) by name.

    Raises:
        DataError: it is no such pickle, or holds anything else.
    """
    try:
        found = _Plain(io.BytesIO(content), encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{name} is a pickle that holds more than arrays and lists ({error}); it is not read, for reading it could "
            "run a stranger's program. Save arrays with numpy.savez(file, x=…, y=…)"
        ) from error
    if not isinstance(found, dict):
        raise DataError(f"{name} is a pickle of a {type(found).__name__}; of pickles only CIFAR's batches are read")
    arrays = {key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key): v for key, v in found.items()}
    data = arrays.get("data")
    if isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == 3072:
        arrays["data"] = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return arrays


def _rebuilt(maker: Any, shape: Any, kind: Any) -> Any:
    if shape != (0,):
        raise pickle.UnpicklingError("an array of an odd form")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


class _Plain(pickle.Unpickler):
    """Knows NumPy's arrays and nothing else: no other name of any module is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (
            ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
        ):  # fmt: skip
            return _rebuilt
        if (module, name) in (("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer")):
            return _from_buffer
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        if (module, name) == ("_codecs", "encode"):  # how newer Pythons write bytes for older ones
            return _encoded
        raise pickle.UnpicklingError(f"it names {shown(module)}.{shown(name)}")


def _dtype(text: Any, *others: Any) -> np.dtype[Any]:
    # A copy: the pickle goes on to change what it is given.
    found = np.dtype(text if isinstance(text, str) else text.decode(), align=False, copy=True)
    if found.hasobject:
        raise pickle.UnpicklingError("an array of objects")
    return found


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any) -> Any:
    return np.frombuffer(content, kind).reshape(shape, order=order)


def _encoded(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {shown(encoding)}")
    return text.encode("latin1")


def unpacked(path: Path, content: bytes | None = None) -> bytes:
    """The content of a file, or of one packed with gzip.

    Args:
        path: of the file, or what its content is called.
        content: its bytes, where they are read already.

    Raises:
        DataError: it is damaged, or would unpack to far more than its size.
    """
    try:
        content = path.read_bytes() if content is None else content
        if content[:2] != GZIP:
            return content
        most = ALLOWANCE + RATIO * len(content)
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            found = packed.read(most + 1)
        if len(found) > most:
            raise DataError(f"{shown(path)} would unpack to more than {most:,} bytes (a decompression bomb?)")
        return found
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{shown(path)} cannot be unpacked to its end ({error}); fetch it again") from error


def _refuse_large(path: Path, packed: int, size: int) -> None:
    room = int(available_memory() * _SHARE)
    if size > min(room, ALLOWANCE + RATIO * packed):
        raise DataError(
            f"{shown(path)} would unpack to {size:,} bytes; half of the free memory is {room:,}. Save the pictures as "
            "files of their own, or in several .npy files"
        )
