from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import TRASHNET, encoded, needs_trashnet, photo
from transferkit.data.images.decode import (
    BUNDLE,
    LETTERBOX,
    DecodeSettings,
    PictureError,
    decode,
    decode_many,
    fit,
    open_picture,
)
from transferkit.data.images.handed import pixels_of
from transferkit.data.images.opening import read_header, sniff
from transferkit.errors import ConfigError, DataError

SMALL = DecodeSettings(16)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_every_format_gives_the_same_picture(kind: str) -> None:
    image = photo(3)
    content = encoded(image, kind, **({"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}))
    assert sniff(content[:64]) == kind
    difference = np.abs(decode(content, SMALL).astype(int) - fit(image, SMALL).astype(int))
    assert difference.mean() < (14 if kind == "GIF" else 4)  # GIF has 256 colours


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_twin_has_the_pixels_of_the_upright_picture(orientation: int, kind: str) -> None:
    # What a camera that is held turned writes: pixels stored turned, with the tag that turns them back.
    stored_as = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    upright = photo(1, 32, 24)
    stored = upright if stored_as is None else upright.transpose(Image.Transpose(stored_as))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    tagged = encoded(stored, kind, exif=exif, **lossless)
    plain = encoded(stored, kind, **lossless)
    opened = open_picture(tagged)
    assert opened.size == upright.size
    if stored_as is None:
        expected = open_picture(plain)
    else:
        undo = {0: 0, 3: 3, 1: 1, 5: 5, 2: 4, 6: 6, 4: 2}[stored_as]
        expected = open_picture(plain).transpose(Image.Transpose(undo))
    np.testing.assert_array_equal(np.asarray(opened), np.asarray(expected))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow says so itself
def test_a_damaged_exif_block_does_not_refuse_the_picture() -> None:
    content = encoded(photo(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert decode(content, SMALL).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("RGBA", "WEBP"), ("P", "GIF"),
     ("CMYK", "JPEG"), ("YCbCr", "JPEG"), ("L", "JPEG"), ("CMYK", "TIFF"), ("L", "BMP"), ("PA", "TIFF")],
)  # fmt: skip
def test_every_mode_becomes_rgb_with_the_same_look(mode: str, kind: str) -> None:
    image = photo(5)
    stored = image.convert("P").convert("PA") if mode == "PA" else image.convert(mode)
    content = encoded(stored, kind)
    pixels = decode(content, SMALL)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    grey = mode in ("1", "L", "LA")
    expected = fit(image.convert("L").convert("RGB") if grey else image, SMALL).astype(int)
    assert np.abs(pixels.astype(int) - expected).mean() < (60 if mode == "1" else 16)


def test_adobe_cmyk_is_not_inverted() -> None:
    red = Image.new("RGB", (32, 32), (220, 30, 30))
    pixels = decode(encoded(red.convert("CMYK"), "JPEG", quality=95), SMALL)
    assert pixels[8, 8, 0] > 180
    assert pixels[8, 8, 1] < 80


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_by_its_full_range(kind: str) -> None:
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = np.asarray(open_picture(encoded(Image.fromarray(values), kind)))
    np.testing.assert_allclose(pixels[..., 0], values / 257.0, atol=0.51)


def test_big_endian_and_signed_16_bit_grey() -> None:
    values = np.linspace(0, 65535, 256).reshape(16, 16)
    big = Image.frombytes("I;16B", (16, 16), values.astype(">u2").tobytes())
    np.testing.assert_allclose(np.asarray(open_picture(encoded(big, "TIFF")))[..., 0], values / 257.0, atol=0.51)
    signed = Image.fromarray((values - 32768).astype(np.int32))
    pixels = np.asarray(open_picture(encoded(signed, "TIFF")))
    assert (pixels.min(), pixels.max()) == (0, 255)  # negative values: from minimum to maximum


@pytest.mark.parametrize(("top", "shown"), [(1.0, 255), (255.0, 255), (65535.0, 255), (100.0, 100)])
def test_float_tiff_is_taken_by_the_smallest_range_that_holds_it(top: float, shown: int) -> None:
    values = np.linspace(0, top, 256, dtype=np.float32).reshape(16, 16)
    pixels = np.asarray(open_picture(encoded(Image.fromarray(values), "TIFF")))
    assert pixels.max() == shown
    assert pixels.min() == 0


def test_float_tiff_with_nan_and_negative_values() -> None:
    values = np.linspace(-1, 3, 256, dtype=np.float32).reshape(16, 16)
    values[0, 0] = np.nan
    pixels = np.asarray(open_picture(encoded(Image.fromarray(values), "TIFF")))
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_transparent_pixels_are_white() -> None:
    image = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 16, 32))
    pixels = np.asarray(open_picture(encoded(image, "PNG")))
    np.testing.assert_array_equal(pixels[0, 31], (255, 255, 255))
    np.testing.assert_array_equal(pixels[0, 0], (0, 0, 255))


def test_palette_and_grey_transparency_is_white() -> None:
    palette = photo().convert("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    assert np.asarray(open_picture(encoded(palette, "PNG", transparency=palette.getpixel((0, 0)))))[0, 0].min() == 255
    grey = Image.new("L", (8, 8), 7)
    assert np.asarray(open_picture(encoded(grey, "PNG", transparency=7)))[0, 0].min() == 255


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    pixel = np.asarray(open_picture(content))[4, 4]
    assert pixel[0] > 250
    assert pixel[1:].max() < 5


def test_resize_modes() -> None:
    image = Image.new("RGB", (80, 40), (200, 10, 10))
    image.paste((10, 10, 200), (0, 0, 20, 40))  # the left quarter is blue
    stretch, crop, letterbox = (fit(image, DecodeSettings(32, mode)) for mode in ("stretch", "crop", "letterbox"))
    assert stretch[16, 2, 2] > 150
    assert crop[16, 2, 0] > 150  # the centre square begins after the blue quarter
    np.testing.assert_array_equal(letterbox[0, 16], LETTERBOX)
    assert letterbox[16, 2, 2] > 150


@pytest.mark.parametrize("mode", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(24, 16), (70, 50), (16, 16), (32, 32)])  # the last two need no bilinear scaling
def test_a_picture_is_laid_where_it_is_wanted(mode: str, size: tuple[int, int]) -> None:
    image, settings, rows = photo(3).resize(size), DecodeSettings(16, mode), np.full((3, 16, 16, 3), 7, np.uint8)
    fit(image, settings, rows[1])
    np.testing.assert_array_equal(rows[1], fit(image, settings))
    assert (rows[::2] == 7).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (8, 8), (2001, 3)])
