"""Objects handed over in Python are the pictures that their files are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.corpus import corpus
from tests.data.pictures import encoded, photo
from transferkit.data.images.decode import DecodeSettings, decode, open_picture
from transferkit.data.images.handed import pixels_of, sources_of
from transferkit.data.images.opening import PictureError

MODES = {"1": "PNG", "L": "PNG", "LA": "PNG", "P": "PNG", "RGB": "JPEG", "RGBA": "PNG", "CMYK": "JPEG", "I;16": "PNG",
         "YCbCr": "JPEG", "F": "TIFF"}  # fmt: skip


@pytest.mark.parametrize(("mode", "kind"), MODES.items(), ids=MODES)
@pytest.mark.parametrize("loaded", [False, True])
def test_a_pillow_image_is_its_file(mode: str, kind: str, loaded: bool, tmp_path: Path) -> None:
    path = tmp_path / f"p.{kind.lower()}"
    source = photo(2)
    if mode == "I;16":
        source = Image.fromarray(np.asarray(source.convert("L")).astype(np.uint16) * 257)
    elif mode in ("RGBA", "LA"):
        source.putalpha(Image.linear_gradient("L").resize(source.size))
        source = source.convert(mode)
    else:
        source = source.convert(mode)
    source.save(path)
    with Image.open(path) as image:
        if loaded:
            image.load()
        for _ in range(2):  # the image is as it was
            assert np.array_equal(pixels_of(image), np.asarray(open_picture(path)))


@pytest.mark.parametrize("name", ["bits_clear.png", "two_bits_clear.png", "four_bits_clear.png", "grey_16_clear.png"])
def test_transparent_grey_is_read_as_of_the_file_and_left_as_it_was(name: str) -> None:
    content = corpus()[name].content
    with Image.open(io.BytesIO(content)) as image:
        clear = image.info["transparency"]
        assert np.array_equal(pixels_of(image), np.asarray(open_picture(content)))
        assert image.info["transparency"] == clear


@pytest.mark.parametrize("orientation", range(2, 9))
def test_it_is_turned_upright(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo(1).save(tmp_path / "p.png", exif=exif)
    with Image.open(tmp_path / "p.png") as image:
        assert np.array_equal(pixels_of(image), np.asarray(open_picture(tmp_path / "p.png")))


def test_what_was_changed_counts_as_it_is_now() -> None:
    image = photo(3).crop((5, 5, 30, 30))
    assert np.array_equal(pixels_of(image), np.asarray(image))
    grey = Image.new("P", (20, 20), 0)
    grey.info["transparency"] = 0
    assert (pixels_of(grey) == 255).all()
    assert grey.info["transparency"] == 0


def test_tensors_arrays_and_bytes() -> None:
    pixels = np.asarray(photo(0))

    class Tensor:  # as TensorFlow's, PyTorch's and JAX' are
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return pixels

    found = sources_of(Tensor())
    assert found is not None
    assert np.array_equal(found[0], pixels)
    assert len(sources_of(np.stack([pixels] * 3)) or ()) == 3
    content = encoded(photo(0), "PNG")
    assert sources_of(content) == [content]
    assert np.array_equal(decode(content, DecodeSettings(32)), decode(pixels, DecodeSettings(32)))
    for nothing in ("a.png", Path("a.png"), None, 3, {}):
        assert sources_of(nothing) is None


def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="LAB"):
        pixels_of(Image.new("LAB", (9, 9)))
    photo(0).save(tmp_path / "p.png")
    image = Image.open(tmp_path / "p.png")
    image.close()
    with pytest.raises(PictureError, match=r"p\.png: cannot be used as an image"):
        pixels_of(image)
