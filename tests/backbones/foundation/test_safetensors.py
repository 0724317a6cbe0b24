"""Safetensors: types and values, and headers that lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from transferkit.backbones.foundation.safetensors import SafetensorsFile
from transferkit.errors import WeightsError


def written(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(shape: Any, start: Any, stop: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_values_come_back_in_their_types(tmp_path: Path) -> None:
    a = np.arange(6, dtype="<f4").reshape(2, 3)
    b = np.array([1.5, -2], ml_dtypes.bfloat16)
    header = {"__metadata__": {"format": "pt"}, "a": entry([2, 3], 0, 24), "b": entry([2], 24, 28, "BF16"),
              "c": entry([], 28, 36, "I64"), "none": entry([0, 4], 36, 36)}  # fmt: skip
    data = a.tobytes() + b.tobytes() + np.int64(9).tobytes()
    file = SafetensorsFile(written(tmp_path / "m.safetensors", header, data))

    assert file.shapes == {"a": (2, 3), "b": (2,), "c": (), "none": (0, 4)}
    assert np.array_equal(file.read("a"), a)
    assert np.array_equal(file.read("b"), b)
    assert file.read("c") == 9
    assert file.read("none").shape == (0, 4)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"a": entry([2], 0, 8)}, b"1234"),
        ({"a": entry([3], 0, 8)}, b"12345678"),
        ({"a": entry([1], 0, 4), "b": entry([1], 2, 6)}, b"123456"),
        ({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, b"1234"),
        ({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, b"123456789012"),
        ({"a": entry([1], 0, 4)}, b"1234 and more"),
        ({"a": entry([1 << 40, 1 << 40], 0, 4)}, b"1234"),
        ({"a": entry([-1, -1], 0, 4)}, b"1234"),
        ({"a": entry([1.0], 0, 4)}, b"1234"),
        ({"a": entry([True], 0, 4)}, b"1234"),
        ({"a": entry([1], 4, 0)}, b"1234"),
        ({"a": entry([1], -4, 0)}, b"1234"),
        ({"a": entry([1], 0, 4, "F8_E4M3")}, b"1234"),
        ({"a": entry([1], 0, 4, ["F32"])}, b"1234"),
        ({"a": {"dtype": "F32"}}, b""),
        ({"a": [1, 2]}, b""),
        ([], b""),
        (b"{", b""),
        (b"\xff\xfe", b""),
        (b'{"a": {"dtype":"F32","shape":[1],"data_offsets":[0,4]}, "a": 1}', b"1234"),
        (b"[" * 100_000, b""),
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused(tmp_path: Path, header: Any, data: bytes) -> None:
    path = written(tmp_path / "m.safetensors", header, data)

    with pytest.raises(WeightsError) as caught:
        SafetensorsFile(path)

    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("length", [0, 1, 1 << 20, 1 << 62, (1 << 64) - 1])
def test_a_header_longer_than_the_file_is_refused(tmp_path: Path, length: int) -> None:
    path = written(tmp_path / "m.safetensors", {"a": entry([1], 0, 4)}, b"1234", length)

    with pytest.raises(WeightsError):
        SafetensorsFile(path)


def test_control_characters_in_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = written(tmp_path / "m.safetensors", {"\x1b[2Jbad": entry([9], 0, 4)}, b"1234")

    with pytest.raises(WeightsError) as caught:
        SafetensorsFile(path)

    assert "\x1b" not in str(caught.value)
