"""One reporter: what a person reads while a command works, on standard error; results go to standard output."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, Protocol

from transferkit.text import safe, shown
from transferkit.wording import spoken

if TYPE_CHECKING:
    from rich.console import Console

PIPE_INTERVAL = 10.0  # seconds between two lines of progress where no terminal listens


class Advance(Protocol):
    """What `Reporter.progress` yields: call it with the number of units done and an optional note."""

    def __call__(self, count: int = 1, note: str = "") -> None:
        """Advance by `count` units."""


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

    @property
    def console(self) -> Console:
        """The rich console, made on first use (importing rich costs time that `--help` should not pay)."""
        if self._console is None:
            from rich.console import Console

            file = sys.stderr or io.StringIO()  # a program without a console has none
            # soft_wrap keeps lines whole in a pipe; file paths stay copyable.
            self._console = Console(file=file, soft_wrap=not file.isatty(), highlight=False)
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
            self.console.print(safe(spoken(text), self.console.encoding), style=style, markup=False)
        except OSError:
            from rich.console import Console

            self._console = Console(file=io.StringIO())

    @contextmanager
    def progress(self, title: str, total: int, unit: str = "pictures") -> Iterator[Advance]:
        """Progress over `total` units; the context yields the function that advances it."""
        if self.quiet or total <= 0:
            yield lambda count=1, note="": None
        elif self.console.is_terminal or self.console.is_jupyter:
            yield from self._live(title, total)
        else:
            yield from self._lines(title, total, unit)

    def _live(self, title: str, total: int) -> Iterator[Advance]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(shown(title), total=total, note="")

            def advance(count: int = 1, note: str = "") -> None:
                bar.update(task, advance=count)
                if note:
                    bar.update(task, note=shown(note))

            yield advance

    def _lines(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        done, last = 0, time.monotonic()

        def advance(count: int = 1, note: str = "") -> None:
            nonlocal done, last
            done += count
            if time.monotonic() - last >= PIPE_INTERVAL:
                last = time.monotonic()
                self.say(f"{title}: {done}/{total} {unit} {note}".rstrip())

        yield advance


def _raise_again() -> NoReturn:
    raise BrokenPipeError("nobody reads standard error any more")


def duration(seconds: float) -> str:
    """`"0.4 s"`, `"12 s"`, `"3 min 20 s"`, `"1 h 05 min"`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plural(count: int, noun: str) -> str:
    """`"1 picture"`, `"2,527 pictures"`, `"3 classes"`."""
    ending = "" if count == 1 else "es" if noun.endswith(("ss", "sh")) else "s"
    return f"{count:,} {noun}{ending}"


def ordinal(number: int) -> str:
    """`"1st"`, `"2nd"`, `"3rd"`, `"11th"`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def figure(value: float | None, sign: str = "") -> str:
    """A score with digits that mean something at its scale: `"0.844"`, `"1.23e-07"`, `"41.250"`, `"1,234"`.

    `sign` is `"+"` where both signs are to be shown. – stands for None and for what is not finite.
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size == 0 or 0.01 <= size < 100:
        return f"{value:{sign}.3f}"
    if 1000 <= size < 1e7:
        return f"{value:{sign},.0f}"
    return f"{value:{sign}.3g}" if size < 1 else f"{value:{sign}.4g}"
