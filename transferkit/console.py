"""One reporter: what a person reads while a command works, on standard error; results go to standard output."""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, NoReturn, Protocol

from transferkit import importing, progress
from transferkit.progress import Estimate
from transferkit.quantities import duration
from transferkit.text import safe, shown, wrapped
from transferkit.wording import spoken

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPE_INTERVAL = 10.0  # seconds between two lines of progress where no terminal listens
REFRESHES = 8  # of what moves in a terminal, a second
CELL_INTERVAL = 0.25  # seconds between two states of what moves in a notebook


class Advance(Protocol):
    """What `Reporter.progress` yields: call it with the number of units done and an optional note."""

    def __call__(self, count: float = 1, note: str = "") -> None:
        """Advance by `count` units, parts of one too. A note of several parts has "; " between them."""


class Reporter:
    """Says, warns and shows progress: a live bar in a terminal or notebook, rare lines in a pipe, nothing when quiet.

    Warnings are shown even when quiet, and kept in `warnings` so that a run can record them. Whatever names are in a
    text, no terminal obeys them. A reader who went away, or a full disk behind standard error, ends no work: what
    would have been said is dropped.
    """

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        self.quiet = quiet
        self.warnings: list[str] = []
        self._console = console
        self._live = False  # something is being renewed at the foot of the screen

    @property
    def console(self) -> Console:
        """The rich console, made on first use (importing rich costs time that `--help` should not pay)."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=_stream(), highlight=False)
            # By itself rich would end the process, and standard output with it.
            self._console.on_broken_pipe = _raise_again  # type: ignore[method-assign]
        return self._console

    def say(self, text: str) -> None:
        """One line of what is going on."""
        if not self.quiet:
            self._print(text)

    def heading(self, text: str) -> None:
        """A line that opens a stage."""
        if not self.quiet:
            self._print(text, style="bold")

    def warn(self, text: str) -> None:
        """Something the user should know; shown even when quiet."""
        self.warnings.append(text)
        self._print(f"warning: {text}", style="yellow")

    def _print(self, text: str, style: str | None = None) -> None:
        try:
            console = self.console
            width = console.width if console.is_terminal and not console.is_jupyter else None
            said = wrapped(safe(spoken(text), console.encoding), width)
            console.print(said, style=style, markup=False, soft_wrap=True)
        except OSError:
            from rich.console import Console

            self._console = Console(file=io.StringIO())
            if importing.is_ours():
                silence(sys.stderr)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A step of unknown length: in a terminal a clock that runs beside its name, elsewhere its name."""
        started = time.monotonic()

        def text() -> list[str]:
            seconds = int(time.monotonic() - started)
            return [title if seconds < 1 else f"{title}  {duration(seconds) if seconds >= 10 else f'{seconds} s'}"]

        if self.quiet or self._live:
            yield
        elif self._animated:
            with self._showing(text):
                yield
        else:
            self.say(title)
            yield

    @contextmanager
    def progress(self, title: str, total: int, unit: str = "pictures", done: float = 0) -> Iterator[Advance]:
        """Progress over `total` units, of which `done` had been done before; yields the function that advances it.

        Inside another bar there is none: a terminal has room for one.
        """
        if self.quiet or total <= 0 or self._live:
            yield lambda count=1, note="": None
            return
        bar = _Bar(shown(title), total, unit, Estimate(total, done))
        if self._animated:
            with self._showing(lambda: bar.lines(self.console.width, _ascii(self.console.encoding))) as refresh:

                def advance(count: float = 1, note: str = "") -> None:
                    bar.advance(count, note)
                    refresh()

                yield advance
        else:
            yield from self._lines(bar)

    @property
    def _animated(self) -> bool:
        return self.console.is_jupyter or (self.console.is_terminal and not self.console.is_dumb_terminal)

    @contextmanager
    def _showing(self, text: Callable[[], list[str]]) -> Iterator[Callable[[], None]]:
        """Lines at the foot of the screen, or in a notebook's cell, that are renewed; yields what renews the latter."""
        self._live = True
        try:
            if self.console.is_jupyter:
                yield from _in_cell(text)
            else:
                from rich.live import Live

                with Live(
                    get_renderable=lambda: _rendered(text()), console=self.console, transient=True,
                    refresh_per_second=REFRESHES,
                ):  # fmt: skip
                    yield lambda: None
        finally:
            self._live = False

    def _lines(self, bar: _Bar) -> Iterator[Advance]:
        last = time.monotonic()

        def advance(count: float = 1, note: str = "") -> None:
            nonlocal last
            bar.advance(count, note)
            if time.monotonic() - last >= PIPE_INTERVAL:
                last = time.monotonic()
                self.say(bar.line())

        yield advance


