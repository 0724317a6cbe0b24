"""How things show themselves in a notebook: HTML that loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

COLOUR = "#4c78a8"


def text(content: str) -> str:
    """Text as it would stand in a terminal."""
    return f'<pre style="white-space:pre-wrap">{escape(content)}</pre>'


def bars(rows: Iterable[tuple[str, float, str]]) -> str:
    """A table of (name, share in 0…1, what is written behind the bar)."""
    lines = [
        f'<tr><td style="text-align:left">{escape(name)}</td><td style="width:12em;text-align:left">'
        f'<div style="background:{COLOUR};height:0.8em;width:{100 * min(1.0, max(0.0, share)):.1f}%"></div></td>'
        f'<td style="text-align:right">{escape(written)}</td></tr>'
        for name, share, written in rows
    ]
    return f"<table>{''.join(lines)}</table>"


class Page(type(Path())):  # type: ignore[misc]
    """The path of an HTML file; in a notebook, the page itself."""

    def _repr_html_(self) -> str:
        # The page inside the attribute, not its address: notebooks on other machines (Colab) do not serve our files.
        content = escape(self.read_text("utf-8"), quote=True)
        return f'<iframe srcdoc="{content}" style="width:100%;height:40em;border:1px solid #ccc"></iframe>'
