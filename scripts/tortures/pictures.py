"""Damaged pictures of every form: each is read or refused, in bounded time and memory, and nothing is printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

import numpy as np

from tortures.trying import Row, Session, in_child, mutated

NAME = "pictures"
FIXED = ("libtiff, Pillow and NumPy printed lines of their own about damaged TIFFs, EXIF blocks, NaNs and bombs",)
OPEN = ("a process that decoded 1,000 large damaged pictures held up to 1.75 GB; above 2 GB counts as a failure",)


def rows(session: Session) -> Iterator[Row]:
    """A row for each ending that the corpus of the tests holds, its forms taking turns."""
    from tests.corpus import corpus

    forms: dict[str, list[bytes]] = {}
    for name, item in corpus().items():
        forms.setdefault(PurePath(name).suffix[1:], []).append(item.content)
    for kind, content in _more():
        forms.setdefault(kind, []).append(content)
    for kind, contents in forms.items():
        row = Row(kind, note=f"{len(contents)} forms, mutated")
        rng = session.rng(f"pictures {kind}")
        cases = []
        for number in session.times(200, 3000):
            cases.append((number, mutated(contents[number % len(contents)], rng)))
        in_child(cases, _attempt, row, lambda case: f"number {case[0]}", session.until)
        yield row
    yield _large(session)


def _large(session: Session) -> Row:
    """Pictures whose work is large where numbers in them are believed: strips, tiles, pages, frames, deep pixels."""
    from PIL import Image

    from tests.data.pictures import encoded, photo

    scene, deep = photo(3, 900, 700), Image.fromarray(np.arange(810_000, dtype=np.uint16).reshape(900, 900))
    frames = {"save_all": True, "append_images": [photo(n, 300, 200) for n in range(40)]}
    contents = [encoded(scene, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    contents += [encoded(scene, "TIFF", compression="tiff_lzw", tiffinfo={278: 1}), encoded(deep, "PNG")]
    contents += [encoded(deep, "TIFF"), encoded(scene, "TIFF", **frames), encoded(scene, "GIF", **frames)]
    contents += [encoded(photo(50, 300, 200), "WEBP", **frames), encoded(scene, "JPEG", progressive=True)]
    contents.append(encoded(scene, "BMP"))
    row, rng = Row("large ones of each", note=f"{len(contents)} forms, mutated"), session.rng("pictures large")
    cases = [(number, mutated(contents[number % len(contents)], rng)) for number in session.times(48, 1000)]
    in_child(cases, _attempt, row, lambda case: f"number {case[0]}", session.until)
    return row


def _more() -> Iterator[tuple[str, bytes]]:
    """Forms that Pillow writes and the corpus lacks, compressed ones above all."""
    from tests.data.pictures import encoded, photo

    scene = photo(3, 60, 44)
    for compression in ("tiff_deflate", "tiff_lzw", "packbits", "jpeg"):
        yield "tif", encoded(scene, "TIFF", compression=compression)
    yield "tif", encoded(scene.convert("1"), "TIFF", compression="group4")
    yield "webp", encoded(scene, "WEBP", quality=80)
    yield "bmp", encoded(scene.convert("P"), "BMP")
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
        yield "heic", encoded(scene, "HEIF")
    except ImportError:
        pass


def _attempt(case: tuple[int, bytes]) -> tuple[bool, list[str]]:
    from transferkit.data.images.decode import DecodeSettings, PictureError, decode

    try:
        found = decode(case[1], DecodeSettings(24))
    except PictureError as error:
        return True, [] if error.reason and "\x1b" not in str(error) else [f"a reason of {error.reason!r}"]
    return False, [] if found.shape == (24, 24, 3) and found.dtype == "uint8" else [f"{found.shape} {found.dtype}"]
