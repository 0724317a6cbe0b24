"""The straight way through a JPEG gives Pillow's pixels bit for bit, or leaves the file to Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import TRASHNET, encoded, needs_trashnet, photo
from transferkit.data.images import jpeg
from transferkit.data.images.decode import DecodeSettings, PictureError, decode, decode_many, fit, open_picture


def straight(content: bytes, scale: int = 1) -> np.ndarray | None:
    size = jpeg.size_of(content)
    return None if size is None else jpeg.pixels(content, size, scale)


def by_pillow(content: bytes, scale: int = 1) -> np.ndarray:
    image = Image.open(io.BytesIO(content))
    image.draft(None, (image.width // scale, image.height // scale))
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(64, 48), (341, 256), (257, 255), (17, 9), (8, 100)])
@pytest.mark.parametrize(
    "options",
    [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}, {"optimize": True}],
    ids=lambda options: "-".join(f"{k}{v}" for k, v in options.items()),
)
def test_pixels_are_those_of_pillow(scale: int, size: tuple[int, int], options: dict[str, object]) -> None:
    content = encoded(photo(sum(size), *size), "JPEG", quality=80, **options)
    found = straight(content, scale)
    assert found is not None
    np.testing.assert_array_equal(found, by_pillow(content, scale))


def test_grey_is_read_and_other_colour_spaces_are_left_to_pillow() -> None:
    grey = encoded(photo(1).convert("L"), "JPEG")
    np.testing.assert_array_equal(straight(grey), by_pillow(grey))  # type: ignore[arg-type]
    assert straight(encoded(photo(1).convert("CMYK"), "JPEG")) is None
    assert straight(encoded(photo(1), "JPEG", keep_rgb=True)) is None
    assert straight(encoded(photo(1), "PNG")) is None


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_cut_file_is_left_to_pillow_and_refused(share: float) -> None:
    content = encoded(photo(1, 96, 80), "JPEG")
    cut = content[: int(len(content) * share)]
    assert straight(cut) is None
    with pytest.raises(PictureError, match="damaged"):
        decode(cut, DecodeSettings(24))


def test_bytes_behind_the_picture_do_no_harm() -> None:
    content = encoded(photo(1, 96, 80), "JPEG")
    np.testing.assert_array_equal(
        decode(content + b"\0" * 500, DecodeSettings(24)), decode(content, DecodeSettings(24))
    )


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_is_open_and_fit_whatever_the_orientation(orientation: int, resize: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "picture.jpg"
    path.write_bytes(encoded(photo(9, 301, 173), "JPEG", exif=exif.tobytes()))
    for size in (24, 60, 150, 400):
        settings = DecodeSettings(size, resize)  # type: ignore[arg-type]
        np.testing.assert_array_equal(decode(path, settings), fit(open_picture(path, settings), settings))


def test_results_on_threads_do_not_share_memory() -> None:
    contents = [encoded(photo(i, 40 + i, 60), "JPEG") for i in range(60)]
    found = list(decode_many(contents, DecodeSettings(40), threads=4))
    for i, pixels in found:
        np.testing.assert_array_equal(pixels, decode(contents[i], DecodeSettings(40)))
    # One that needs no scaling is a copy too, not the memory that the next one is decoded into.
    same = [decode(encoded(photo(i, 40, 40), "JPEG"), DecodeSettings(40)) for i in range(2)]
    assert not np.array_equal(*same)


def test_shrinking_averages_and_does_not_alias() -> None:
    stripes = np.zeros((240, 240, 3), np.uint8)
    stripes[:, ::2] = 255
    for side in (24, 40, 75, 119):
        small = fit(stripes, DecodeSettings(side)).astype(float)
        assert abs(small.mean() - 127.5) < 3
        assert small.std() < 40, side  # the stripes themselves have 127


@pytest.mark.slow
@needs_trashnet
def test_real_pictures_have_the_pixels_of_pillow() -> None:
    for path in sorted(TRASHNET.rglob("*.jpg"))[::25]:
        content = path.read_bytes()
        for scale in (1, 2):
            np.testing.assert_array_equal(straight(content, scale), by_pillow(content, scale))  # type: ignore[arg-type]
