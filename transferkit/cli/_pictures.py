"""Pictures in a terminal, in rows with their labels: by kitty's or iTerm2's protocol, else as half blocks of colour.

A terminal that says of none of these that it knows it gets none; the page (`--html`) shows them always.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import click
import numpy as np
from PIL import Image
from rich.cells import cell_len, set_cell_size

from transferkit.text import shown

if TYPE_CHECKING:
    from transferkit.data.samples import Samples

Way = Literal["kitty", "iterm", "blocks"]
Tile = tuple[Image.Image | None, str]  # a picture (None: it cannot be read), and its label
_ACROSS = 5  # pictures in a row
_WIDEST = 20  # columns of a picture
_NARROWEST = 10
_GAP = 1
_DENSE = 10  # pixels of a column, for terminals that show real pictures
_SIDE = 200  # pixels that are decoded at least
_CHUNK = 4096  # bytes that kitty takes at a time


def way_of(environment: Mapping[str, str]) -> Way | None:
    """How the terminal that `environment` tells of shows pictures; None where it does not, or is not to."""
    if environment.get("NO_COLOR") or environment.get("TERM", "dumb") == "dumb":
        return None
    inside = environment.get("TMUX") or environment["TERM"].startswith(("screen", "tmux"))  # which pass nothing through
    if not inside and (environment.get("KITTY_WINDOW_ID") or environment["TERM"] in ("xterm-kitty", "xterm-ghostty")):
        return "kitty"
    if not inside and environment.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm"):
        return "iterm"
    return "blocks" if environment.get("COLORTERM") in ("truecolor", "24bit") else None


def way() -> Way | None:
    """How standard output shows pictures; None where it is no terminal, or cannot."""
    encoding = getattr(sys.stdout, "encoding", None) or ""
    if not sys.stdout.isatty() or encoding.lower().replace("-", "") != "utf8":
        return None
    return way_of(os.environ)


def show(samples: Samples) -> None:
    """Ten of the pictures, where standard output is a terminal that shows them."""
    from transferkit.data.dataset_summary import shown_pictures
    from transferkit.data.images.decode import DecodeSettings, open_picture
    from transferkit.data.images.opening import PictureError
    from transferkit.data.images.thumbnail import DEEP

    by = way()
    if by is None:
        return
    tiles: list[Tile] = []
    settings = DecodeSettings(_SIDE, intensity=DEEP)
    for index in shown_pictures(samples):
        try:
            tiles.append((open_picture(samples.source(index), settings), samples.label(index)))
        except PictureError as error:
            tiles.append((None, error.reason))
    draw(tiles, by, shutil.get_terminal_size().columns)


def draw(tiles: Sequence[Tile], by: Way, columns: int) -> None:
    """Print `tiles` in rows that fit into `columns`."""
    click.echo("".join(drawn(tiles, by, columns)), nl=False, color=True)


def drawn(tiles: Sequence[Tile], by: Way, columns: int) -> Iterator[str]:
    """The text that `draw` prints. Of others' words, only labels are in it, and no terminal obeys them."""
    across = max(1, min(_ACROSS, (columns + _GAP) // (_NARROWEST + _GAP)))
    width = min(_WIDEST, (columns + _GAP) // across - _GAP) // 2 * 2
    for start in range(0, len(tiles), across):
        row = tiles[start : start + across]
        pixels = width if by == "blocks" else width * _DENSE
        strip = np.concatenate([_square(picture, pixels, pixels * _GAP // width) for picture, _ in row], axis=1)
        size = (len(row) * (width + _GAP), width // 2)
        yield {"kitty": _kitty, "iterm": _iterm, "blocks": _blocks}[by](strip, *size)
        yield (" " * _GAP).join(set_cell_size(_short(label, width), width) for _, label in row).rstrip() + "\n"


def _short(label: str, width: int) -> str:
    text = shown(label)
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def _square(picture: Image.Image | None, side: int, gap: int) -> np.ndarray:
    """RGBA [side, side + gap, 4]: the whole picture in the middle of nothing."""
    canvas = np.zeros((side, side + gap, 4), np.uint8)
    if picture is not None:
        scale = side / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        pixels = np.asarray(
            picture.convert("RGB").resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
        )
        top, left = (side - size[1]) // 2, (side - size[0]) // 2
        canvas[top : top + size[1], left : left + size[0], :3] = pixels
        canvas[top : top + size[1], left : left + size[0], 3] = 255
    return canvas


def _png(strip: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue())


def _kitty(strip: np.ndarray, columns: int, rows: int) -> str:
    content = _png(strip).decode()
    chunks = [content[at : at + _CHUNK] for at in range(0, len(content), _CHUNK)]
    keys = [f"a=T,f=100,q=2,c={columns},r={rows},", *[""] * (len(chunks) - 1)]
    last = len(chunks) - 1
    return "".join(f"\x1b_G{keys[i]}m={int(i < last)};{chunk}\x1b\\" for i, chunk in enumerate(chunks)) + "\n"


def _iterm(strip: np.ndarray, columns: int, rows: int) -> str:
    content = _png(strip).decode()
    return f"\x1b]1337;File=inline=1;width={columns};height={rows};preserveAspectRatio=0:{content}\a\n"


def _blocks(strip: np.ndarray, columns: int, rows: int) -> str:
    """Two pixels a character: the upper half in the colour of letters, the lower in that of the ground."""
    lines = []
    for row in range(rows):
        pairs = zip(strip[2 * row].tolist(), strip[2 * row + 1].tolist(), strict=True)
        lines.append("".join(_block(upper, lower) for upper, lower in pairs) + "\x1b[0m\n")
    return "".join(lines)


def _block(upper: Sequence[int], lower: Sequence[int]) -> str:
    if not upper[3] and not lower[3]:
        return "\x1b[0m "
    if upper[3] and lower[3]:
        return f"\x1b[38;2;{upper[0]};{upper[1]};{upper[2]};48;2;{lower[0]};{lower[1]};{lower[2]}m▀"
    r, g, b, _ = upper if upper[3] else lower
    return f"\x1b[0;38;2;{r};{g};{b}m{'▀' if upper[3] else '▄'}"
