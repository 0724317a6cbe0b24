"""HEIC through pillow-heif: a real file is read like any other; without the reader the error names the extra."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import folder_of_classes, photo
from transferkit.data.audit.audit import check
from transferkit.data.images.decode import DecodeSettings, PictureError, decode, decoder_versions, open_picture
from transferkit.data.source import scan

pillow_heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif: pip install 'transferkit[heic]'")


def heic(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=95, **options)
    return buffer.getvalue()


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


@pytest.mark.parametrize("extension", [".heic", ".heif", ".HEIC", ".jpg"])
def test_a_heic_file_gives_the_pixels_that_were_written(extension: str, tmp_path: Path) -> None:
    original, path = photo(3, 96, 64), tmp_path / f"picture{extension}"
    path.write_bytes(heic(original))
    read = open_picture(path)
    assert (read.size, read.mode) == (original.size, "RGB")
    assert difference(read, original) < 8
    assert decode(path, DecodeSettings(32)).shape == (32, 32, 3)
    np.testing.assert_array_equal(decode(path, DecodeSettings(32)), decode(path.read_bytes(), DecodeSettings(32)))


def test_the_orientation_of_a_heic_file_is_applied_once() -> None:
    upright = photo(4, 96, 64)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    read = open_picture(heic(turned, exif=exif.tobytes()))
    assert read.size == upright.size
    assert difference(read, upright) < 8


def test_transparent_heic_lies_over_white() -> None:
    image = Image.new("RGBA", (64, 64), (200, 0, 0, 0))
    assert np.asarray(open_picture(heic(image))).min() > 245


def test_scan_and_check_take_heic_like_any_other(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path / "pictures", {"a": 11, "b": 11}, 48)
    (root / "a" / "phone.heic").write_bytes(heic(photo(50, 96, 64)))
    (root / "b" / "cut.heic").write_bytes(heic(photo(51, 96, 64))[:900])
    assert "a/phone.heic" in scan(root).paths
    audit = check(root)
    assert [(f.kind, f.path) for f in audit.errors] == [("damaged", "b/cut.heic")]
    assert audit.formats["HEIF"] == 1


def test_without_the_reader_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "phone.heic"
    path.write_bytes(heic(photo(3)))
    with_reader = decoder_versions()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PictureError, match=r"pip install 'transferkit\[heic\]'") as caught:
        decode(path, DecodeSettings(32))
    assert caught.value.kind == "unsupported"
    assert with_reader["pillow-heif"] == pillow_heif.__version__