@dataclass
class _Bar:
    """One piece of work and how far it is."""

    title: str
    total: int
    unit: str
    estimate: Estimate
    notes: list[str] = field(default_factory=list)

    def advance(self, count: float = 1, note: str = "") -> None:
        self.estimate.advance(count)
        if note:
            self.notes = [shown(part) for part in note.split("; ")]

    def _facts(self) -> list[str]:
        return [progress.count(self.estimate.done, self.total, self.unit), progress.left(self.estimate.seconds())]

    def lines(self, width: int, plain: bool) -> list[str]:
        share = self.estimate.done / self.total
        return progress.lines(self.title, share, self._facts(), self.notes, width, plain)

    def line(self) -> str:
        return ", ".join(filter(None, (f"{self.title}: {self._facts()[0]}", *self.notes, self._facts()[1])))


def _rendered(lines: list[str]) -> Text:
    """For rich: each line in one piece, what is done coloured."""
    from rich.text import Text

    text = Text("\n".join(lines), no_wrap=True, overflow="ignore")
    text.highlight_regex(r"[━#]{2,}", "green")
    text.highlight_regex(r"─+", "bright_black")
    return text


def _in_cell(text: Callable[[], list[str]]) -> Iterator[Callable[[], None]]:
    """One output of the cell, written over at most `CELL_INTERVAL` apart and cleared at the end."""
    from html import escape

    from IPython.display import HTML, display

    def content() -> HTML:
        return HTML(  # type: ignore[no-untyped-call]
            f'<pre style="white-space:pre-wrap;margin:0">{escape(chr(10).join(text()))}</pre>'
        )

    handle, last = display(content(), display_id=True), time.monotonic()  # type: ignore[no-untyped-call]

    def refresh() -> None:
        nonlocal last
        if handle is not None and time.monotonic() - last >= CELL_INTERVAL:
            last = time.monotonic()
            handle.update(content())

    try:
        yield refresh
    finally:
        if handle is not None:  # None where only the look of a notebook is asked for
            handle.update(HTML(""))  # type: ignore[no-untyped-call]


def _stream() -> IO[str]:
    """Standard error; of a terminal a handle of our own, so that what libraries write can be hidden meanwhile."""
    stream = sys.stderr
    if stream is None:  # a program without a console has none
        return io.StringIO()
    with suppress(OSError, ValueError, AttributeError):
        if stream.isatty():
            return os.fdopen(os.dup(stream.fileno()), "w", buffering=1, encoding=stream.encoding, errors=stream.errors)
    return stream


def silence(stream: IO[str] | None) -> None:
    """Let what is still to be flushed into `stream`, and all that follows, go nowhere: nobody can have it any more."""
    with suppress(OSError, ValueError, AttributeError):  # a stream in memory has no number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)


def _ascii(encoding: str) -> bool:
    return not encoding.lower().startswith("utf")


def columns() -> int | None:
    """Columns of the terminal that standard output is; None where it is none."""
    stream = sys.stdout
    if stream is None or not stream.isatty():
        return None
    return shutil.get_terminal_size().columns


def _raise_again() -> NoReturn:
    raise BrokenPipeError("nobody reads standard error any more")
