"""Files that are no usable pictures: each is refused by name with its reason, none makes the decoder hang."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import encoded, photo
from tests.marks import as_ordinary_user
from transferkit.data.audit.audit import check
from transferkit.data.images.decode import DecodeSettings, PictureError, decode
from transferkit.data.images.opening import header_in
from transferkit.data.source import scan
from transferkit.errors import DataError

pytestmark = pytest.mark.timeout(60)
SETTINGS = DecodeSettings(24)
JPEG = encoded(photo(1, 96, 80), "JPEG", quality=90)
PNG = encoded(photo(2, 96, 80), "PNG")
WEBP = encoded(photo(3, 96, 80), "WEBP")
GIF = encoded(photo(4, 96, 80), "GIF")
BMP = encoded(photo(5, 96, 80), "BMP")
TIFF = encoded(photo(6, 96, 80), "TIFF")
TIFF_LZW = encoded(photo(6, 96, 80), "TIFF", compression="tiff_lzw")
AVIF = encoded(photo(7, 96, 80), "AVIF")


def png_bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    content = b"comment\0\0" + zlib.compress(b"a" * 70_000_000)
    chunk = struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))
    return PNG[:33] + chunk + PNG[33:]


def flipped(content: bytes, place: int, count: int = 8) -> bytes:
    damaged = bytearray(content)
    for i in range(place, min(place + count, len(damaged))):
        damaged[i] ^= 0xFF
    return bytes(damaged)


# name: (content, a word of the reason)
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty.jpg": (b"", "empty"),
    "one_byte.jpg": (b"\xff", "not a picture"),
    "zeros.png": (bytes(4096), "zeros only"),
    "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
    "page_indented.jpeg": (b"\n\n  <html></html>", "HTML"),
    "drawing.png": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "paper.jpg": (b"%PDF-1.7\n", "PDF"),
    "archive.jpg": (b"PK\x03\x04rest", "ZIP"),
    "text.png": (b"hello, world\n" * 50, "unknown content"),
    "random.jpg": (np.random.default_rng(0).bytes(5000), "unknown content"),
    "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unknown content"),
    "photoshop.jpg": (b"8BPS\0\x01" + bytes(60), "unknown content"),
    "jpeg_magic_only.jpg": (b"\xff\xd8\xff", "damaged"),
    "png_magic_only.png": (b"\x89PNG\r\n\x1a\n", "damaged"),
    "gif_magic_only.gif": (b"GIF89a", "damaged"),
    "bmp_magic_only.bmp": (b"BM", "damaged"),
    "tiff_magic_only.tif": (b"II*\0", "damaged"),
    "webp_magic_only.webp": (b"RIFF\x10\0\0\0WEBP", "damaged"),
    "avif_magic_only.avif": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "damaged"),
    "heic_without_content.heic": (b"\0\0\0\x1cftypheic\0\0\0\0heicmif1", "HEIC|damaged"),
    "bomb.png": (png_bomb(30_000, 30_000), "pixels"),
    "bomb_just_above.png": (png_bomb(9460, 9460), "pixels"),
    "bomb_2_31.png": (png_bomb(2**31 - 1, 2**31 - 1), "pixels|damaged"),
    "bomb.gif": (b"GIF89a" + struct.pack("<HH", 65535, 65535) + GIF[10:], "pixels"),
    "bomb.bmp": (BMP[:18] + struct.pack("<ii", 40_000, 40_000) + BMP[26:], "pixels"),
    "text_bomb.png": (text_bomb(), "damaged"),
    "zero_width.png": (png_bomb(0, 10), "damaged"),
    "png_wrong_crc.png": (flipped(PNG, 29, 2), "damaged"),
    "png_flipped_data.png": (flipped(PNG, len(PNG) // 2, 40), "damaged"),
    "png_no_data.png": (PNG[:33] + PNG[-12:], "damaged"),
    "jpeg_flipped_head.jpg": (flipped(JPEG, 3, 30), "damaged"),
    "jpeg_without_tables.jpg": (JPEG[:20] + JPEG[-500:], "damaged"),
    "webp_flipped.webp": (flipped(WEBP, 12, 20), "damaged"),
    "gif_flipped_head.gif": (flipped(GIF, 0, 3), "unknown content"),
    "tiff_flipped_offset.tif": (flipped(TIFF, 4, 4), "damaged"),
    "bmp_bad_header.bmp": (flipped(BMP, 14, 4), "damaged"),
    **{f"jpeg_cut_{part}.jpg": (JPEG[: len(JPEG) * part // 100], "damaged") for part in (2, 30, 60, 90)},
    **{f"png_cut_{part}.png": (PNG[: len(PNG) * part // 100], "damaged") for part in (2, 30, 60, 90)},
    **{f"webp_cut_{part}.webp": (WEBP[: len(WEBP) * part // 100], "damaged") for part in (20, 60, 90)},
    **{f"gif_cut_{part}.gif": (GIF[: len(GIF) * part // 100], "damaged") for part in (20, 60, 90)},
    **{f"bmp_cut_{part}.bmp": (BMP[: len(BMP) * part // 100], "damaged") for part in (20, 90)},
    **{f"tiff_cut_{part}.tif": (TIFF[: len(TIFF) * part // 100], "damaged") for part in (20, 90)},
    **{f"lzw_cut_{part}.tif": (TIFF_LZW[: len(TIFF_LZW) * part // 100], "damaged") for part in (20, 90)},
    **{f"avif_cut_{part}.avif": (AVIF[: len(AVIF) * part // 100], "damaged") for part in (30, 80)},
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of damage too; what counts is the refusal
def test_a_broken_file_is_refused_with_its_name_and_reason(name: str, tmp_path: Path) -> None:
    content, word = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(PictureError, match=word) as caught:
            decode(source, SETTINGS)
        assert caught.value.path == (str(path) if source is path else "<bytes>")


def test_there_are_at_least_forty_kinds() -> None:
    assert len(REFUSED) + len(ODD_FILES) >= 40


def a_folder(path: Path) -> None:
    path.mkdir()


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "gone.jpg")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def a_link_to_a_folder(path: Path) -> None:
    path.symlink_to(path.parent)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def nothing(path: Path) -> None:
    path.unlink(missing_ok=True)


def without_permission(path: Path) -> None:
    path.write_bytes(JPEG)
    path.chmod(0)


ODD_FILES: dict[Callable[[Path], None], str] = {
    a_folder: "is a folder",
    a_dangling_link: "link to a file that does not exist",
    a_link_to_itself: "cannot be opened",
    a_link_to_a_folder: "is a folder",
    a_pipe: "not a regular file",
    a_link_to_a_device: "not a regular file",
    nothing: "does not exist",
    without_permission: "no permission",
}


@pytest.mark.parametrize("make", ODD_FILES, ids=lambda make: make.__name__)
def test_what_is_no_plain_file_is_refused_without_waiting(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    make(path)
    with pytest.raises(PictureError, match=ODD_FILES[make]):
        as_ordinary_user(lambda: decode(path, SETTINGS))


def test_a_file_that_may_not_be_read_is_refused_for_every_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(JPEG)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(PictureError, match="no permission") as caught:
        decode(path, SETTINGS)
    assert caught.value.kind == "unreadable"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@pytest.mark.filterwarnings("ignore")
def test_any_flipped_or_cut_bytes_give_a_picture_or_a_picture_error(kind: str) -> None:
    content = encoded(photo(8, 40, 30), kind)
    rng = np.random.default_rng(1)
    refused: list[str] = []
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(0, len(damaged), rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        if rng.random() < 0.3:
            damaged = damaged[: rng.integers(1, len(damaged))]
        try:
            assert decode(bytes(damaged), SETTINGS).shape == (24, 24, 3)
        except PictureError as error:
            refused.append(error.reason)
    assert all(refused)


STRANGE_NAMES = [
    "new\nline.png", "tab\there.png", "émoji 🌹 rose.png", "quote\"'<b>&amp;.png", " blanks .png", "-rf.png",
    "a" * 251 + ".png", "semi;colon,comma.png", "%00%2e%2e.png", "[1].png", "#hash.png", "UPPER.PNG",
    os.fsdecode(b"latin-\xe9\xff.png"),
]  # fmt: skip


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_strange_names_are_read_split_and_saved(name: str, tmp_path: Path) -> None:
    from transferkit.data.splitting.split import load_splits, save_splits, split

    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(3):
            photo(number + 3 * (label == "b")).save(tmp_path / "data" / label / f"{number}.png")
    os.rename(tmp_path / "data" / "a" / "0.png", tmp_path / "data" / "a" / name)
    samples = scan(tmp_path / "data")
    assert os.path.join("a", name) in samples.paths
    splits = split(samples)
    save_splits(tmp_path / "splits.csv", samples, splits)
    assert load_splits(tmp_path / "splits.csv", samples).assignment == splits.assignment


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_strange_names_are_excluded_by_the_file_that_the_audit_writes(name: str, tmp_path: Path) -> None:
    from transferkit.files import write_text

    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        photo(ord(label)).save(tmp_path / "data" / label / "0.png")
    (tmp_path / "data" / "a" / name).write_bytes(PNG[:200])
    audit = check(tmp_path / "data")
    assert audit.excluded() == (os.path.join("a", name),)
    write_text(tmp_path / "out.txt", audit.exclusions())
    assert scan(tmp_path / "data", exclude_file=tmp_path / "out.txt").paths == ("a/0.png", "b/0.png")


def test_a_folder_with_links_to_nowhere_is_refused_by_name(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        photo(ord(label)).save(tmp_path / label / "0.png")
    (tmp_path / "a" / "gone.jpg").symlink_to("/nowhere/at/all.jpg")
    os.mkfifo(tmp_path / "b" / "pipe.jpg")
    with pytest.raises(DataError, match=r"2 pictures cannot be read.*gone\.jpg.*pipe\.jpg"):
        scan(tmp_path)


def test_truncated_pictures_are_refused_at_reduced_scale_too() -> None:
    large = encoded(photo(1, 1600, 1200), "JPEG")
    with pytest.raises(PictureError, match="damaged"):
        decode(large[: len(large) * 9 // 10], SETTINGS)


QUIET = """
import pathlib, sys
from transferkit.data.images.decode import DecodeSettings, PictureError, decode
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        decode(path, DecodeSettings(24))
        print(path.name, "read")
    except PictureError as error:
        print(path.name, error.kind)
