"""JPEG XL: a file's size is known before its pixels are unpacked; without the reader the error names the extra."""

from __future__ import annotations

import io
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.data.pictures import photo
from transferkit.data.images import jxl
from transferkit.data.images.decode import DecodeSettings, decode, open_picture
from transferkit.data.images.opening import PictureError
from transferkit.data.source import scan


def bits(*fields: tuple[int, int]) -> bytes:
    """A codestream that begins with these (value, bits)."""
    number = at = 0
    for value, count in fields:
        number |= value << at
        at += count
    return b"\xff\x0a" + number.to_bytes(16, "little")


def boxed(codestream: bytes, kind: bytes = b"jxlc") -> bytes:
    """The same in a container, behind other boxes."""
    head = b"\0\0\0\x0cJXL \r\n\x87\n" + struct.pack(">I4s", 20, b"ftyp") + b"jxl \0\0\0\0jxl "
    other = struct.pack(">I4sQ", 1, b"Exif", 16 + 5) + bytes(5)
    inside = (b"\0\0\0\0" if kind == b"jxlp" else b"") + codestream
    return head + other + struct.pack(">I4s", 8 + len(inside), kind) + inside


SIZES = {
    (80, 48): bits((1, 1), (5, 5), (0, 3), (9, 5)),  # in eights
    (48, 48): bits((1, 1), (5, 5), (1, 3)),  # as wide as high
    (300, 200): bits((0, 1), (0, 2), (199, 9), (4, 3)),  # 3 to 2
    (1000, 700): bits((0, 1), (1, 2), (699, 13), (0, 3), (1, 2), (999, 13)),
    (1 << 30, 1 << 30): bits((0, 1), (3, 2), ((1 << 30) - 1, 30), (1, 3)),
}


@pytest.mark.parametrize("size", SIZES)
def test_the_size_is_read_from_the_head(size: tuple[int, int]) -> None:
    for content in (SIZES[size], boxed(SIZES[size]), boxed(SIZES[size], b"jxlp")):
        assert jxl.size_of(io.BytesIO(content)) == size


@pytest.mark.parametrize("content", [b"\xff\x0a", boxed(b""), boxed(SIZES[48, 48])[:30], b"\xff\x0b123456"])
def test_what_tells_no_size_is_damaged(content: bytes) -> None:
    with pytest.raises(jxl.JxlError, match="damaged JPEG XL header"):
        jxl.size_of(io.BytesIO(content))


class Plain(ImageFile.ImageFile):
    """Stands for the reader, in what it tells Pillow: a file whose pixels follow 64 bytes behind the head."""

    format = "JXL"

    def _open(self) -> None:
        content = self.fp.read()
        self._size = jxl.size_of(io.BytesIO(content))
        self._mode = "RGB"
        self.info["exif"] = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
        self.tile = [ImageFile._Tile("raw", (0, 0, *self._size), 64, "RGB")]


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", types.ModuleType("pillow_jxl"))
    monkeypatch.setitem(Image.OPEN, "JXL", (Plain, lambda head: head[:2] == b"\xff\x0a"))


def written(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(SIZES[pixels.shape[1], pixels.shape[0]].ljust(64, b"\0") + pixels.tobytes())
    return path


def test_it_is_read_as_any_picture_and_turned_by_nothing_but_itself(reader: None, tmp_path: Path) -> None:
    pixels = np.asarray(photo(3, 48, 48))
    for label in "ab":
        written(tmp_path / "data" / label / "1.jxl", pixels)
    found = scan(tmp_path / "data").hashed()
    assert found.paths == ("a/1.jxl", "b/1.jxl")
    assert np.array_equal(decode(found.pinned(0), DecodeSettings(48)), pixels)


def test_a_bomb_is_refused_before_it_is_unpacked(reader: None, tmp_path: Path) -> None:
    (tmp_path / "a.jxl").write_bytes(SIZES[1 << 30, 1 << 30] + bytes(100))
    with pytest.raises(PictureError, match="decompression bomb") as caught:
        open_picture(tmp_path / "a.jxl")
    assert caught.value.kind == "too_large"


def test_without_the_reader_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    (tmp_path / "a.jxl").write_bytes(SIZES[48, 48])
    with pytest.raises(PictureError, match=r"pip install 'transferkit\[jxl\]'") as caught:
        open_picture(tmp_path / "a.jxl")
    assert caught.value.kind == "unsupported"


def test_a_real_file_is_read(tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl", reason="needs pillow-jxl-plugin: pip install 'transferkit[jxl]'")
    image = photo(3, 48, 48)
    image.save(tmp_path / "a.jxl", lossless=True)
    assert np.array_equal(np.asarray(open_picture(tmp_path / "a.jxl")), np.asarray(image))
