"""Small JPEGs of pictures, by the project's decoder, for pages."""

from __future__ import annotations

import io

from PIL import Image

from transferkit.data.images.decode import DecodeSettings, Intensity, open_picture
from transferkit.data.samples import Source

DEEP: Intensity = "percentile"  # for people who judge pictures: deep grey that stays nearly black shows them nothing


def thumbnail(source: Source, side: int, intensity: Intensity = "full") -> bytes:
    """The whole upright picture as a small JPEG.

    Args:
        source: a path, the bytes of a file, or an array.
        side: the most that it has on its long side, in pixels.
        intensity: how grey of many bits is scaled.

    Raises:
        PictureError: it cannot be read.
    """
    image = open_picture(source, DecodeSettings(side, intensity=intensity))
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