"""


def test_the_libraries_below_print_nothing_of_their_own(tmp_path: Path) -> None:
    """libtiff by C, Pillow and NumPy by warnings: each would put bytes of a stranger's file on the terminal."""
    lzw = bytearray(encoded(photo(3, 60, 44), "TIFF", compression="tiff_lzw"))
    lzw[9:40] = b"\xff" * 31
    bomb = bytearray(encoded(photo(3), "BMP"))
    bomb[18:26] = (10_000).to_bytes(4, "little") + (9_500).to_bytes(4, "little")
    signalling = np.frombuffer(bytes.fromhex("0100807f") * (44 * 60), "<f4").reshape(44, 60)
    exif = encoded(photo(3), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0" + b"\x12\1\3\0\1\0\0\0\6\0\0\0")
    files = {
        "a.tif": bytes(lzw),
        "b.bmp": bytes(bomb),
        "c.tif": encoded(Image.fromarray(signalling), "TIFF"),
        "d.jpg": exif,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    said = subprocess.run(
        [sys.executable, "-W", "default", "-c", QUIET, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines() == ["a.tif damaged", "b.bmp too_large", "c.tif read", "d.jpg read"]
    assert said.stderr == ""


# ------------------------------------------------------------------------------------------ TIFFs that claim much


def tiff(pages: int = 1, big: bool = False, **others: tuple[int, int]) -> bytes:
    """A grey TIFF of 8 × 8 zeros, whose other tags have so many values of a type; the values of all are zeros."""
    tags = {256: (4, 1, 8), 257: (4, 1, 8), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8),
            277: (3, 1, 1), 278: (4, 1, 8), 279: (4, 1, 64)}  # fmt: skip
    tags |= {int(tag[1:]): (form, many, 16) for tag, (form, many) in others.items()}
    number, entry, place = ("<Q", "<HHQQ", "<Q") if big else ("<H", "<HHII", "<I")
    size = struct.calcsize(number) + len(tags) * struct.calcsize(entry) + struct.calcsize(place)
    head = b"II+\0\x08\0\0\0" if big else b"II*\0"
    out, at = bytearray(head + struct.pack(place, 16 if big else 8)), 16 if big else 8
    for page in range(pages):
        at += size
        out += struct.pack(number, len(tags)) + b"".join(struct.pack(entry, tag, *tags[tag]) for tag in sorted(tags))
        out += struct.pack(place, at if page < pages - 1 else 0)
    widths = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 12: 8}
    return bytes(out) + bytes(max((widths[form] * many for form, many in others.values()), default=64))


MANY = 1_000_000
CLAIMS = {
    "strips": {"t273": (1, MANY), "t279": (1, MANY)}, "strips of long": {"t273": (4, MANY)},
    "tiles": {"t324": (4, MANY)},
    "bits": {"t258": (5, MANY)}, "resolutions": {"t282": (12, MANY)}, "of a BigTIFF": {"t273": (4, MANY), "big": True},
}  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_tiff_of_a_million_strips_or_values_is_refused_at_once(claim: str) -> None:
    """Ten megabytes of them took a minute."""
    content, began = tiff(**CLAIMS[claim]), time.process_time()  # type: ignore[arg-type]
    for work in (lambda: decode(content, SETTINGS), lambda: header_in(io.BytesIO(content), "a.tif")):
        with pytest.raises(PictureError, match=r"has 1,000,000 (strips or tiles|values of the tag \d+)") as caught:
            work()
        assert caught.value.kind == "too_large"
    assert time.process_time() - began < 1


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_of_many_pages_is_read_and_the_pages_of_one_of_far_too_many_are_not_counted(big: bool) -> None:
    began = time.process_time()
    for pages, told in ((1, 1), (300, 300), (30_000, 0)):
        content = tiff(pages, big)
        assert decode(content, SETTINGS).shape == (24, 24, 3)
        assert header_in(io.BytesIO(content), "a.tif").frames == told
    assert time.process_time() - began < 3
    ring = bytearray(tiff(2, big))
    ring[-64 - struct.calcsize("<Q" if big else "<I") : -64] = struct.pack("<Q" if big else "<I", 16 if big else 8)
    assert header_in(io.BytesIO(bytes(ring)), "a.tif").frames < 30


@pytest.mark.parametrize("size", [1, 7, 8, 12, 15, 40])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_that_ends_in_its_tags_is_damaged(big: bool, size: int) -> None:
    with pytest.raises(PictureError, match=r"damaged|unknown content"):
        decode(tiff(big=big)[:size], SETTINGS)


def test_values_of_private_tags_are_none_of_ours() -> None:
    """Microscopes keep what they like there."""
    assert decode(tiff(t65000=(4, MANY)), SETTINGS).shape == (24, 24, 3)
