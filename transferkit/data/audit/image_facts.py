"""Facts about one picture file, for the audit: header, orientation, hash, likeness. Never raises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from transferkit.data.containers.places import open_file, part_of, sha256_in
from transferkit.data.images.decode import DecodeSettings, open_picture, picture_in
from transferkit.data.images.memory import MEMORY
from transferkit.data.images.opening import Fault, PictureError, header_in, opened, sniff
from transferkit.data.images.reading import HEAD
from transferkit.data.samples import Pixels, hash_source, shown, unreadable_reason

THUMBNAIL = 16
# By percentiles: in deep grey that stays nearly black all pictures would be alike, or none.
_SMALL = DecodeSettings(64, intensity="percentile")
# Extensions and the format they promise.
_PROMISED = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP",
    ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF", ".heic": "HEIF", ".heif": "HEIF",
    ".avif": "AVIF", ".jxl": "JXL", ".dcm": "DICOM", ".dicom": "DICOM",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of one picture; `fault` and `reason` are None where it can be read."""

    fault: Fault | None = None
    reason: str | None = None
    sha256: str | None = None
    size: tuple[int, int] | None = None
    mode: str | None = None
    format: str | None = None
    promised: str | None = None
    frames: int = 1
    orientation: int = 1
    likeness: int | None = None
    tiny: Pixels | None = None


def header(source: Path | Pixels, sha256: str | None = None) -> ImageFacts:
    """Facts from the header and the hash; the pixels are not decoded.

    Args:
        source: a file, or pixels uint8 [H, W] or [H, W, 1|3|4].
        sha256: hex digest, where it is known already.

    Returns:
        Facts without likeness and thumbnail; with a fault in place of an error.
    """
    return _examine(source, deep=False, sha256=sha256)


def examine(source: Path | Pixels) -> ImageFacts:
    """All facts; the picture is decoded to its end, so that one which is cut short is found."""
    return _examine(source, deep=True)


def _examine(source: Path | Pixels, deep: bool, sha256: str | None = None) -> ImageFacts:
    if isinstance(source, np.ndarray):
        return _of_array(source, deep)
    promised = _PROMISED.get(source.suffix.lower())
    name, (_, part) = shown(source), part_of(source) or (source, None)
    try:
        with opened(source, name) as handle:  # once: out of a container each opening costs the reading of the entry
            sha256 = sha256 or sha256_in(handle, part)
            head = header_in(handle, name)
            with MEMORY.turn():
                likeness, tiny = _likeness(picture_in(handle, name, _SMALL, part)) if deep else (None, None)
    except PictureError as error:
        return ImageFacts(error.kind, error.reason, sha256, promised=promised)
    except OSError as error:
        return ImageFacts("unreadable", f"cannot be read ({error.strerror or error})", promised=promised)
    return ImageFacts(
        sha256=sha256, size=head.size, mode=head.mode, format=head.format, promised=promised,
        frames=head.frames, orientation=head.orientation, likeness=likeness, tiny=tiny,
    )  # fmt: skip


def _of_array(array: Pixels, deep: bool) -> ImageFacts:
    try:
        image = open_picture(array)
    except PictureError as error:
        return ImageFacts(error.kind, error.reason)
    likeness, tiny = _likeness(image) if deep else (None, None)
    size, content = (array.shape[1], array.shape[0]), hash_source(array)
    return ImageFacts(sha256=content, size=size, mode=image.mode, format="array", likeness=likeness, tiny=tiny)


def _likeness(image: Image.Image) -> tuple[int, Pixels]:
    """A 256-bit perceptual hash (ImageHash's phash) and a 16×16 RGB thumbnail to confirm it with."""
    import imagehash

    bits = imagehash.phash(image, hash_size=16).hash.ravel()
    tiny = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    return int.from_bytes(np.packbits(bits).tobytes(), "big"), tiny


def picture_by_content(path: Path) -> str | None:
    """The picture format that a file's first bytes announce, whatever it is called."""
    if unreadable_reason(path) is not None:
        return None
    try:
        with open_file(path) as handle:
            return sniff(handle.read(HEAD))
    except OSError:
        return None
