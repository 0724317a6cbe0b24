"""Text for strangers: no path of this machine, nothing a terminal would obey, no escapes that only a terminal needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

UNREADABLE = "\N{REPLACEMENT CHARACTER}"
ORDERS = re.compile(r"(?:\x1b|\\x1b)(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*(?:\x07|\\x07)?)")  # colours, cursor, title
ESCAPES = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")  # as `text.shown` writes them
QUOTED = re.compile(r"""(?P<q>['"])(?:/|[A-Za-z]:\\)[^'"]*[/\\](?P<name>[^'"/\\]+)(?P=q)""")
POSIX = re.compile(r"""(?<![\w.~/:\\-])~?/(?:[^\s'"`,;()/]+/)+(?P<name>[^\s'"`,;()/]+)""")
WINDOWS = re.compile(r"""\b[A-Za-z]:\\(?:[^\s'"`,;()\\]+\\)+(?P<name>[^\s'"`,;()\\]+)""")


def readable(text: str) -> str:
    """`text` on one line without control characters or undecodable bytes, or escapes that stand for them."""
    text = ESCAPES.sub(UNREADABLE, ORDERS.sub("", text))
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else UNREADABLE for c in line)


def placeless(text: str, places: Iterable[str] = ()) -> str:
    """`text` with the last part of every absolute path alone; what lies in one of `places` keeps its path from there.

    Args:
        text: anything that is said of a run.
        places: folders of this machine that it was made in or of.
    """
    for place in sorted({p for p in places if len(Path(p).parts) > 1 and Path(p).is_absolute()}, key=len, reverse=True):
        folder = place.rstrip("/\\")
        text = re.sub(re.escape(folder) + r"[/\\](?=[^\s'\"])", "", text)
        text = re.sub(re.escape(folder) + r"(?![\w.-])", Path(folder).name.replace("\\", r"\\"), text)
    text = QUOTED.sub(lambda found: f"{found['q']}{found['name']}{found['q']}", text)
    for pattern in (POSIX, WINDOWS):
        text = pattern.sub(lambda found: found["name"], text)
    return text