@pytest.mark.parametrize("mode", ["stretch", "crop", "letterbox"])
def test_extreme_shapes(size: tuple[int, int], mode: str) -> None:
    content = encoded(Image.new("RGB", size, (9, 99, 199)), "PNG")
    pixels = decode(content, DecodeSettings(24, mode))  # type: ignore[arg-type]
    assert pixels.shape == (24, 24, 3)
    assert pixels[11, 11].tolist() == [9, 99, 199]


def test_a_large_jpeg_is_decoded_smaller_with_the_same_look_from_file_and_bytes(tmp_path: Path) -> None:
    image = photo(7, 1600, 1200)
    content = encoded(image, "JPEG", quality=95)
    path = tmp_path / "large.jpg"
    path.write_bytes(content)
    settings = DecodeSettings(64)
    assert min(open_picture(path, settings).size) == 150  # 1/8, still above 64 × 1.25
    np.testing.assert_array_equal(decode(path, settings), decode(content, settings))
    assert np.abs(decode(path, settings).astype(int) - fit(image, settings).astype(int)).mean() < 3


def test_arrays() -> None:
    rgb = np.asarray(photo(2))
    np.testing.assert_array_equal(np.asarray(open_picture(rgb)), rgb)
    np.testing.assert_array_equal(np.asarray(open_picture(rgb[..., 0]))[..., 1], rgb[..., 0])
    np.testing.assert_array_equal(np.asarray(open_picture(rgb[..., :1]))[..., 2], rgb[..., 0])
    for wrong in (rgb.astype(np.float32), rgb[..., :2], rgb[0, 0], np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(PictureError, match="array"):
            open_picture(wrong)


def test_settings_say_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="8 to 4096"):
        DecodeSettings(4)
    with pytest.raises(ConfigError, match="stretch, crop, letterbox"):
        DecodeSettings(32, "squash")  # type: ignore[arg-type]
    settings = DecodeSettings(32, "crop")
    assert DecodeSettings.from_key(settings.key()) == settings
    with pytest.raises(ConfigError, match="decoder version"):
        DecodeSettings.from_key({**settings.key(), "decoder": 99})


def test_decode_many_keeps_order_and_hands_over_bad_pictures(tmp_path: Path) -> None:
    sources: list[Path] = []
    for number in range(40):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (16, 16), (number, 0, 0)).save(path)
        sources.append(path)
    sources[7].write_bytes(b"<html>not found</html>")
    bad: list[tuple[int, str]] = []
    results = list(decode_many(sources, SMALL, threads=3, on_error=lambda i, e: bad.append((i, e.reason))))
    assert [(index, int(pixels[0, 0, 0])) for index, pixels in results] == [(i, i) for i in range(40) if i != 7]
    assert bad == [(7, "is not a picture that can be read (it is an HTML page)")]
    with pytest.raises(PictureError, match="HTML"):
        list(decode_many(sources, SMALL, threads=3))


