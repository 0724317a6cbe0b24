"""The paper that figures are drawn on: colours, fonts, hostile names made harmless, PNG and SVG out."""

from __future__ import annotations

import base64
import io
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from transferkit import files
from transferkit.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart by every kind of colour vision; the same order everywhere.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
LIGHT = {"ink": "#1b1f24", "soft": "#6b7280", "paper": "#ffffff", "grid": "#e5e7eb", "blue": BLUE}
DARK = {"ink": "#e6e8eb", "soft": "#9aa3ad", "paper": "#16191d", "grid": "#2c3138", "blue": "#56B4E9"}
# Scripts that DejaVu Sans, matplotlib's own font, lacks; used where the system has them.
MORE_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans", "Noto Emoji", "Arial Unicode MS")


@contextmanager
def style(dark: bool) -> Iterator[dict[str, str]]:
    """matplotlib's settings for one figure, whatever the user's matplotlibrc says; yields the colours."""
    _library()
    from matplotlib import font_manager

    colours = DARK if dark else LIGHT
    known = set(font_manager.get_font_names())
    settings: Any = {
        "font.family": ["DejaVu Sans", *(font for font in MORE_FONTS if font in known)],
        "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "text.usetex": False, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
        "axes.grid": True, "grid.linewidth": 0.8, "lines.linewidth": 1.8, "legend.frameon": False,
        "figure.facecolor": colours["paper"], "axes.facecolor": colours["paper"],
        "grid.color": colours["grid"], "text.color": colours["ink"], "axes.labelcolor": colours["ink"],
        "axes.edgecolor": colours["soft"],
        "xtick.color": colours["soft"], "ytick.color": colours["soft"],
        "xtick.labelcolor": colours["ink"], "ytick.labelcolor": colours["ink"],
    }  # fmt: skip
    with _settings(settings):
        yield colours


@contextmanager
def _settings(wanted: Any) -> Iterator[None]:
    """matplotlib's own defaults and `wanted`: a file `matplotlibrc` in the working directory has no say."""
    matplotlib = _library()
    with matplotlib.rc_context():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of settings that are on their way out
            matplotlib.rcParams.update({k: v for k, v in matplotlib.rcParamsDefault.items() if k != "backend"})
        matplotlib.rcParams.update(wanted)
        yield


def _library() -> Any:
    """The module `matplotlib`. Raises ConfigError where a settings file of its own keeps it from being imported."""
    try:
        import matplotlib
    except (UnicodeError, ValueError, SyntaxError, OSError) as error:
        raise ConfigError(
            f"matplotlib cannot be imported ({type(error).__name__}: {error}); where a file 'matplotlibrc' lies in the "
            "working directory or in matplotlib's settings folder, remove it or repeat the command elsewhere"
        ) from error
    return matplotlib


def blank(width: float, height: float) -> Figure:
    """An empty figure of so many inches, which keeps its labels inside.

    Args:
        width: in inches.
        height: in inches.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def label(name: str, longest: int = 24) -> str:
    """A class name fit for an axis: one line, no control characters, shortened in the middle.

    Args:
        name: of a class.
        longest: letters.
    """
    clean = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(name)).strip() or "(blank)"
    if len(clean) <= longest:
        return clean
    half = (longest - 1) // 2
    return clean[: longest - 1 - half] + "…" + clean[-half:]


def encode(figure: Figure, kind: Literal["png", "svg"] = "png") -> bytes:
    """The figure as PNG (110 dpi) or SVG bytes; the same figure gives the same bytes.

    Args:
        figure: what is drawn.
        kind: the form.
    """
    buffer = io.BytesIO()
    metadata = dict.fromkeys(["Software"] if kind == "png" else ["Date", "Creator"])
    with warnings.catch_warnings(), _settings({"svg.hashsalt": "transferkit"}):
        # A script without a font shows as boxes; the report names the class in text beside it.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support .* natively")
        figure.savefig(buffer, format=kind, metadata=metadata)
        # Laid out once: a second format of the same figure has its parts where the first had them. With "none" for None
        # matplotlib would draw all of it once more, for a layout that does nothing.
        figure.set_layout_engine(None)
    return buffer.getvalue()


def darkened(svg: bytes) -> bytes:
    """A light figure's SVG in the colours of the dark one; colours of the palette are the same in both."""
    pairs = {LIGHT[name].lower().encode(): DARK[name].lower().encode() for name in LIGHT}
    return re.sub(b"|".join(pairs), lambda found: pairs[found[0]], svg)


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG to `path`, whole or not at all.

    Args:
        figure: what is drawn.
        path: of the file.

    Returns:
        `path`.
    """
    files.write_bytes(path, encode(figure))
    return path


def address(picture: bytes, kind: Literal["png", "svg"]) -> str:
    """An encoded figure as a `data:` address.

    Args:
        picture: what `encode` gave.
        kind: the form it was given in.
    """
    mime = "image/png" if kind == "png" else "image/svg+xml"
    return f"data:{mime};base64,{base64.b64encode(picture).decode()}"
