"""Contact sheet of augmented views, and of each range on its own, to look at before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from transferkit.data.augmentation.augment import PRESETS, AugmentationRanges, augmentation, render, view_seed
from transferkit.data.augmentation.views import Canvas, Draw
from transferkit.data.images.decode import DecodeSettings, open_pixels
from transferkit.data.samples import Pixels, Samples, shown
from transferkit.errors import DataError

_LINE, _LETTER = 16, 6  # height of a line and width of a letter
_GAP = 4
_COLUMNS = 6  # at least, for the ranges


@dataclass(frozen=True)
class _Row:
    """Pictures, uint8 [size, size, 3], with a caption above each."""

    cells: Sequence[tuple[str, Pixels]]
    heading: str = ""


def preview(
    samples: Samples,
    settings: DecodeSettings | None = None,
    augment: str | AugmentationRanges | None = None,
    *,
    pictures: int = 4,
    views: int = 6,
    seed: int = 0,
) -> Image.Image:
    """A contact sheet: views of some pictures, and below them what each range does by itself, at its ends, to the
    first.

    Args:
        samples: the data; pictures are taken spread over it.
        settings: size of the cells in pixels, and how pictures become square; None: 160, stretched.
        augment: one augmentation, a row a picture; None: a row a picture and preset.
        pictures: how many, at most.
        views: of each; the first is clean.
        seed: of the views, as of a run.

    Returns:
        The sheet, RGB.

    Raises:
        DataError: there is no picture, or none is asked for.
        PictureError: one cannot be read.
    """
    if len(samples) == 0 or pictures < 1 or views < 1:
        raise DataError(f"{pictures} pictures of {len(samples)} with {views} views make no preview")
    settings = settings or DecodeSettings(160)
    choices = [augmentation(augment)] if augment is not None else [p for p in PRESETS.values() if not p.is_none]
    count = min(pictures, len(samples))
    hashed = samples.select([round(i * (len(samples) - 1) / max(1, count - 1)) for i in range(count)]).hashed()
    rows, canvas = list[_Row](), None
    for index, (path, sha256) in enumerate(zip(hashed.paths, hashed.sha256 or (), strict=True)):
        pixels, seeds = open_pixels(hashed.source(index), settings), [view_seed(seed, sha256, v) for v in range(views)]
        canvas = canvas or Canvas.of(pixels, settings)
        for choice in choices:
            captions = [_short(path, settings.size), *(f"{choice.name}, view {view}" for view in range(1, views))]
            rows.append(_Row(list(zip(captions, render(pixels, settings, choice, seeds), strict=True))))
    assert canvas is not None
    for choice in choices:
        cells = list(alone(choice, canvas, view_seed(seed, "", 1)))
        heads = [f"{choice.name}, each range by itself at its ends"] + [""] * len(cells)
        width = max(views, _COLUMNS)
        rows += [_Row(cells[i : i + width], heads[i]) for i in range(0, len(cells), width)]
    return _sheet(rows, settings.size)


def alone(augment: AugmentationRanges, canvas: Canvas, seed: int) -> Iterator[tuple[str, Pixels]]:
    """What every range that is on does by itself; at last what a plugin does.

    Args:
        augment: the ranges.
        canvas: the picture.
        seed: of the plugin's view.

    Returns:
        Name and value as `--augment` spells them, and uint8 [size, size, 3], each.
    """
    for name, value, drawn in _ends(augment):
        yield f"{name}={value}", canvas.view(drawn)
    if augment.then is not None:
        yield f"then ({augment.plugin or 'a function'})", augment.finish(canvas.view(Draw()), seed)


def _ends(a: AugmentationRanges) -> Iterator[tuple[str, str, Draw]]:
    """Name, value and drawn numbers; of angles and shifts one end, the other is its mirror image."""
    if a.rotate:
        yield "rotate", f"{a.rotate:g}", Draw(rotate=a.rotate)
    for end in sorted({*a.zoom} - {1.0}):
        yield "zoom", f"{end:g}", Draw(zoom=end)
    if a.shift:
        yield "shift", f"{a.shift:g}", Draw(shift=(a.shift, a.shift))
    for name, mirror in (("flip_horizontal", (True, False)), ("flip_vertical", (False, True))):
        if getattr(a, name):
            yield name, "yes", Draw(mirror=mirror)
    if a.shear:
        yield "shear", f"{a.shear:g}", Draw(shear=a.shear)
    colours: tuple[tuple[str, float, Callable[[float], Draw]], ...] = (
        ("brightness", a.brightness, lambda end: Draw(brightness=1 + end)),
        ("contrast", a.contrast, lambda end: Draw(contrast=1 + end)),
        ("saturation", a.saturation, lambda end: Draw(saturation=1 + end)),
        ("hue", a.hue, lambda end: Draw(hue=end)),
    )
    for name, extent, drawn in colours:
        for end in (-extent, extent) if extent else ():
            yield name, f"{end:+g}", drawn(end)
    if a.erase:
        yield "erase", f"{a.erase:g}", Draw(erase=(a.erase, 0.0, 0.5, 0.5))


def _sheet(rows: Sequence[_Row], size: int) -> Image.Image:
    """All rows, one below the other, uint8 RGB."""
    cell, height = size + _GAP, size + _LINE + _GAP
    total = sum(height + (_LINE if row.heading else 0) for row in rows)
    sheet = Image.new("RGB", (max(len(row.cells) for row in rows) * cell + _GAP, total + _GAP), "white")
    pen, top = ImageDraw.Draw(sheet), _GAP
    for row in rows:
        if row.heading:
            pen.text((_GAP, top), _latin(row.heading), fill="black")
            top += _LINE
        for column, (caption, pixels) in enumerate(row.cells):
            left = _GAP + column * cell
            pen.text((left, top), _latin(caption[: size // _LETTER]), fill="black")
            sheet.paste(Image.fromarray(pixels), (left, top + _LINE))
        top += height
    return sheet


def _short(path: str, size: int) -> str:
    """The end of the file's name, as much as fits above a picture."""
    return shown(path.rpartition("/")[2])[-(size // _LETTER) :]


def _latin(text: str) -> str:
    """Pillow's built-in font draws Latin letters only."""
    return text.encode("latin-1", "replace").decode("latin-1")
