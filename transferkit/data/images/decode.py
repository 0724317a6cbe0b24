"""The only decoder: every picture that is trained on, evaluated, predicted or exported passes through here.

Rules (a change to any of them raises `DECODER_VERSION`, which is part of every cache key):
The orientation that EXIF tells is applied, or else XMP's, as Pillow finds them. Transparent pixels are laid over
white. CMYK, palette, grey and YCbCr become RGB by Pillow's conversion; colour profiles are not applied. 16-bit grey
is scaled by its full range (65535 is white), and so is 12-bit grey; 32-bit and float pictures and signed ones are
taken as 0–1, 0–255 or 0–65535 by the smallest of these that holds them, else stretched from their minimum to their
maximum. With `intensity` "percentile" grey of more than 8 bits is spread between its own 0.1th and 99.9th percentile
instead. TIFF's "0 is white" is obeyed at every depth. Of an animation the first frame is read. A picture of more than
`MAX_PIXELS` pixels, or one that ends early, is refused. JPEGs much larger than needed are decoded at 1/2, 1/4 or 1/8
scale, chosen from the file and the settings alone, so that training and prediction see the same pixels. Sizing is
bilinear; a side to be shrunk to a half or less is averaged over whole pixels first, so that nothing aliases. The rules
themselves are in `reading`, `tones` and `sizing`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from transferkit.data.containers.fragments import Fragment
from transferkit.data.images import jpeg, reading
from transferkit.data.images.decode_settings import (
    DECODER_VERSION,
    INTENSITIES,
    RESIZES,
    DecodeSettings,
    Intensity,
    Resize,
    decoder_versions,
    outdated,
)
from transferkit.data.images.decoder_input import Part, content_of
from transferkit.data.images.memory import MEMORY, keep_freed, needed
from transferkit.data.images.opening import PictureError, named, opened
from transferkit.data.images.reading import DRAFT_MARGIN, MAX_PIXELS, draft_scale
from transferkit.data.images.sizing import LETTERBOX, fitted, letterboxed, scaled
from transferkit.data.images.tones import as_rgb, strips
from transferkit.data.samples import Pixels, Source
from transferkit.data.threads import map_ordered, one_core_each

__all__ = [
    "DECODER_VERSION", "DRAFT_MARGIN", "INTENSITIES", "LETTERBOX", "MAX_PIXELS", "RESIZES", "DecodeSettings",
    "Intensity", "PictureError", "Resize", "decode", "decode_many", "decoder_versions", "fit",
    "letterboxed", "open_picture", "open_pixels", "outdated", "picture_in", "read_many", "scaled",
]  # fmt: skip

T = TypeVar("T")
BUNDLE = 8  # pictures that a thread takes at a time


def decode(source: Source, settings: DecodeSettings) -> Pixels:
    """Read one picture.

    Args:
        source: a path, the bytes of a file, or an array as for `open_picture`.
        settings: size in pixels, and how the picture becomes square.

    Returns:
        uint8 [size, size, 3], RGB.

    Raises:
        PictureError: it cannot be read.
    """
    with MEMORY.turn():
        return fit(open_pixels(source, settings), settings)


def decode_many(
    sources: Iterable[Source],
    settings: DecodeSettings,
    threads: int = 0,
    on_error: Callable[[int, PictureError], None] | None = None,
) -> Iterator[tuple[int, Pixels]]:
    """Read many pictures, decoding ahead on threads; memory holds a small window of them.

    Args:
        sources: as for `decode`; taken lazily.
        settings: as for `decode`.
        threads: how many; 0: one a usable core.
        on_error: takes the index of a picture that cannot be read, and why; it is then left out.

    Returns:
        (index, uint8 [size, size, 3]), in order.

    Raises:
        PictureError: a picture cannot be read, and there is no `on_error`.
    """
    return read_many(lambda source: decode(source, settings), sources, threads, on_error, bundle=BUNDLE)


def read_many(
    read: Callable[[T], Pixels],
    items: Iterable[T],
    threads: int = 0,
    on_error: Callable[[int, PictureError], None] | None = None,
    bundle: int = 1,
) -> Iterator[tuple[int, Pixels]]:
    """What `read` makes of many items, working ahead on threads (see `map_ordered`).

    Args:
        read: one item → pixels; raises PictureError.
        items: taken lazily.
        threads: how many; 0: one a usable core.
        on_error: takes the index of an item for which `read` raises PictureError, and why; it is then left out.
        bundle: items that go to a thread at a time.

    Returns:
        (index, pixels), in order.

    Raises:
        PictureError: of `read`, where there is no `on_error`.
    """

    def one(item: T) -> Pixels | PictureError:
        try:
            return read(item)
        except PictureError as error:
            return error

    keep_freed()
    one_core_each()
    for index, result in enumerate(map_ordered(one, items, threads, bundle=bundle)):
        if not isinstance(result, PictureError):
            yield index, result
        elif on_error is None:
            raise result
        else:
            on_error(index, result)


def open_pixels(source: Source, settings: DecodeSettings) -> Pixels:
    """What `open_picture` reads, as an array; of ordinary JPEGs in half the time.

    Args:
        source: as for `open_picture`.
        settings: by whose size a large JPEG may be decoded at a reduced scale.

    Returns:
        uint8 [H, W, 3], valid until the next picture is read on the same thread: the memory is used again.

    Raises:
        PictureError: it cannot be read.
    """
    with MEMORY.turn():
        content, name = content_of(source)
        if isinstance(content, np.ndarray):
            return np.asarray(_from_array(content, name))
        with _file(content, name) as (handle, part):  # once: out of a container each opening reads the entry
            straight = jpeg.straight(handle, name, settings) if part is None else None
            return _pixels(picture_in(handle, name, settings, part)) if straight is None else straight


def _pixels(image: Image.Image) -> Pixels:
    """`np.asarray(image)`, which holds the pixels of a large picture twice, by strips."""
    found = np.empty((image.height, image.width, 3), np.uint8)
    for top, strip in strips(image):
        if strip is image:
            return np.asarray(image)
        found[top : top + strip.height] = np.asarray(strip)
    return found


def open_picture(source: Source, settings: DecodeSettings | None = None) -> Image.Image:
    """Read a picture at its own size, upright, as RGB.

    Args:
        source: a path, the bytes of a file, or an array uint8 [H, W] or [H, W, 1|3|4].
        settings: large JPEGs are then decoded at a reduced scale that still exceeds the wanted size; None: at full
            scale.

    Raises:
        PictureError: with the reason (missing, empty, a pipe, truncated, not a picture, too large, …).
    """
    with MEMORY.turn():
        content, name = content_of(source)
        if isinstance(content, np.ndarray):
            return _from_array(content, name)
        with _file(content, name) as (handle, part):
            return picture_in(handle, name, settings, part)


@contextmanager
def _file(content: Path | bytes | Part, name: str) -> Iterator[tuple[IO[bytes], Fragment | None]]:
    """The open file, and what part of it is meant. Raises PictureError."""
    file, part = (content.content, content.part) if isinstance(content, Part) else (content, None)
    if isinstance(file, Path):
        with opened(file, name) as handle:
            yield handle, part
    elif file:
        yield io.BytesIO(file), part
    else:
        raise PictureError(name, "is empty (0 bytes)", "empty")


def picture_in(
    handle: IO[bytes], name: str, settings: DecodeSettings | None = None, part: Fragment | None = None
) -> Image.Image:
    """What `open_picture` reads, of an open file.

    Args:
        handle: of the file, at any place.
        name: for errors, printable.
        settings: as for `open_picture`; of a part, only how grey of many bits is scaled.
        part: a page, or a box of the upright picture; None is the first page, whole.

    Raises:
        PictureError: it cannot be read, or has the box outside.
    """
    intensity = "full" if settings is None else settings.intensity
    # Of a part the whole is read: boxes are told in its pixels.
    size, resize = (0, "stretch") if settings is None or part is not None else (settings.size, settings.resize)
    page = 0 if part is None else part.page
    with named(name), MEMORY.turn():
        image = reading.identify(handle, page)
        scale = draft_scale(image.size, size, resize) if size and image.format in ("JPEG", "MPO") else 1
        MEMORY.take(needed(image, scale))
        image = reading.upright(handle, image, size, resize, page, intensity)
    if part is None or part.box is None:
        return image
    box = part.pixels(image.width, image.height)
    if box is None:
        raise PictureError(name, f"has its box outside of the picture, which is {image.width} × {image.height}")
    return image.crop(box)


def fit(image: Image.Image | Pixels, settings: DecodeSettings, into: Pixels | None = None) -> Pixels:
    """Scale an RGB picture to the square that a network takes.

    Args:
        image: Pillow's, or uint8 [H, W, 3].
        settings: its size in pixels, and how (`resize`).
        into: where to lay it, uint8 [size, size, 3], contiguous; None is a new array.

    Returns:
        `into`, uint8 [size, size, 3].
    """
    found: Pixels = fitted(np.asarray(image), settings.size, settings.resize, into)
    return found


def _from_array(array: npt.NDArray[Any], name: str) -> Image.Image:
    if array.dtype != np.uint8:
        how = "of values 0–1 make them by (255 * x).astype('uint8')"
        raise PictureError(name, f"pictures are uint8 with values 0–255, not {array.dtype}; {how}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise PictureError(name, "a picture array has the shape [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise PictureError(name, f"has more than {MAX_PIXELS:,} pixels", "too_large")
    return as_rgb(Image.fromarray(np.ascontiguousarray(array)))
