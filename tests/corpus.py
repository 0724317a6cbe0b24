"""One scene in every form that a picture file takes, and files that are refused: what all readers must agree about."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from tests.data.pictures import encoded, photo

SCENE = photo(5, 60, 44)
RGB = np.asarray(SCENE)
GREY = np.asarray(SCENE.convert("L"))
LEFT = np.arange(60) < 25  # the columns that are transparent where any are
STORED = {  # what a camera writes whose orientation tag turns the picture back into the scene
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """The bytes of a file, the upright RGB that it shows, how far off (mean, of 255) it may be, and its orientation."""

    content: bytes
    shows: np.ndarray
    off: float = 1.0
    orientation: int = 1


# ------------------------------------------------------------------------------------------ pieces of files


def xmp(orientation: int, element: bool = False) -> bytes:
    """An XMP packet."""
    said = (f"<rdf:Description><tiff:Orientation>{orientation}</tiff:Orientation></rdf:Description>" if element
            else f'<rdf:Description tiff:Orientation="{orientation}"/>')  # fmt: skip
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{said}</x:xmpmeta>'.encode()


def exif(orientation: int | None) -> bytes:
    """An EXIF block, without a tag for None."""
    found = Image.Exif()
    found[0x010F] = "maker"
    if orientation is not None:
        found[0x0112] = orientation
    return found.tobytes()


def segment(marker: int, payload: bytes) -> bytes:
    """A JPEG segment."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def turned(orientation: int) -> Image.Image:
    """The scene as it is stored under an orientation."""
    return SCENE.transpose(STORED[orientation])


def jpeg(orientation: int, *segments: bytes, image: Image.Image | None = None) -> bytes:
    """A JPEG of the turned scene with segments right behind its start."""
    plain = encoded(image or turned(orientation), "JPEG", quality=95, subsampling=0)
    return plain[:2] + b"".join(segments) + plain[2:]


def png(values: np.ndarray, depth: int, kind: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of whole numbers [H, W] or [H, W, C], with chunks before and after its pixels."""
    height, width = values.shape[:2]
    rows = values.reshape(height, -1)
    if depth == 16:
        lines = [row.astype(">u2").tobytes() for row in rows]
    elif depth == 8:
        lines = [row.astype("u1").tobytes() for row in rows]
    else:
        bits = np.unpackbits(rows.astype("u1")[..., None], axis=2)[:, :, 8 - depth :].reshape(height, -1)
        lines = [np.packbits(row).tobytes() for row in bits]
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line for line in lines))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", data) + after
            + chunk(b"IEND", b""))  # fmt: skip


def tiff(data: bytes, bits: int, photometric: int, sample: int = 1, order: str = "<", more: bytes = b"") -> bytes:
    """An uncompressed TIFF of the scene's size, one channel; `more` is XMP."""
    height, width = GREY.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8),
            (277, 3, 1), (278, 3, height), (279, 4, len(data)), (339, 3, sample)]  # fmt: skip
    at = 8 + len(data) + len(more)
    at += at % 2
    rows = [struct.pack(f"{order}HHI", tag, kind, 1) + (
        struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value)
    ) for tag, kind, value in tags]  # fmt: skip
    if more:
        rows.append(struct.pack(f"{order}HHII", 700, 1, len(more), 8 + len(data)))
    rows.sort(key=lambda row: struct.unpack(f"{order}H", row[:2])[0])
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at)
    body = (data + more).ljust(at - 8, b"\0")
    return head + body + struct.pack(f"{order}H", len(rows)) + b"".join(rows) + bytes(4)


def grey(values: np.ndarray) -> np.ndarray:
    """Grey [H, W] as RGB."""
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


def white_left(shows: np.ndarray) -> np.ndarray:
    """What shows where the left columns are transparent."""
    found = shows.copy()
    found[:, LEFT] = 255
    return found


# ------------------------------------------------------------------------------------------ the corpus


def corpus() -> dict[str, Item]:
    """File name → item."""
    return {**_jpegs(), **_pngs(), **_tiffs(), **_others()}


