"""Text of tables and lists as people save them: with byte order marks, in UTF-16, or in a Western code page."""

from __future__ import annotations

import os
import re
import unicodedata
from contextlib import suppress
from pathlib import Path

from transferkit.data.containers import places
from transferkit.data.containers.bucket import is_address
from transferkit.data.samples import shown, unreadable_reason
from transferkit.errors import DataError

# UTF-32's little-endian mark begins with UTF-16's: the longer ones first.
MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32-be"), (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"),
)  # fmt: skip
_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_LOOKED_AT = 4096
_MOST_CONTROL = 0.08  # of text; odd names of files hold some, and 0.11 of a compressed file's bytes are such


def read_text(path: Path, what: str) -> str:
    """The text of a file. Bytes that are not UTF-8 stand in it as surrogates (see `recoded`); lines end with \\n.

    Args:
        path: of the file, on the disk or inside of a container.
        what: it should be, for errors.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    reason = unreadable_reason(path)
    if reason is not None:
        raise DataError(f"{shown(path)} {reason}; give {what}")
    try:
        return decode_text(places.read(path))
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read ({error.strerror or error}); give {what}") from error
    except ValueError as error:
        raise DataError(f"{shown(path)} {error}; give {what}, saved as UTF-8 text") from error


def decode_text(raw: bytes) -> str:
    """`raw` as text without its byte order mark. Raises ValueError that says why it is none."""
    encoding, body = _encoding(raw)
    if encoding == "utf-8":
        head = body[:_LOOKED_AT]
        if b"\0" in body or len(_CONTROL.findall(head)) > _MOST_CONTROL * len(head):
            raise ValueError("is no text (it holds bytes that only binary files hold)")
        text = body.decode("utf-8", "surrogateescape")
    else:
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError as error:
            raise ValueError(f"is damaged {encoding.upper()} ({error.reason} at byte {error.start})") from error
    text = text.replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n")


def _encoding(raw: bytes) -> tuple[str, bytes]:
    for mark, name in MARKS:
        if raw.startswith(mark):
            return name, raw[len(mark) :]
    head = raw[:_LOOKED_AT]
    # UTF-16 without its mark: every other byte of Western text is zero.
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[first::2], head[1 - first :: 2]
        if len(raw) % 2 == 0 and zeros.count(0) > 0.8 * len(zeros) and 0 not in others:
            return name, raw
    return "utf-8", raw


def is_recoded(text: str) -> bool:
    """Whether `text` holds bytes that are not UTF-8."""
    return not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text)


def recoded(text: str) -> str:
    """`text` with its bytes read as Windows-1252 (which holds Latin-1), as Excel saves CSVs in the West.

    Raises UnicodeDecodeError where they are not that either.
    """
    return text.encode("utf-8", "surrogateescape").decode("cp1252")


def locate(root: Path, name: str) -> tuple[str, str | None]:
    """A name as a file below a folder spells it.

    What is there under the very name wins; then blanks and quotes around it, backslashes of Windows, Windows-1252 and
    the two forms of accents are tried. What is written in a file is never looked for in the network, whatever it names.

    Args:
        root: the folder.
        name: as a table has it.

    Returns:
        The spelling that is there, else `name` as it came; and why that file cannot be read (None: it can).
    """
    if is_address(name):
        return name, "does not exist"
    reason = unreadable_reason(root / name)
    if reason != "does not exist":
        return name, reason
    for other in _spellings(name):
        found = unreadable_reason(root / other)
        if found != "does not exist":
            return other, found
    return name, reason


def _spellings(name: str) -> list[str]:
    forms = [name]
    if is_recoded(name):
        with suppress(UnicodeDecodeError):
            forms.append(recoded(name))
    plain = [re.sub(r'^"(.*)"$', r"\1", form.strip(), flags=re.DOTALL) for form in forms]
    slashed = [form.replace("\\", "/") for form in (*forms, *plain)]
    accents = [unicodedata.normalize(form, text) for form in ("NFC", "NFD") for text in (*forms, *plain, *slashed)]
    return [form for form in dict.fromkeys((*forms[1:], *plain, *slashed, *accents)) if form and form != name]


class Spelling:
    """Says when two names mean one file of a folder: `./a.png`, `x/../a.png`, through linked folders, in
    other case where the disk ignores it.

    A link to a file is another name, not another spelling: what it shares with the file is content, like any copy.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, str] = {}
        self._folded: dict[str, str] = {}

    def key(self, name: str) -> str:
        """Equal for equal files."""
        folder, _, base = name.rpartition(os.sep)
        if base in ("", ".", ".."):
            return os.path.realpath(self.root / name)
        if folder not in self._folders:
            self._folders[folder] = os.path.join(os.path.realpath(self.root / (folder or name[: -len(base)])), "")
        place = self._folders[folder] + base
        first = self._folded.setdefault(unicodedata.normalize("NFC", place).casefold(), place)
        if first == place or not _same(first, place):
            return place
        return first


def _same(one: str, other: str) -> bool:
    """Whether a disk that ignores case holds one file under both names."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
