"""Contact sheet of augmented views, each named, to look at before training."""

from __future__ import annotations

from PIL import Image, ImageDraw

from transferkit.data.augment import PRESETS, Augmentation, augmentation, render, view_seed
from transferkit.data.decode import DecodeSettings, open_picture
from transferkit.data.samples import Samples, shown
from transferkit.errors import DataError

_HEAD = 16
_GAP = 4


def preview(
    samples: Samples,
    settings: DecodeSettings | None = None,
    augment: str | Augmentation | None = None,
    *,
    pictures: int = 4,
    views: int = 6,
    seed: int = 0,
) -> Image.Image:
    """`pictures` samples, spread over the data, with `views` views each (the first is clean).

    With an augmentation one row a picture; without, one row a picture and preset. Raises: PictureError.
    """
    if len(samples) == 0 or pictures < 1 or views < 1:
        raise DataError(f"{pictures} pictures of {len(samples)} with {views} views make no preview")
    settings = settings or DecodeSettings(160)
    choices = [augmentation(augment)] if augment is not None else [p for p in PRESETS.values() if not p.is_none]
    count = min(pictures, len(samples))
    chosen = [round(i * (len(samples) - 1) / max(1, count - 1)) for i in range(count)]
    cell, row = settings.size + _GAP, settings.size + _HEAD + _GAP
    sheet = Image.new("RGB", (views * cell + _GAP, len(choices) * count * row + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    hashed = samples.select(chosen).hashed()
    for number, (choice, index) in enumerate((c, i) for i in range(count) for c in choices):
        image = open_picture(hashed.source(index), settings)
        seeds = [view_seed(seed, (hashed.sha256 or ())[index], view) for view in range(views)]
        top = _GAP + number * row
        for view, pixels in enumerate(render(image, settings, choice, seeds)):
            left = _GAP + view * cell
            sheet.paste(Image.fromarray(pixels), (left, top + _HEAD))
            name = _plain(hashed.paths[index]) if view == 0 else f"{choice.name}, view {view}"
            pen.text((left, top), name[-(settings.size // 6) :], fill="black")
    return sheet


def _plain(name: str) -> str:
    """The file's name; Pillow's built-in font draws Latin letters only."""
    return shown(name.rpartition("/")[2]).encode("latin-1", "replace").decode("latin-1")
