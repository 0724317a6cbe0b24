"""A pseudo-terminal with a small screen behind it: what a person sees of a command, and when."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07]*\x07|[\s\S]")


@dataclass
class Screen:
    """Lines as a terminal of that width would show them. No line is ever scrolled away, so all can be looked at."""

    columns: int
    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0
    folded: list[str] = field(default_factory=list)  # lines that the terminal itself had to break

    def feed(self, text: str) -> None:
        """Obey `text`: printable characters, carriage returns, line feeds, and the escapes that rich uses."""
        for found in TOKEN.finditer(text):
            if found[2]:
                self._escape(found[1], found[2])
            elif len(found[0]) == 1:
                self._character(found[0])

    def _character(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down(1)
            self.column = 0
        elif character.isprintable():
            if self.column == self.columns:
                self.folded.append(self.lines[self.row])
                self._down(1)
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _down(self, count: int) -> None:
        self.row += count
        self.lines += [""] * (self.row + 1 - len(self.lines))

    def _escape(self, arguments: str, final: str) -> None:
        number = int(arguments) if arguments.isdigit() else 0
        if final == "A":
            self.row = max(0, self.row - max(1, number))
        elif final == "B":
            self._down(max(1, number))
        elif final == "K":
            line = self.lines[self.row]
            self.lines[self.row] = "" if number == 2 else line[: self.column]
        elif final == "J":
            self.lines = self.lines[: self.row + 1]
            self.lines[self.row] = self.lines[self.row][: self.column]


@dataclass
class Session:
    """What a command did to its terminal: `events` are (seconds since the start, text), `code` its exit code."""

    events: list[tuple[float, str]]
    columns: int
    code: int

    @property
    def first(self) -> float:
        """Seconds until something could be read."""
        return next(at for at, text in self.events if re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text).strip())

    @property
    def screen(self) -> Screen:
        """The screen at the end."""
        screen = Screen(self.columns)
        for _, text in self.events:
            screen.feed(text)
        return screen

    def frames(self) -> list[list[str]]:
        """The lines on the screen after each piece of output."""
        screen, found = Screen(self.columns), []
        for _, text in self.events:
            screen.feed(text)
            found.append([line.rstrip() for line in screen.lines])
        return found


def received(main: int) -> bytes:
    """The next bytes from the other side of a terminal; none once that is closed."""
    try:
        return os.read(main, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""


def drive(
    command: Sequence[str], folder: Path, columns: int = 80, rows: int = 24,
    environment: Mapping[str, str] | None = None, limit: float = 300.0, until: str | None = None,
) -> Session:  # fmt: skip
    """Run `command` on a terminal of that size until it ends, or (then it is stopped) until it has said `until`."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "TF_CPP_MIN_LOG_LEVEL", "NO_COLOR")}
    process = subprocess.Popen(
        list(command), stdin=subprocess.DEVNULL, stdout=side, stderr=side, cwd=folder,
        env={**kept, "TERM": "xterm-256color", **(environment or {})},
    )  # fmt: skip
    os.close(side)
    started, events, rest = time.monotonic(), [], b""
    while time.monotonic() - started < limit:
        if not select.select([main], [], [], 1.0)[0]:
            continue
        block = received(main)
        if not block:
            break
        whole = rest + block
        text = whole.decode("utf-8", "ignore")
        rest = whole[len(text.encode()) :]
        events.append((time.monotonic() - started, text))
        if until is not None and until in "".join(said for _, said in events):
            process.kill()
            break
    else:
        process.kill()
    os.close(main)
    return Session(events, columns, process.wait(60))
