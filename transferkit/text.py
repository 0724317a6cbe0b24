"""Names and texts fit to print: whatever a stranger called a file or a class, no terminal obeys it.

The one place that decides which characters are printed as they are. It imports nothing of the package.
"""

from __future__ import annotations

import os
import re
import textwrap
import unicodedata

# Kept in texts of several lines. Spaces of every width (category Zs) are kept there too; they move nothing.
_LAYOUT = "\n\t"
# At whose blanks no line ends: a number with its percent sign, a short command, and what is quoted, as a path.
TOGETHER = re.compile(r" %|`[^`\n]{1,60}`|(?<![\w'])'[^'\n]{1,60}'(?![\w'])")
_GLUE = "\ue000"  # of the private range: no text of ours has it
COMMANDS = ("transferkit ", "pip install ")  # how a line of text begins that is to be copied


def shown(name: object) -> str:
    """`name` on one line, fit to print: line breaks, control characters and undecodable bytes appear as escapes."""
    text = os.fsdecode(name) if isinstance(name, bytes | os.PathLike) else str(name)
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def safe(text: str, encoding: str = "utf-8") -> str:
    """Text of any number of lines that no terminal obeys.

    Escape sequences, carriage returns, C1 controls, marks that turn the direction of writing and lone surrogates appear
    as escapes, and so does what the encoding has no character for.

    Args:
        text: what is to be printed.
        encoding: of where it goes.
    """
    escapes = {ord(c): _escape(c) for c in set(text) if not (c.isprintable() or _moves_nothing(c))}
    text = text.translate(escapes)
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:  # a stream of the user's own that calls its encoding as it likes
        return text.encode("ascii", "backslashreplace").decode("ascii")


def clipped(value: object, most: int = 200) -> str:
    """`value` on one line and fit to print, its end left out where it is long: what a stranger wrote, in a message.

    Args:
        value: printed by `str`.
        most: characters that are left.
    """
    text = str(value)
    return shown(text) if len(text) <= most else f"{shown(text[:most])}… ({len(text):,} characters)"


def _moves_nothing(character: str) -> bool:
    return character in _LAYOUT or unicodedata.category(character) == "Zs"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def wrapped(text: str, width: int | None, hang: int = 2) -> str:
    """Text in lines broken between words.

    Args:
        text: of any number of lines. Words wider than a line (a path) and lines that are commands stay whole, so that
            they can be copied.
        width: columns of a line; None: as it is.
        hang: by how much more than a line its continuation is indented.
    """
    if width is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in _folded(line, max(20, width), hang))


def _folded(line: str, width: int, hang: int) -> list[str]:
    bare = line.lstrip(" ")
    if len(line) <= width or bare.startswith(COMMANDS):
        return [line]
    indent = " " * (len(line) - len(bare))
    found = textwrap.wrap(
        TOGETHER.sub(lambda part: part[0].replace(" ", _GLUE), bare), width,
        initial_indent=indent, subsequent_indent=indent + " " * hang,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [part.replace(_GLUE, " ") for part in found]