def test_decode_many_reads_ahead_only_a_window() -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield np.zeros((8, 8, 3), np.uint8)

    results = decode_many(endless(), SMALL, threads=2)  # type: ignore[arg-type]
    for _ in range(5):
        next(results)
    results.close()  # type: ignore[attr-defined]
    assert taken <= 4 * 2 * BUNDLE + BUNDLE  # four bundles a thread, and the one that was asked for
    assert not [t for t in threading.enumerate() if t.name.startswith("transferkit-data")]


def test_picture_errors_are_data_errors_and_travel_between_processes() -> None:
    error = PictureError("a.jpg", "is empty", "empty")
    assert isinstance(error, DataError)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.path, copy.reason, copy.kind, str(copy)) == ("a.jpg", "is empty", "empty", "a.jpg: is empty")


def test_header_of_a_turned_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(1, 30, 20).save(tmp_path / "a.jpg", exif=exif)
    header = read_header(tmp_path / "a.jpg")
    assert (header.size, header.mode, header.format, header.orientation) == ((30, 20), "RGB", "JPEG", 6)


@needs_trashnet
def test_real_photographs_are_decoded_alike_on_any_number_of_threads() -> None:
    sources = sorted(TRASHNET.glob("*/*.jpg"))[::80]
    settings = DecodeSettings(96)
    one = [pixels for _, pixels in decode_many(sources, settings, threads=1)]
    three = [pixels for _, pixels in decode_many(sources, settings, threads=3)]
    np.testing.assert_array_equal(np.stack(one), np.stack(three))


def deep(kind: str) -> tuple[np.ndarray, bytes]:
    """12-bit grey in 16 bits, with a dead and a hot pixel."""
    values = np.random.default_rng(4).integers(300, 2300, (40, 40)).astype(np.uint16)
    values[0, 0], values[0, 1] = 0, 65535
    return values, encoded(Image.fromarray(values), kind)


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_deep_grey_is_spread_between_its_percentiles_where_that_is_asked_for(kind: str, tmp_path: Path) -> None:
    values, content = deep(kind)
    low, high = np.percentile(values, (0.1, 99.9))
    wanted = np.rint((np.clip(values.astype(float), low, high) - low) / (high - low) * 255)
    settings = DecodeSettings(40, intensity="percentile")
    found = decode(content, settings)
    assert np.array_equal(found, np.repeat(wanted[:, :, None], 3, axis=2))
    assert decode(content, DecodeSettings(40)).mean() < 6  # nearly black
    assert found.mean() > 100
    (tmp_path / "a").write_bytes(content)
    assert np.array_equal(decode(tmp_path / "a", settings), found)
    with Image.open(tmp_path / "a") as image:
        assert np.array_equal(pixels_of(image, "percentile"), found)


def test_percentiles_change_nothing_of_8_bits_and_flat_pictures_stay_black() -> None:
    settings = DecodeSettings(24, intensity="percentile")
    for image in (photo(2, 24, 24), photo(2, 24, 24).convert("L")):
        content = encoded(image, "PNG")
        assert np.array_equal(decode(content, settings), decode(content, DecodeSettings(24)))
    assert decode(encoded(Image.fromarray(np.full((24, 24), 900, np.uint16)), "TIFF"), settings).max() == 0


def test_pages_and_boxes_of_deep_grey_obey_the_settings_too(tmp_path: Path) -> None:
    values, _ = deep("TIFF")
    pages = [Image.fromarray(values), Image.fromarray(values // 2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    settings = DecodeSettings(40, intensity="percentile")
    for part in ("#page=1", "#xywh=0,0,40,40"):
        assert decode(tmp_path / f"a.tif{part}", settings).mean() > 100
        assert decode(tmp_path / f"a.tif{part}", DecodeSettings(40)).mean() < 6


def test_the_key_names_only_what_is_not_as_it_always_was() -> None:
    plain, spread = DecodeSettings(32), DecodeSettings(32, intensity="percentile")
    assert plain.key() == {"decoder": 3, "size": 32, "resize": "stretch"}
    assert spread.key() == plain.key() | {"intensity": "percentile"}
    for settings in (plain, spread):
        assert DecodeSettings.from_key(settings.key()) == settings
    with pytest.raises(ConfigError, match="intensity 'max' is unknown; choose from full, percentile"):
        DecodeSettings(32, intensity="max")  # type: ignore[arg-type]


@pytest.mark.extended
def test_versions_that_rows_are_kept_under_do_not_depend_on_what_was_imported_first() -> None:
    """TensorFlow brings a zlib of its own, and whose is loaded first serves both."""
    ask = "from transferkit.data.images.decode import decoder_versions; print(sorted(decoder_versions().items()))"
    found = [
        subprocess.run([sys.executable, "-c", f"{first}{ask}"], capture_output=True, text=True, check=True).stdout
        for first in ("", "import tensorflow; ")
    ]
    assert found[0] == found[1]
