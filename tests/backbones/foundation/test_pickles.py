"""PyTorch's files: every form of tensor, and what hostile ones are answered."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backbones.foundation.parity import FIXTURES
from transferkit.backbones.foundation.pickles import PickleFile
from transferkit.errors import WeightsError

FOLDER = FIXTURES / "pickles"


@pytest.mark.parametrize("form", ["archive", "stream"])
def test_strides_offsets_and_types_are_pytorchs(form: str) -> None:
    file = PickleFile(FOLDER / f"{form}.pth")

    with np.load(FOLDER / "expected.npz") as expected:
        assert set(file.shapes) == set(expected.files)
        for name in expected.files:
            found = file.read(name)
            assert found.shape == file.shapes[name] == expected[name].shape
            assert np.array_equal(found.astype(np.float32), expected[name]), name
    assert file.read("whole").dtype == np.int64


class _Code:
    """Pickles to a call of os.system."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.sign}",)


def archive(path: Path, content: bytes, *, data: bytes = b"", compress: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compress) as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/data/0", data)
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", ["archive", "stream"])
def test_code_is_refused_and_not_run(tmp_path: Path, form: str, protocol: int) -> None:
    sign = tmp_path / "was-run"
    content = pickle.dumps({"weight": _Code(sign)}, protocol)
    path = tmp_path / "model.pth"
    if form == "archive":
        archive(path, content)
    else:
        path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"no\s+code is run: save the weights alone") as caught:
        PickleFile(path)

    assert "system" in str(caught.value)
    assert not sign.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins\neval", "builtins\ngetattr", "torch\nload", "torch.storage\n_load_from_bytes", "numpy\nload",
     "collections\nnamedtuple", "torch._utils\n_rebuild_tensor", "transferkit.files\nwrite_bytes"],
)  # fmt: skip
def test_only_the_names_that_tensors_need_are_known(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "m.pth", b"c" + name.encode() + b"\n.")

    with pytest.raises(WeightsError, match="which no tensor needs"):
        PickleFile(path)


@pytest.fixture
def torch_names(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names that pickle can write without PyTorch."""

    def rebuild(*_: Any) -> None: ...

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils, torch = types.ModuleType("torch._utils"), types.ModuleType("torch")
    utils._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]
    storage = type("FloatStorage", (), {"__module__": "torch"})
    torch._utils, torch.FloatStorage = utils, storage  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return rebuild, storage


def pickled(torch_names: Any, shape: Any, strides: Any, offset: Any = 0, count: Any = 6) -> bytes:
    rebuild, storage = torch_names

    class Tensor:
        def __reduce__(self) -> Any:
            return rebuild, (Place(), offset, shape, strides, False, None)

    class Place: ...

    class Writer(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", storage, "0", "cpu", count) if isinstance(obj, Place) else None

    buffer = io.BytesIO()
    Writer(buffer).dump({"weight": Tensor()})
    return buffer.getvalue()


DATA = np.arange(6, dtype="<f4").tobytes()


def test_a_tensor_written_by_hand_is_read(tmp_path: Path, torch_names: Any) -> None:
    file = PickleFile(archive(tmp_path / "m.pth", pickled(torch_names, (3, 2), (1, 3)), data=DATA))

    assert file.read("weight").tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (3, 3), "strides": (3, 1)},
        {"shape": (1 << 40,), "strides": (1,)},
        {"shape": (2, 2), "strides": (1 << 40, 1)},
        {"shape": (6,), "strides": (1,), "offset": 1},
        {"shape": (6,), "strides": (1,), "offset": -1},
        {"shape": (6,), "strides": (-1,)},
        {"shape": (6,), "strides": (1, 1)},
        {"shape": ("6",), "strides": (1,)},
        {"shape": 6, "strides": (1,)},
        {"shape": (7,), "strides": (1,), "count": 7},
        {"shape": (6,), "strides": (1,), "count": 1 << 40},
        {"shape": (6,), "strides": (1,), "count": -6},
        {"shape": (1 << 40,), "strides": (0,)},
        {"shape": (1 << 30, 1 << 30), "strides": (0, 0)},
        {"shape": (3, 1 << 22), "strides": (1, 0)},
    ],
)
def test_tensors_beyond_their_numbers_are_refused(tmp_path: Path, torch_names: Any, change: dict[str, Any]) -> None:
    path = archive(tmp_path / "m.pth", pickled(torch_names, **change), data=DATA)

    with pytest.raises(WeightsError) as caught:
        PickleFile(path)

    assert str(path) in str(caught.value)


def test_numbers_that_would_unpack_to_more_are_refused(tmp_path: Path, torch_names: Any) -> None:
    content = pickled(torch_names, (1 << 20,), (1,), count=1 << 20)
    path = archive(tmp_path / "m.pth", content, data=bytes(4 << 20), compress=zipfile.ZIP_DEFLATED)

    with pytest.raises(WeightsError, match="not there"):
        PickleFile(path)


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", b"not a model at all", pickle.dumps(3)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.pth"
    path.write_bytes(content)

    with pytest.raises(WeightsError):
        PickleFile(path)


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    for form in ("archive", "stream"):
        whole = (FOLDER / f"{form}.pth").read_bytes()
        path = tmp_path / "m.pth"
        for length in range(0, len(whole), 97):
            path.write_bytes(whole[:length])
            with pytest.raises(WeightsError):
                PickleFile(path)
