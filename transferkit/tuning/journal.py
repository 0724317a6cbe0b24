"""The journal of a search: one JSON object a line, on disk before the search goes on; survives kill -9 anywhere.

The last key of each line, `crc`, is the CRC-32 of all that is before it in the file: a line that was changed, lost,
doubled or moved is known by it. Journals of earlier versions have none; lines appended to them do.
"""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from transferkit import files
from transferkit.config import gone
from transferkit.data.samples import shown, unreadable_reason
from transferkit.errors import ConfigError, RunError, StorageError, raise_problems

FORMAT = 1
Event = dict[str, Any]  # one line, as JSON has it; `require_sound` checks what a search reads of it
_CHECKED = re.compile(rb',"crc":"([0-9a-f]{8})"\}$')  # how a line ends


class Journal:
    """Events of a search, only ever appended. Open with `Journal.open`; `events` is what it holds so far.

    The header (space, algorithm, seed, digests of data, split and weights, base settings) is the first line.
    """

    def __init__(self, path: Path, header: Event, events: list[Event], crc: int) -> None:
        self.path, self.header, self.events = path, header, events
        self._crc = crc  # of the whole file
        self._handle: int | None = os.open(path, os.O_WRONLY | os.O_APPEND)

    @classmethod
    def open(cls, path: str | Path, header: Mapping[str, object], resume: bool) -> Journal:
        """A new journal, or with `resume` the one that is there, cut behind its last whole line.

        Raises ConfigError where the stored header differs, naming each difference; RunError where there is a
        journal already and `resume` is False, or where the stored one is damaged.
        """
        path, wanted = Path(path), json.loads(_line(header))
        if not path.exists():
            line, crc = _checked(_line({"format": FORMAT, "header": wanted}), 0)
            files.write_bytes(path, line)
            return cls(path, wanted, [], crc)
        if not resume:
            raise RunError(f"{path} holds a search already; go on with --resume, or choose another --output")
        stored, events, crc = _read(path)
        raise_problems(ConfigError, _differences(stored, wanted))
        return cls(path, stored, events, crc)

    @staticmethod
    def read(path: str | Path) -> tuple[Event, list[Event]]:
        """Header and events of a journal, which is left as it is."""
        return _read(Path(path), cut=False)[:2]

    def append(self, event: Mapping[str, object]) -> None:
        """Write one event; it is on disk when this returns. NaN and infinities are written as null.

        Raises StorageError where the disk refuses; what was written before stays valid. RunError: it is closed.
        """
        if self._handle is None:
            raise RunError(f"{self.path} is closed; open it again with resume=True")
        text = _line(event)
        line, crc = _checked(text, self._crc)
        start = os.fstat(self._handle).st_size
        try:
            _write(self._handle, line)
        except OSError as error:
            os.ftruncate(self._handle, start)  # half a line would be joined to the next one
            why = "no space left while writing" if files.full(error) else "cannot write"
            remedy = "free some" if files.full(error) else "remove the cause"
            raise StorageError(f"{why} {self.path} ({files.reason(error)}); {remedy}, then --resume") from error
        self._crc = crc
        self.events.append(json.loads(text))

    def close(self) -> None:
        """Give the file back; closing twice does no harm."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def require_sound(path: Path, events: Sequence[Event]) -> None:
    """Refuse a journal in which an event lacks what a search, or its figures, read of it.

    Args:
        path: of the journal, for the error.
        events: of it, without the header.

    Raises:
        RunError: names the line.
    """
    asked: set[str] = set()
    for number, event in enumerate(events, start=2):
        kind, trial, proposal = event.get("event"), event.get("trial"), event.get("proposal", event)
        sound = isinstance(kind, str)
        if kind == "ask":
            sound = isinstance(trial, str) and isinstance(proposal, Mapping)
            sound = sound and isinstance(proposal.get("values"), Mapping) and _number(proposal.get("epochs", 1))
            asked.add(str(trial))
        elif kind in ("tell", "final"):
            numbers = (event.get(name, 0) for name in ("loss", "seconds", "features", "training", "epochs"))
            scores = event.get("scores", [])
            sound = isinstance(trial, str) and (kind == "final" or trial in asked)
            sound = sound and "score" in event and all(n is None or _number(n) for n in (event["score"], *numbers))
            sound = sound and isinstance(scores, list) and all(map(_number, scores))
        if not sound:
            raise RunError(f"{shown(path)} is damaged (line {number}); search again in another --output")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _write(handle: int, content: bytes) -> None:
    while content:
        content = content[os.write(handle, content) :]
    os.fsync(handle)


def _line(event: Mapping[str, object]) -> str:
    # One line whatever the names in it: JSON escapes line breaks, and other readers split at U+2028 too.
    return json.dumps(_plain(event), ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _checked(text: str, before: int) -> tuple[bytes, int]:
    """The line of `text`, a JSON object that is not empty, and the CRC-32 of the file with it; `before`: without."""
    content = text[:-1].encode()
    line = content + b',"crc":"%08x"}\n' % zlib.crc32(content, before)
    return line, zlib.crc32(line, before)


def _plain(value: Any) -> Any:
    """`value` in JSON's own types: NumPy's numbers become Python's, what is not finite becomes None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _read(path: Path, cut: bool = True) -> tuple[Event, list[Event], int]:
    """Header, events, and the CRC-32 of the lines that have them; with `cut`, the file ends with the last of these."""
    reason = unreadable_reason(path)
    if reason is not None and "0 bytes" not in reason:
        raise RunError(f"{shown(path)} {reason}; search again in another --output")
    content = path.read_bytes()
    whole = content.split(b"\n")[:-1]  # what follows the last line break was never finished
    rows, crc = _rows(whole)
    damaged = len(rows) + 1 if len(rows) + 1 < len(whole) else None  # the last: after a power cut, it may be zeros
    head = rows[0] if rows else {}
    sound = head.keys() == {"format", "header"} and head["format"] == FORMAT and isinstance(head["header"], dict)
    if damaged is not None or not sound:
        where = "the first line" if damaged in (None, 1) else f"line {damaged}"
        raise RunError(f"{path} is damaged or of another version ({where}); search again in another --output")
    length = sum(len(line) + 1 for line in whole[: len(rows)])
    if cut and length != len(content):
        with open(path, "r+b") as handle:
            handle.truncate(length)
            os.fsync(handle.fileno())
    return head["header"], rows[1:], crc


