"""Pictures that a Python caller hands over as objects: arrays, tensors, Pillow images, the bytes of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from transferkit.data.images import tones
from transferkit.data.images.opening import PictureError
from transferkit.data.images.reading import DAMAGE, MAX_PIXELS, ORIENTATIONS, orientation_of
from transferkit.data.samples import Pixels, Source, shown

TAKEN = (
    "a picture file, a folder, a Pillow image, a uint8 array or tensor [H, W, 3] or [n, H, W, 3], the bytes of a "
    "picture file, or a list of these"
)


def sources_of(item: Any, intensity: str = "full") -> list[Source] | None:
    """What a caller's object holds, as the decoder takes it.

    Args:
        item: an array, a tensor, a Pillow image, the bytes of a file, or anything else.
        intensity: how grey of many bits is scaled, of the model that is to see it.

    Returns:
        One source a picture (of an array [n, H, W, C] n of them); None where it is none of these, such as a path.

    Raises:
        PictureError: a Pillow image cannot be used.
    """
    if isinstance(item, Image.Image):
        return [pixels_of(item, intensity)]
    if isinstance(item, bytes):
        return [item]
    if not isinstance(item, np.ndarray) and hasattr(item, "__array__"):
        item = np.asarray(item)
    if isinstance(item, np.ndarray):
        return list(item) if item.ndim == 4 else [item]
    return None


def pixels_of(image: Image.Image, intensity: str = "full") -> Pixels:
    """The pixels of a Pillow image by the decoder's rules: upright, RGB, transparency over white. It is left as it was.

    Of a JPEG whose file is much larger than the network's input they are read at full scale, where the decoder reads
    the file at a fraction.

    Args:
        image: as it is now, loaded or not.
        intensity: how grey of many bits is scaled, see `tones.as_rgb`.

    Returns:
        uint8 [H, W, 3].

    Raises:
        PictureError: it is too large, in LAB, or its file is damaged.
    """
    name = shown(getattr(image, "filename", "") or f"<image {image.mode} {list(image.size)}>")
    if image.width * image.height > MAX_PIXELS:
        raise PictureError(name, f"has more than {MAX_PIXELS:,} pixels", "too_large")
    if image.mode == "LAB":
        raise PictureError(name, "has colours in LAB, which is not supported; convert it to RGB", "unsupported")
    clear = image.info.get("transparency")
    try:
        tones.spread_transparency(image)
        image.load()
        rgb = tones.as_rgb(image, intensity)
        method = ORIENTATIONS.get(orientation_of(image))
        return np.asarray(rgb if method is None else rgb.transpose(method))
    except DAMAGE as error:
        raise PictureError(
            name, f"cannot be used as an image ({error or type(error).__name__}); give its file"
        ) from error
    finally:
        if clear is not None:
            image.info["transparency"] = clear
