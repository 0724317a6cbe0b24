"""Damaged pictures of every form: each is read or refused, in bounded time and memory, and nothing is printed."""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from tortures.trying import Row, Session, in_child, mutated

NAME = "pictures"
FIXED = (
    "libtiff, Pillow and NumPy printed lines of their own about damaged TIFFs, EXIF blocks, NaNs and bombs",
    "sound pictures of 16 or 32 bits took 28 to 32 bytes a pixel (2.7 GB for the largest that is read), transparent "
    "ones 16, times the threads; now 8 to 9 (13 between percentiles), and large ones of all threads share a bound",
    "the 1.75 GB that this page told of 1,000 large damaged pictures were the 1,000 files, kept by the test itself",
    "of damaged DICOM pydicom printed warnings with values of the file, and one in a thousand "
    "ended in an error of its own",
    "a TIFF of 4 MB that claims two million strips took 12 s, one of 20 MB 58 s; both are refused at once",
)
OPEN = ("libwebp takes 17 bytes a pixel of its own: 1.5 GB for the largest WebP that is read, which then waits alone",)
MOST = 1000  # megabytes that a process may hold


def rows(session: Session) -> Iterator[Row]:
    """A row for each ending that the corpus of the tests holds, its forms taking turns."""
    from tests.corpus import corpus

    forms: dict[str, list[bytes]] = {}
    for name, item in corpus().items():
        forms.setdefault(PurePath(name).suffix[1:], []).append(item.content)
    for kind, content in _more():
        forms.setdefault(kind, []).append(content)
    yield _large(session.part(4, least=90))
    yield _crowded(session.part(4, least=90))
    if not session.short:
        yield _guided(session.part(3), [content for contents in forms.values() for content in contents])
    for kind, contents in forms.items():
        row = Row(kind, note=f"{len(contents)} forms, mutated")
        rng = session.rng(f"pictures {kind}")
        cases = []
        for number in session.times(200, 3000):
            cases.append((number, mutated(contents[number % len(contents)], rng)))
        in_child(cases, _attempt, row, lambda case: f"number {case[0]}", session.until)
        yield row


def _large(session: Session) -> Row:
    """Pictures whose work is large where numbers in them are believed, one after the other."""
    contents = _large_ones()
    row = Row("large ones of each", note=f"{len(contents)} forms, mutated, one at a time")

    def attempt(number: int) -> tuple[bool, list[str]]:
        return _attempt((number, _drawn(session, contents, number)))

    in_child(
        range(48 if session.short else 1000), attempt, row, lambda case: f"number {case}", session.until, most_mb=MOST
    )
    return row


def _drawn(session: Session, contents: list[bytes], number: int) -> bytes:
    """A damaged one. Made where it is tried: a thousand of them would be taken for what their decoding holds."""
    return mutated(contents[number % len(contents)], session.rng(f"pictures large {number}"))


def _crowded(session: Session) -> Row:
    """Eight at a time on eight threads."""
    contents = _large_ones()
    row = Row("large ones of each, eight threads at a time", note=f"{len(contents)} forms, mutated")

    def attempt(number: int) -> tuple[bool, list[str]]:
        return _attempt_eight([_drawn(session, contents, 8 * number + each) for each in range(8)])

    in_child(range(6 if session.short else 250), attempt, row, lambda case: f"number {case}", session.until, 60, MOST)
    return row


def _attempt_eight(eight: list[bytes]) -> tuple[bool, list[str]]:
    from transferkit.data.images.decode import DecodeSettings, decode, read_many

    settings, refused = DecodeSettings(24), list[int]()
    read = functools.partial(decode, settings=settings)
    found = list(read_many(read, eight, 8, lambda index, _: refused.append(index)))
    right = all(pixels.shape == (24, 24, 3) for _, pixels in found) and len(found) + len(refused) == 8
    return bool(refused), [] if right else [f"{len(found)} read and {len(refused)} refused of 8"]


GUIDED = """
import sys
import atheris
with atheris.instrument_imports(include=["PIL", "transferkit.data.images"]):
    from transferkit.data.images.decode import DecodeSettings, PictureError, decode
def one(content):
    try:
        found = decode(content, DecodeSettings(24))
    except PictureError:
        return
    assert found.shape == (24, 24, 3) and found.dtype == "uint8"
atheris.Setup(sys.argv, one)
atheris.Fuzz()
"""