def _jpegs() -> dict[str, Item]:
    app1 = b"http://ns.adobe.com/xap/1.0/\0"
    comment, profile = segment(0xFE, b"c" * 65_000), segment(0xE2, b"ICC_PROFILE\0\1\1" + b"p" * 65_000)
    large = SCENE.resize((600, 440), Image.Resampling.BICUBIC)
    found = {f"exif_{o}.jpg": Item(jpeg(o, segment(0xE1, exif(o))), RGB, 3, o) for o in STORED}
    return found | {
        "xmp.jpg": Item(jpeg(8, segment(0xE1, app1 + xmp(8))), RGB, 3, 8),
        "xmp_element.jpg": Item(jpeg(6, segment(0xE1, app1 + xmp(6, element=True))), RGB, 3, 6),
        "xmp_behind_exif.jpg": Item(jpeg(8, segment(0xE1, exif(None)), segment(0xE1, app1 + xmp(8))), RGB, 3, 8),
        "exif_over_xmp.jpg": Item(jpeg(6, segment(0xE1, app1 + xmp(3)), segment(0xE1, exif(6))), RGB, 3, 6),
        "exif_behind_comments.jpg": Item(jpeg(6, comment, comment, segment(0xE1, exif(6))), RGB, 3, 6),
        "exif_behind_profile.jpg": Item(jpeg(3, profile, profile, segment(0xE1, exif(3))), RGB, 3, 3),
        "large_xmp.jpg": Item(
            jpeg(8, segment(0xE1, app1 + xmp(8)), image=large.transpose(STORED[8])), np.asarray(large), 3, 8
        ),
        "plain.jpg": Item(encoded(SCENE, "JPEG", quality=95, subsampling=0), RGB, 3),
        "progressive.jpg": Item(encoded(SCENE, "JPEG", quality=95, progressive=True, subsampling=0), RGB, 3),
        "grey.jpg": Item(encoded(SCENE.convert("L"), "JPEG", quality=95), grey(GREY), 3),
        "rgb.jpg": Item(encoded(SCENE, "JPEG", quality=95, keep_rgb=True), RGB, 3),
        "cmyk.jpg": Item(encoded(SCENE.convert("CMYK"), "JPEG", quality=95, exif=exif(1)), RGB, 4),
        "several.jpg": Item(
            encoded(SCENE, "MPO", quality=95, save_all=True, append_images=[turned(3)], subsampling=0), RGB, 3
        ),
    }  # fmt: skip


