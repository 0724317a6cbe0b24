"""A part of a picture as a path: a box (`1.jpg#xywh=10,20,100,80`) or a page (`a.tif#page=3`).

The notation is that of W3C's media fragments. Boxes are in pixels of the upright picture, or in percent of its sides
(`#xywh=percent:…`). A file that is really called so wins (see `places`).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_PART = re.compile(
    r"(?P<base>.+)#(?:xywh=(?P<percent>percent:)?(?P<box>-?[\d.]+(?:,-?[\d.]+){3})|page=(?P<page>\d+))", re.DOTALL
)


@dataclass(frozen=True)
class Fragment:
    """One part: a `box` (left, top, width, height), or a `page` from 0."""

    text: str
    box: tuple[float, float, float, float] | None = None
    percent: bool = False
    page: int = 0

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom of the box within a picture; None where nothing of it lies inside."""
        assert self.box is not None
        x, y, w, h = self.box
        if self.percent:
            x, y, w, h = x * width / 100, y * height / 100, w * width / 100, h * height / 100
        left, top = max(0, round(x)), max(0, round(y))
        right, bottom = min(width, round(x + w)), min(height, round(y + h))
        return (left, top, right, bottom) if left < right and top < bottom else None


def parse(path: str | os.PathLike[str]) -> tuple[str, Fragment] | None:
    """The picture and the part that `path` means, or None where it means no part."""
    name = os.fspath(path)
    if "#" not in name:
        return None
    found = _PART.fullmatch(name)
    if found is None:
        return None
    text = name[len(found["base"]) :]
    try:
        if found["box"]:
            x, y, w, h = map(float, found["box"].split(","))
            return found["base"], Fragment(text, (x, y, w, h), bool(found["percent"]))
        return found["base"], Fragment(text, page=int(found["page"]))
    except ValueError:
        return None


def boxed(path: str, box: tuple[float, float, float, float], relative: bool = False) -> str:
    """The path of a box in a picture.

    Args:
        path: of the picture.
        box: left, top, width, height; in pixels of the upright picture.
        relative: the box is in shares of the sides (0…1) instead.
    """
    values = [value * 100 for value in box] if relative else list(box)
    return f"{path}#xywh={'percent:' if relative else ''}" + ",".join(f"{value:.10g}" for value in values)