def _guided(session: Session, contents: list[bytes]) -> Row:
    """Pictures that a coverage-guided fuzzer makes of those that are there."""
    row = Row("pictures that atheris makes, guided by which lines of Pillow and of the decoder they reach")
    if importlib.util.find_spec("atheris") is None:
        row.note = "atheris is not installed"
        return row
    place = session.fresh("guided")
    for number, content in enumerate(contents):
        (place / f"{number}").write_bytes(content)
    seconds = int(max(1, min(900, session.until - time.monotonic())))
    done = subprocess.run(
        [sys.executable, "-c", GUIDED, f"-max_total_time={seconds}", "-rss_limit_mb=2048", "-timeout=30",
         f"-seed={session.seed + 1}", "-print_final_stats=1", "-max_len=100000",
         f"-artifact_prefix={session.folder}/guided-", str(place)],
        env=session.environment(), cwd=session.folder, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    told = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    row.tried = int(told.get("number_of_executed_units", 0))
    row.note = f"{seconds} s, most memory {told.get('peak_rss_mb', '?')} MB"
    if done.returncode:
        row.failures.append(f"ended with {done.returncode}: {done.stderr[-400:]!r}")
    return row


@functools.cache
def _large_ones() -> list[bytes]:
    """Strips, tiles, pages, frames, deep pixels."""
    from PIL import Image

    from tests.data.pictures import encoded, photo

    scene, deep = photo(3, 900, 700), Image.fromarray(np.arange(810_000, dtype=np.uint16).reshape(900, 900))
    frames = {"save_all": True, "append_images": [photo(n, 300, 200) for n in range(40)]}
    contents = [encoded(scene, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    contents += [encoded(scene, "TIFF", compression="tiff_lzw", tiffinfo={278: 1}), encoded(deep, "PNG")]
    contents += [encoded(deep, "TIFF"), encoded(scene, "TIFF", **frames), encoded(scene, "GIF", **frames)]
    contents += [encoded(photo(50, 300, 200), "WEBP", **frames), encoded(scene, "JPEG", progressive=True)]
    contents.append(encoded(scene, "BMP"))
    return contents


def _more() -> Iterator[tuple[str, bytes]]:
    """Forms that Pillow writes and the corpus lacks, compressed ones above all."""
    from tests.data.pictures import encoded, photo

    scene = photo(3, 60, 44)
    for compression in ("tiff_deflate", "tiff_lzw", "packbits", "jpeg"):
        yield "tif", encoded(scene, "TIFF", compression=compression)
    yield "tif", encoded(scene.convert("1"), "TIFF", compression="group4")
    yield "webp", encoded(scene, "WEBP", quality=80)
    yield "bmp", encoded(scene.convert("P"), "BMP")
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        yield "heic", encoded(scene, "HEIF")
    with suppress(ImportError):
        import pillow_jxl  # noqa: F401 (Pillow writes the form once it is imported)

        yield "jxl", encoded(scene, "JXL")
        yield "jxl", encoded(scene, "JXL", lossless=True)
    with suppress(ImportError):
        yield from (("dcm", content) for content in _dicoms())


def _dicoms() -> Iterator[bytes]:
    import pydicom  # noqa: F401 (the extra may be missing)

    from tests.data.images.test_dicom import dicom

    grey = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    forms: tuple[tuple[np.ndarray, dict[str, Any]], ...] = (
        (grey, {}), (grey, {"WindowCenter": [512, 40], "WindowWidth": [257, 400]}),
        (np.stack([grey] * 3), {"PhotometricInterpretation": "MONOCHROME1"}),
        (grey.astype(np.int16), {"RescaleSlope": 1, "RescaleIntercept": -512}),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for pixels, tags in forms:
            yield dicom(Path(folder) / "a.dcm", pixels, **tags).read_bytes()


def _attempt(case: tuple[int, bytes]) -> tuple[bool, list[str]]:
    from transferkit.data.images.decode import DecodeSettings, PictureError, decode

    try:
        found = decode(case[1], DecodeSettings(24))
    except PictureError as error:
        return True, [] if error.reason and "\x1b" not in str(error) else [f"a reason of {error.reason!r}"]
    return False, [] if found.shape == (24, 24, 3) and found.dtype == "uint8" else [f"{found.shape} {found.dtype}"]