def _rows(lines: Sequence[bytes]) -> tuple[list[Event], int]:
    """Lines up to the first that is damaged, as what was appended, and the CRC-32 of the file up to there."""
    rows, crc, checked = list[Event](), 0, False
    for line in lines:
        row, found = _parse(line), _CHECKED.search(line)
        if row is None or (checked and found is None):  # of an earlier version are the first lines or none
            break
        if found is not None:
            checked = True
            if zlib.crc32(line[: found.start()], crc) != int(found[1], 16):
                break
            row.pop("crc")
        crc = zlib.crc32(line + b"\n", crc)
        rows.append(row)
    return rows, crc


def _parse(line: bytes) -> Event | None:
    try:
        row = files.parse_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _differences(stored: Event, wanted: Event) -> list[str]:
    """What makes `wanted` another search than the `stored` one, in words."""
    from transferkit.tuning.search_space.space import Space

    settings, asked = stored.get("settings"), wanted.get("settings")
    if isinstance(settings, dict) and isinstance(asked, dict):
        lost = [
            f"cannot resume: the search was begun with {text}. Search again in another --output"
            for text in gone.refusals(settings)
        ]
        if lost:
            return lost
        there = {name: value for name, value in gone.today(settings).items() if name in settings or name in asked}
        stored = {**stored, "settings": there}
    found = []
    if stored.get("space") != wanted.get("space") and "space" in stored and "space" in wanted:
        words = Space.from_dict(stored["space"]).difference(Space.from_dict(wanted["space"]))
        found += [f"the space changed: {text}" for text in words]
    before, now = (dict(_flat({k: v for k, v in h.items() if k != "space"})) for h in (stored, wanted))
    for name in dict.fromkeys([*before, *now]):
        if before.get(name) != now.get(name):
            found.append(f"{name} was {_shown(before, name)}, now {_shown(now, name)}")
    return [f"cannot resume: {text}. Repeat it as it was, or search again in another --output" for text in found]


def _flat(values: Event, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(values: Event, name: str) -> str:
    return json.dumps(values[name], ensure_ascii=False) if name in values else "not given"