def _pngs() -> dict[str, Item]:
    rgba = SCENE.copy()
    rgba.putalpha(Image.fromarray(np.where(LEFT, 0, 255)[None].repeat(44, 0).astype(np.uint8)))
    alpha = np.array(rgba)[..., 3].astype(int) * 257
    deep, clear = GREY.astype(int) * 257, 12_345
    deep_clear = np.where(LEFT, clear, np.where(deep == clear, clear + 1, deep))
    wide = RGB.astype(int) * 257
    near = np.where(LEFT[:, None], (0x1234, 0x5678, 0x9ABC), wide)
    near[:, 30] = (0x1235, 0x5678, 0x9ABC)  # alike in its upper bytes only: not transparent
    near_shows = white_left(RGB)
    near_shows[:, 30] = (0x12, 0x56, 0x9A)
    few, four = GREY // 64, GREY // 16
    few_clear, four_clear = (
        np.where(LEFT, 1, np.where(few == 1, 2, few)),
        np.where(LEFT, 3, np.where(four == 3, 4, four)),
    )
    bits, bits_clear = (GREY > 128).astype(int), np.where(LEFT, 0, 1)[None].repeat(44, 0)
    palette = SCENE.quantize(64)
    indices, colours = np.asarray(palette), bytes(palette.getpalette() or [])[: 64 * 3]
    indices_clear = np.where(LEFT, 63, np.where(indices == 63, 0, indices))
    shown = np.frombuffer(colours.ljust(192, b"\0"), np.uint8).reshape(-1, 3)[indices_clear]
    end = chunk(b"eXIf", exif(6)[6:])
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(8)
    stored = {o: np.asarray(turned(o)) for o in (6, 8)}
    return {
        "rgb.png": Item(encoded(SCENE, "PNG"), RGB),
        "grey.png": Item(encoded(SCENE.convert("L"), "PNG"), grey(GREY)),
        "bits.png": Item(png(bits, 1, 0), grey(bits * 255)),
        "bits_clear.png": Item(png(bits_clear, 1, 0, chunk(b"tRNS", b"\0\0")), grey(np.full((44, 60), 255))),
        "two_bits_clear.png": Item(png(few_clear, 2, 0, chunk(b"tRNS", b"\0\1")), white_left(grey(few_clear * 85))),
        "four_bits_clear.png": Item(png(four_clear, 4, 0, chunk(b"tRNS", b"\0\3")), white_left(grey(four_clear * 17))),
        "grey_alpha.png": Item(encoded(rgba.convert("LA"), "PNG"), white_left(grey(GREY))),
        "grey_alpha_16.png": Item(png(np.stack([deep, alpha], 2), 16, 4), white_left(grey(GREY))),
        "rgba.png": Item(encoded(rgba, "PNG"), white_left(RGB)),
        "rgba_16.png": Item(png(np.dstack([wide, alpha]), 16, 6), white_left(RGB)),
        "grey_16.png": Item(png(deep, 16, 0), grey(GREY)),
        "grey_16_clear.png": Item(
            png(deep_clear, 16, 0, chunk(b"tRNS", struct.pack(">H", clear))), white_left(grey(GREY))
        ),
        "rgb_16.png": Item(png(wide, 16, 2), RGB),
        "rgb_16_clear.png": Item(
            png(near, 16, 2, chunk(b"tRNS", struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC))), near_shows
        ),
        "palette_clear.png": Item(
            png(indices_clear, 8, 3, chunk(b"PLTE", colours) + chunk(b"tRNS", b"\xff" * 63 + b"\0")), white_left(shown)
        ),
        "exif.png": Item(encoded(turned(6), "PNG", exif=exif(6)), RGB, 1, 6),
        "exif_at_end.png": Item(png(stored[6], 8, 2, after=end), RGB, 1, 6),
        "xmp.png": Item(png(stored[8], 8, 2, chunk(b"iTXt", text)), RGB, 1, 8),
        "exif_then_xmp_at_end.png": Item(
            png(stored[8], 8, 2, chunk(b"eXIf", exif(None)[6:]), chunk(b"iTXt", text)), RGB, 1, 8
        ),
    }  # fmt: skip


def _tiffs() -> dict[str, Item]:
    deep = GREY.astype(int) * 257
    twelve = np.unpackbits((GREY.astype(int) * 4095 // 255).astype(">u2").view("u1").reshape(44, 60, 2), axis=2)
    packed = np.packbits(twelve[:, :, 4:].reshape(44, -1), axis=1).tobytes()
    unit = GREY.astype("<f4") / 255
    stretched = np.rint((GREY.astype(float) - GREY.min()) * 255 / (int(GREY.max()) - int(GREY.min())))
    tall = GREY.astype(np.int64) * 16_000_000  # above 2³¹ in the bright half
    frames = {"save_all": True, "append_images": [turned(3), turned(2)]}
    return {
        "rgb.tif": Item(encoded(SCENE, "TIFF", compression="tiff_lzw"), RGB),
        "cmyk.tif": Item(encoded(SCENE.convert("CMYK"), "TIFF"), RGB),
        "turned.tif": Item(encoded(turned(6), "TIFF", exif=exif(6)[6:]), RGB, 1, 6),
        "xmp.tif": Item(tiff(np.rot90(GREY, 2).tobytes(), 8, 1, more=xmp(3)), grey(GREY), 1, 3),
        "frames.tif": Item(encoded(SCENE, "TIFF", **frames), RGB),
        "grey_8_zero_is_white.tif": Item(tiff((255 - GREY).tobytes(), 8, 0), grey(GREY)),
        "grey_8_signed.tif": Item(tiff((GREY.astype(int) - 128).astype("i1").tobytes(), 8, 1, 2), grey(stretched)),
        "grey_12.tif": Item(tiff(packed, 12, 1), grey(GREY)),
        "grey_16.tif": Item(tiff(deep.astype("<u2").tobytes(), 16, 1), grey(GREY)),
        "grey_16_big_endian.tif": Item(tiff(deep.astype(">u2").tobytes(), 16, 1, order=">"), grey(GREY)),
        "grey_16_zero_is_white.tif": Item(tiff((65535 - deep).astype("<u2").tobytes(), 16, 0), grey(GREY)),
        "grey_16_big_endian_zero_is_white.tif": Item(
            tiff((65535 - deep).astype(">u2").tobytes(), 16, 0, order=">"), grey(GREY)
        ),
        "grey_16_signed_zero_is_white.tif": Item(
            tiff((32767 - deep).astype("<i2").tobytes(), 16, 0, 2), grey(stretched)
        ),
        "grey_32_zero_is_white.tif": Item(tiff((4_294_967_295 - tall).astype("<u4").tobytes(), 32, 0), grey(stretched)),
        "grey_32.tif": Item(tiff(tall.astype("<u4").tobytes(), 32, 1), grey(stretched)),
        "grey_float.tif": Item(tiff(unit.tobytes(), 32, 1, 3), grey(GREY)),
        "grey_float_zero_is_white.tif": Item(tiff((1 - unit).astype("<f4").tobytes(), 32, 0, 3), grey(GREY)),
    }  # fmt: skip


def _others() -> dict[str, Item]:
    rgba = SCENE.copy()
    rgba.putalpha(Image.fromarray(np.where(LEFT, 0, 255)[None].repeat(44, 0).astype(np.uint8)))
    frames = {"save_all": True, "append_images": [turned(3), turned(2)]}
    return {
        "exif.webp": Item(encoded(turned(6), "WEBP", lossless=True, exif=exif(6)), RGB, 1, 6),
        "xmp.webp": Item(encoded(turned(8), "WEBP", lossless=True, xmp=xmp(8)), RGB, 1, 8),
        "rgba.webp": Item(encoded(rgba, "WEBP", lossless=True), white_left(RGB)),
        "frames.webp": Item(encoded(SCENE, "WEBP", lossless=True, **frames), RGB),
        "frames.gif": Item(encoded(SCENE, "GIF", **frames), RGB, 14),
        "clear.gif": Item(encoded(rgba, "GIF"), white_left(RGB), 14),
        "rgb.bmp": Item(encoded(SCENE, "BMP"), RGB),
        "exif.avif": Item(encoded(turned(6), "AVIF", quality=95, exif=exif(6)), RGB, 6, 6),
        "named_wrongly.jpg": Item(encoded(SCENE, "PNG"), RGB),
    }


def refused() -> dict[str, tuple[bytes, str, str]]:
    """File name → content, the kind of fault, a word of the reason."""
    lab = Image.new("LAB", (60, 44), (120, 130, 140))
    image = bytearray(encoded(SCENE, "TIFF"))
    at = struct.unpack("<I", image[4:8])[0]
    for i in range(struct.unpack("<H", image[at : at + 2])[0]):
        entry = at + 2 + 12 * i
        if struct.unpack("<H", image[entry : entry + 2])[0] == 262:
            image[entry + 8 : entry + 10] = struct.pack("<H", 32_844)  # LogL: no rule, no mode
    squeezed = bytearray(tiff(GREY.tobytes(), 8, 1))
    squeezed[squeezed.index(struct.pack("<HHI", 259, 3, 1)) + 8] = 99
    bands = bytearray(tiff(GREY.tobytes() * 13, 8, 1))
    bands[bands.index(struct.pack("<HHI", 277, 3, 1)) + 8] = 13
    return {
        "bands.tif": (bytes(bands), "unsupported", "samples per pixel"),
        "float_rgb.tif": (cv2.imencode(".tif", RGB.astype(np.float32) / 255)[1].tobytes(), "unsupported", "pixel mode"),
        "lab.tif": (encoded(lab, "TIFF"), "unsupported", "LAB"),
        "log.tif": (bytes(image), "unsupported", "pixel mode"),
        "squeezed.tif": (bytes(squeezed), "unsupported", "compression 99"),
        "cut.jpg": (encoded(SCENE, "JPEG")[:-200], "damaged", "cut short"),
        "cut.png": (encoded(SCENE, "PNG")[:-200], "damaged", "cut short"),
        "page.jpg": (b"<!DOCTYPE html><html></html>", "not_a_picture", "HTML"),
    }
